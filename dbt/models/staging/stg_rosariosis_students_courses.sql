{{
    config(
        materialized='incremental',
        incremental_strategy='newest_rows',
        meta={
            'entity': ['school_id', 'student_id'],
            'moves': true,
            'list': 'stg_academic_history__changed',
            'removed': 'rosariosis_students_courses__changed',
        },
        indexes=[
            {'columns': ['row_key'], 'unique': true},
            {'columns': ['school_id', 'student_course_id'], 'unique': true},
            {'columns': ['school_id', 'student_id']},
        ],
        post_hook='{{ list_students_of_small_tables() }}',
    )
}}
-- depends_on: {{ ref('stg_academic_history__changed') }} {{ ref('stg_students__changed') }}
-- depends_on: {{ ref('stg_rosariosis_students') }}
-- So that the hook runs where one of the small tables changed:
-- depends_on: {{ source('raw', 'rosariosis_courses') }} {{ source('raw', 'rosariosis_marking_periods') }}
-- depends_on: {{ source('raw', 'rosariosis_school_gradelevels') }} {{ source('raw', 'rosariosis_schools') }}
-- depends_on: {{ source('raw', 'rosariosis_parent') }} {{ source('raw', 'rosariosis_eligibility') }}
-- depends_on: {{ source('raw', 'rosariosis_eligibility_activities') }}

{{
    newest_rows(
        'rosariosis_students_courses',
        key=['school_id', 'student_course_id'],
        columns=[
            'school_id', 'student_course_id', 'student_id', 'course_id', 'grade_level_id', 'created_at', 'updated_at',
            'is_deleted',
        ],
    )
}}
