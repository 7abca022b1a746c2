{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        indexes=[{'columns': ['school_id', 'student_id'], 'unique': true}],
    )
}}

{% if builds_changes() %}
with waiting as (
    select loads.upload_id from {{ source('ops', 'loads') }} as loads
    where {{ is_building('loads') }} and loads.dataset = 'timetables'
)

-- Students of a teacher whose experience changed are found by walking through the facts: an index for it would
-- cost every load, and teachers' files come once a year. Where no teacher changed, nothing is walked through.
select school_id, student_id from {{ ref('stg_academic_history__changed') }}
union
select school_id, student_id from {{ ref('stg_students__changed') }}
union
select school_id, student_id from {{ ref('stg_guardians__changed') }}
union
select school_id, student_id from {{ ref('fct_assessments') }}
where
    (select count(*) from {{ ref('stg_teachers__changed') }}) > 0
    and (school_id, teacher_id) in (select school_id, teacher_id from {{ ref('stg_teachers__changed') }})
-- So are those of a term whose timetable was handed in. Which term a removed lesson was of, nothing tells any more:
-- then everybody. Timetables come once a term, and removing is rare.
union
select school_id, student_id from {{ ref('fct_assessments') }}
where
    (select count(*) from waiting) > 0
    and (school_id, school_year, term) in (
        select timetables.school_id, timetables.academic_year, timetables.term
        from {{ ref('stg_timetables') }} as timetables
        where timetables._upload_id in (select upload_id from waiting)
    )
union
select school_id, student_id from {{ ref('fct_assessments') }}
where (
    select count(*)
    from {{ source('raw_changes', 'timetables__changed') }} as removed
    inner join {{ source('ops', 'loads') }} as loads on loads.load_id = removed.load_id
    where {{ is_building('loads') }}
) > 0
{% else %}
-- From scratch, whoever depends on this list is built whole.
select
    null::text as school_id,
    null::text as student_id
where false
-- depends_on: {{ ref('stg_academic_history__changed') }} {{ ref('stg_students__changed') }}
-- depends_on: {{ ref('stg_guardians__changed') }} {{ ref('stg_teachers__changed') }}
-- depends_on: {{ ref('stg_students') }} {{ ref('stg_guardians') }} {{ ref('stg_teachers') }}
-- depends_on: {{ ref('stg_rosariosis_students') }} {{ ref('stg_rosariosis_students_courses') }}
-- depends_on: {{ ref('fct_assessments') }} {{ ref('stg_timetables') }}
-- depends_on: {{ source('ops', 'loads') }} {{ source('raw_changes', 'timetables__changed') }}
{% endif %}
