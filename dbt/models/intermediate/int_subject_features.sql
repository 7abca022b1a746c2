{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        meta={'changed_list': 'int_changed_students'},
        indexes=[{'columns': ['school_id', 'student_id', 'subject', 'school_year', 'term'], 'unique': true}],
    )
}}

-- What was known of a senior student in each subject at the end of each term. Windows end at the current row.
with assessments as (
    select * from {{ ref('fct_assessments') }} as facts
    where {{ on_list(ref('int_changed_students'), 'facts') }}
),

terms as (
    select * from {{ ref('int_student_terms') }} as terms
    where {{ on_list(ref('int_changed_students'), 'terms') }}
),

seniors as (
    select grade_level from {{ ref('grade_levels') }} where stage = 'Senior'
),

-- Should a file give a student two grades in a term, the term's own one counts.
taken as (
    select
        assessments.school_id,
        assessments.student_id,
        assessments.subject,
        assessments.school_year,
        assessments.term,
        assessments.teacher_id,
        assessments.total_score,
        assessments.attendance_pct,
        assessments.is_pass,
        terms.term_number
    from assessments
    inner join seniors on seniors.grade_level = assessments.grade_level
    inner join terms
        on terms.school_id = assessments.school_id
        and terms.student_id = assessments.student_id
        and terms.school_year = assessments.school_year
        and terms.term = assessments.term
        and terms.grade_level = assessments.grade_level
),

followed as (
    select
        taken.*,
        total_score - lag(total_score) over by_time as subject_change,
        avg(total_score) over so_far as average_to_date,
        count(*) filter (where not is_pass) over so_far as failures
    from taken
    window
        by_time as (partition by school_id, student_id, subject order by term_number),
        so_far as (
            partition by school_id, student_id, subject order by term_number
            rows between unbounded preceding and current row
        )
)

select
    followed.school_id,
    followed.student_id,
    followed.subject,
    followed.school_year,
    followed.term,
    followed.total_score as subject_score,
    followed.subject_change,
    round(followed.average_to_date, 2) as subject_average_to_date,
    followed.attendance_pct as subject_attendance,
    followed.failures::int as subject_failures,
    teachers.years_of_experience::int as subject_teacher_experience
from followed
left join {{ ref('dim_teachers') }} as teachers
    on teachers.school_id = followed.school_id and teachers.teacher_id = followed.teacher_id
