{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        meta={
            'changed_list': 'stg_academic_history__changed',
            'totals': {'spec': 'assessments', 'log': 'int_assessment_changes'},
        },
        indexes=[
            {
                'columns': ['school_id', 'student_id', 'school_year', 'grade_level', 'subject', 'term'],
                'unique': true,
            },
        ],
    )
}}
-- depends_on: {{ ref('int_assessment_changes') }}

with history as (
    select
        history.row_key,
        history.school_id,
        history.student_id,
        history.academic_year,
        history.grade_level,
        history.subject,
        history.term,
        history.teacher_id,
        history.test_score::numeric as test_score,
        history.exam_score::numeric as exam_score,
        history.total_score::numeric as total_score,
        history.attendance::numeric as attendance_pct,
        history.jamb_score,
        history.passed_core_subjects = 'Yes' as has_passed_core_subjects,
        history._ranked_at,
        grades.grade_order,
        terms.term_order
    from {{ ref('stg_academic_history') }} as history
    inner join {{ ref('grade_levels') }} as grades on grades.grade_level = history.grade_level
    inner join {{ ref('terms') }} as terms on terms.term = history.term
    where {{ on_list(ref('stg_academic_history__changed'), 'history') }}
),

pass_mark as (
    select pass_mark from {{ ref('pass_marks') }} where measure = 'subject'
),

-- Files without an academic year: the last term of the student's highest grade was under way, or just over,
-- when it was first handed in. Hence its school year, and one year less for each grade below.
last_undated_terms as (
    select distinct on (history.school_id, history.student_id)
        history.school_id,
        history.student_id,
        history.grade_order,
        history.term,
        (
            min(history._ranked_at) over (
                partition by history.school_id, history.student_id, history.grade_order, history.term_order
            ) at time zone 'UTC'
        )::date as handed_in_on
    from history
    where history.academic_year is null
    order by history.school_id, history.student_id, history.grade_order desc, history.term_order desc
),

anchors as (
    select
        last_terms.school_id,
        last_terms.student_id,
        last_terms.grade_order,
        {{ start_year_of_day('last_terms.handed_in_on') }} - (
            {{ term_day('terms', start_year_of_day('last_terms.handed_in_on'), 'start') }}
            > last_terms.handed_in_on
        )::int as start_year
    from last_undated_terms as last_terms
    inner join {{ ref('terms') }} as terms on terms.term = last_terms.term
),

dated as (
    select history.*, history.academic_year as school_year, false as is_year_derived
    from history
    where history.academic_year is not null
),

derived as (
    select
        history.*,
        {{ school_year_name('anchors.start_year - (anchors.grade_order - history.grade_order)') }} as school_year,
        true as is_year_derived
    from history
    inner join anchors
        on anchors.school_id = history.school_id and anchors.student_id = history.student_id
    where history.academic_year is null
),

-- A row that names its year stands before one whose year comes out the same.
assessments as (
    select * from dated
    union all
    select derived.* from derived
    where not exists (
        select 1 from dated
        where
            dated.school_id = derived.school_id
            and dated.student_id = derived.student_id
            and dated.school_year = derived.school_year
            and dated.grade_level = derived.grade_level
            and dated.subject = derived.subject
            and dated.term = derived.term
    )
)

select
    assessments.row_key,
    assessments.school_id,
    assessments.student_id,
    assessments.school_year,
    assessments.is_year_derived,
    assessments.grade_level,
    assessments.subject,
    assessments.term,
    assessments.teacher_id,
    assessments.test_score,
    assessments.exam_score,
    assessments.total_score,
    assessments.attendance_pct,
    assessments.total_score >= pass_mark.pass_mark as is_pass,
    assessments.teacher_id is not null and row_number() over (
        partition by
            assessments.school_id,
            assessments.student_id,
            assessments.school_year,
            assessments.term,
            assessments.teacher_id
        order by assessments.grade_order, assessments.subject
    ) = 1 as counts_for_teacher,
    assessments.jamb_score,
    assessments.has_passed_core_subjects
from assessments
cross join pass_mark
