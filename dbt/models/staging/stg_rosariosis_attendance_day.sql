{{
    config(
        materialized='incremental',
        incremental_strategy='newest_rows',
        meta={
            'entity': ['school_id', 'student_course_id'],
            'owner': 'stg_rosariosis_students_courses',
            'list': 'stg_academic_history__changed',
            'removed': 'rosariosis_attendance_day__changed',
        },
        indexes=[
            {'columns': ['row_key'], 'unique': true},
            {'columns': ['school_id', 'student_course_id'], 'unique': true},
        ],
    )
}}
-- depends_on: {{ ref('stg_academic_history__changed') }}
-- depends_on: {{ ref('stg_rosariosis_students_courses') }}

{{
    newest_rows(
        'rosariosis_attendance_day',
        key=['school_id', 'student_course_id'],
        columns=[
            'school_id', 'student_course_id', 'total_minutes', 'minutes_present', 'created_at', 'updated_at',
            'is_deleted',
        ],
    )
}}
