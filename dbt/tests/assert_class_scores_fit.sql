{{ config(tags=['whole']) }}
-- As assert_totals_fit, and the ranks are those of the students' averages.
with expected as (
    select
        totals.*,
        (
            1 + sum(students) over (
                partition by school_id, school_year, grade_level, term
                order by average_score desc
            ) - students
        )::numeric as class_rank
    from ({{ totals_select('class_scores', ref('int_student_terms')) }}) as totals
),

found as (
    select {{ totals_columns('class_scores') }}, class_rank from {{ ref('int_class_scores') }}
)

(select * from expected except select * from found)
union all
(select * from found except select * from expected)
