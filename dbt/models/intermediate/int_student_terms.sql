{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        meta={
            'changed_list': 'stg_academic_history__changed',
            'totals': {'spec': 'class_scores', 'log': 'int_class_score_changes'},
        },
        indexes=[{'columns': ['school_id', 'student_id', 'school_year', 'term'], 'unique': true}],
    )
}}
-- depends_on: {{ ref('int_class_score_changes') }}

with assessments as (
    select
        school_id,
        student_id,
        school_year,
        grade_level,
        term,
        total_score,
        attendance_pct,
        is_pass,
        jamb_score,
        has_passed_core_subjects
    from {{ ref('fct_assessments') }} as facts
    where {{ on_list(ref('stg_academic_history__changed'), 'facts') }}
),

grades as (
    select grade_level, grade_order from {{ ref('grade_levels') }}
),

terms as (
    select * from {{ ref('terms') }}
),

chronic_absence as (
    select minimum_pct from {{ ref('attendance_rules') }} where rule = 'chronic_absence'
),

score_trend as (
    select terms, minimum_change from {{ ref('trend_rules') }} where rule = 'score_trend'
),

student_terms as (
    select
        school_id,
        student_id,
        school_year,
        term,
        count(*)::int as subject_count,
        round(avg(total_score), 2) as average_score,
        min(total_score) as lowest_score,
        max(total_score) as highest_score,
        round(stddev_samp(total_score), 2) as score_deviation,
        round(avg(attendance_pct), 2) as attendance_pct,
        -- The mean itself, not its rounding, decides.
        avg(attendance_pct) < (select minimum_pct from chronic_absence) as is_chronically_absent,
        (count(*) filter (where not is_pass))::int as failure_count,
        max(jamb_score) as jamb_score,
        bool_or(has_passed_core_subjects) as has_passed_core_subjects
    from assessments
    group by school_id, student_id, school_year, term
),

-- A student has one grade a term; should a file say two, the higher one.
term_grades as (
    select distinct on (assessments.school_id, assessments.student_id, assessments.school_year, assessments.term)
        assessments.school_id,
        assessments.student_id,
        assessments.school_year,
        assessments.term,
        grades.grade_level,
        grades.grade_order
    from assessments
    inner join grades on grades.grade_level = assessments.grade_level
    order by
        assessments.school_id,
        assessments.student_id,
        assessments.school_year,
        assessments.term,
        grades.grade_order desc
),

placed as (
    select
        student_terms.*,
        term_grades.grade_level,
        term_grades.grade_order,
        terms.term_order,
        {{ term_day('terms', start_year('student_terms.school_year'), 'end') }} as as_of_date
    from student_terms
    inner join term_grades using (school_id, student_id, school_year, term)
    inner join terms using (term)
),

followed as (
    select
        placed.*,
        (row_number() over by_time)::int as term_number,
        lag(school_year) over by_time as previous_school_year,
        lag(term) over by_time as previous_term,
        lag(grade_level) over by_time as previous_grade_level,
        lag(average_score) over by_time as previous_average_score,
        lag(attendance_pct) over by_time as previous_attendance_pct,
        round(
            (average_score - first_value(average_score) over last_terms)
            / nullif(count(*) over last_terms - 1, 0),
            2
        ) as score_slope
    from placed
    window
        by_time as (partition by school_id, student_id order by school_year, term_order),
        last_terms as (
            partition by school_id, student_id
            order by school_year, term_order
            rows between (select terms - 1 from score_trend) preceding and current row
        )
)

select
    followed.school_id,
    followed.student_id,
    followed.school_year,
    followed.term,
    followed.term_order,
    followed.term_number,
    followed.as_of_date,
    followed.grade_level,
    followed.subject_count,
    followed.average_score,
    followed.lowest_score,
    followed.highest_score,
    followed.score_deviation,
    followed.attendance_pct,
    followed.is_chronically_absent,
    followed.failure_count,
    followed.previous_school_year,
    followed.previous_term,
    followed.previous_grade_level,
    followed.previous_average_score,
    followed.previous_attendance_pct,
    followed.average_score - followed.previous_average_score as score_change,
    followed.attendance_pct - followed.previous_attendance_pct as attendance_change,
    followed.score_slope,
    case
        when followed.score_slope is null then 'new'
        when followed.score_slope >= score_trend.minimum_change then 'up'
        when followed.score_slope <= -score_trend.minimum_change then 'down'
        else 'steady'
    end as trend,
    followed.jamb_score,
    followed.has_passed_core_subjects
from followed
cross join score_trend
