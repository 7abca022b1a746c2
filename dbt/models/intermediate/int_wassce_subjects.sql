{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        indexes=[{'columns': ['school_id', 'student_id', 'subject'], 'unique': true}],
    )
}}

-- Grades of a student's first WASSCE, under every name that a school may have for the subject.
with first_years as (
    select school_id, student_id, min(exam_year) as exam_year
    from {{ ref('fct_exam_results') }}
    where exam = 'WASSCE'
    group by school_id, student_id
),

results as (
    select
        school_id,
        student_id,
        exam_year,
        lower(results.subject) as exam_subject,
        bool_or(grades.is_pass) as is_credit
    from {{ ref('fct_exam_results') }} as results
    inner join first_years using (school_id, student_id, exam_year)
    inner join {{ ref('wassce_grades') }} as grades on grades.grade = results.grade
    where results.exam = 'WASSCE'
    group by school_id, student_id, exam_year, lower(results.subject)
),

names as (
    select distinct exam_subject as subject, exam_subject from results
    union
    select lower(subject), lower(exam_subject) from {{ ref('exam_subjects') }}
)

-- Where two results could stand for one subject, the one of the same name does; else the better one.
select distinct on (results.school_id, results.student_id, names.subject)
    results.school_id,
    results.student_id,
    names.subject,
    results.exam_subject,
    results.exam_year::int as exam_year,
    results.is_credit,
    {{ exam_known_at('results.exam_year::int', 'WASSCE') }} as known_at
from results
inner join names on names.exam_subject = results.exam_subject
order by
    results.school_id,
    results.student_id,
    names.subject,
    names.subject = results.exam_subject desc,
    results.is_credit desc
