{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        indexes=[{'columns': ['school_id', 'teacher_id', 'school_year', 'term'], 'unique': true}],
    )
}}

-- A lesson of several classes together is one lesson of their teacher.
with lessons as (
    select
        school_id,
        teacher_id,
        academic_year as school_year,
        term,
        weekday,
        period,
        max(minutes) as minutes
    from {{ ref('stg_timetables') }}
    where teacher_id is not null
    group by school_id, teacher_id, academic_year, term, weekday, period
)

select
    school_id,
    teacher_id,
    school_year,
    term,
    count(*)::int as period_count,
    sum(minutes)::int as minutes
from lessons
group by school_id, teacher_id, school_year, term
