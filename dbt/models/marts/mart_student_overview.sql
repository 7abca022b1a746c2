{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        meta={'changed_list': 'int_changed_students'},
        indexes=[{'columns': ['school_id', 'student_id'], 'unique': true}],
    )
}}

with students as (
    select * from {{ ref('dim_students') }} as students
    where {{ on_list(ref('int_changed_students'), 'students') }}
),

terms as (
    select * from {{ ref('int_student_terms') }} as terms
    where {{ on_list(ref('int_changed_students'), 'terms') }}
),

assessments as (
    select assessments.*, teachers.years_of_experience
    from {{ ref('fct_assessments') }} as assessments
    left join {{ ref('dim_teachers') }} as teachers
        on teachers.school_id = assessments.school_id and teachers.teacher_id = assessments.teacher_id
    where {{ on_list(ref('int_changed_students'), 'assessments') }}
),

guardians as (
    {{ student_guardians(on_list(ref('int_changed_students'), 'guardians')) }}
),

chronic_absence as (
    select minimum_pct from {{ ref('attendance_rules') }} where rule = 'chronic_absence'
),

all_terms as (
    select
        school_id,
        student_id,
        count(*)::int as term_count,
        min(as_of_date) as first_as_of_date,
        max(jamb_score) as jamb_score,
        bool_or(has_passed_core_subjects) as has_passed_core_subjects
    from terms
    group by school_id, student_id
),

latest_terms as (
    select distinct on (school_id, student_id) *
    from terms
    order by school_id, student_id, term_number desc
),

all_assessments as (
    select
        school_id,
        student_id,
        count(*)::int as subject_count,
        round(avg(total_score), 2) as average_score,
        round(avg(attendance_pct), 2) as attendance_pct,
        avg(attendance_pct) < (select minimum_pct from chronic_absence) as is_chronically_absent,
        (count(*) filter (where not is_pass))::int as failure_count,
        round(avg(years_of_experience), 2) as teacher_experience_mean
    from assessments
    group by school_id, student_id
),

keys as (
    select school_id, student_id from students
    union
    select school_id, student_id from all_terms
)

select
    keys.school_id,
    keys.student_id,
    students.student_id is not null as is_known_student,
    coalesce(students.grade_level, latest_terms.grade_level) as grade_level,
    students.stream,
    students.gender,
    students.is_boarding,
    students.health_status,
    students.has_disorder,
    students.activities_count,
    coalesce(guardians.guardian_count, 0) as guardian_count,
    guardians.guardian_engagement,
    guardians.guardian_education,
    guardians.guardian_financial_status,
    coalesce(all_terms.term_count, 0) as term_count,
    coalesce(all_assessments.subject_count, 0) as subject_count,
    all_assessments.average_score,
    all_assessments.attendance_pct,
    all_assessments.is_chronically_absent,
    coalesce(all_assessments.failure_count, 0) as failure_count,
    all_assessments.teacher_experience_mean,
    all_terms.first_as_of_date,
    latest_terms.as_of_date as latest_as_of_date,
    latest_terms.school_year as latest_school_year,
    latest_terms.term as latest_term,
    latest_terms.average_score as latest_average_score,
    latest_terms.attendance_pct as latest_attendance_pct,
    latest_terms.failure_count as latest_failure_count,
    latest_terms.score_change as latest_score_change,
    latest_terms.trend,
    all_terms.jamb_score,
    all_terms.has_passed_core_subjects
from keys
left join students on students.school_id = keys.school_id and students.student_id = keys.student_id
left join guardians on guardians.school_id = keys.school_id and guardians.student_id = keys.student_id
left join all_terms on all_terms.school_id = keys.school_id and all_terms.student_id = keys.student_id
left join latest_terms
    on latest_terms.school_id = keys.school_id and latest_terms.student_id = keys.student_id
left join all_assessments
    on all_assessments.school_id = keys.school_id and all_assessments.student_id = keys.student_id
