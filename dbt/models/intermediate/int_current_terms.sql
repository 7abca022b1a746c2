{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        meta={'compared_by': ['school_id', 'student_id']},
        indexes=[{'columns': ['school_id', 'student_id'], 'unique': true}],
    )
}}

-- The latest term of each student who is there: it is the latest of the student's grade that has come as a whole, for
-- schools hand in their terms grade by grade and subject by subject. Whoever is missing from it has left; and a grade
-- that lies a year behind its school is not taught there any more. `ml.features` asks the same of the marts that targets
-- name.
-- A table, for each look at the risk or the summary would work it out again. Grades are summed up once: of one student,
-- it was done anew for each of the student's terms.
{%- set whole = var('whole_term') %}
with terms_of_grades as (
    select
        school_id,
        grade_level,
        as_of_date,
        count(*) >= {{ whole.minimum_share }} * coalesce(
            max(count(*)) over (
                partition by school_id, grade_level
                order by as_of_date
                rows between {{ whole.terms_before }} preceding and 1 preceding
            ),
            0
        ) as has_come
    from {{ ref('int_student_features') }}
    group by school_id, grade_level, as_of_date
),

grades as materialized (
    select
        school_id,
        grade_level,
        max(as_of_date) as as_of_date,
        max(max(as_of_date)) over (partition by school_id) as newest_date
    from terms_of_grades
    where has_come
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
            select 1
            from {{ ref('int_student_features') }} as later
            inner join grades as later_grades
                on later_grades.school_id = later.school_id and later_grades.grade_level = later.grade_level
            where
                later.school_id = terms.school_id
                and later.student_id = terms.student_id
                and later.as_of_date > terms.as_of_date
                and later.as_of_date <= later_grades.as_of_date
        )
    )
