{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        meta={'compared_by': ['school_id', 'student_id']},
        indexes=[{'columns': ['school_id', 'student_id'], 'unique': true}],
    )
}}

-- The latest term of each student who is there: it is the latest of the student's grade, for schools hand in their
-- terms grade by grade. Whoever is missing from it has left; and a grade that lies a year behind its school is not
-- taught there any more. `ml.features` asks the same of the marts that targets name.
-- A table, for each look at the risk or the summary would work it out again. Grades are summed up once: of one student,
-- it was done anew for each of the student's terms.
with grades as materialized (
    select
        school_id,
        grade_level,
        max(as_of_date) as as_of_date,
        max(max(as_of_date)) over (partition by school_id) as newest_date
    from {{ ref('int_student_features') }}
    group by school_id, grade_level
)

select
    terms.school_id,
    terms.student_id,
    terms.school_year,
    terms.term,
    terms.as_of_date
from {{ ref('int_student_features') }} as terms
inner join grades
    on grades.school_id = terms.school_id
    and grades.grade_level = terms.grade_level
    and grades.as_of_date = terms.as_of_date
where
    grades.as_of_date = grades.newest_date
    or (
        grades.as_of_date > grades.newest_date - interval '1 year'
        and not exists (
            select 1 from {{ ref('int_student_features') }} as later
            where
                later.school_id = terms.school_id
                and later.student_id = terms.student_id
                and later.as_of_date > terms.as_of_date
        )
    )
