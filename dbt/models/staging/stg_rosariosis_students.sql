{{
    config(
        materialized='incremental',
        incremental_strategy='newest_rows',
        meta={
            'entity': ['school_id', 'student_id'],
            'list': 'stg_students__changed',
            'removed': 'rosariosis_students__changed',
        },
        indexes=[
            {'columns': ['row_key'], 'unique': true},
            {'columns': ['school_id', 'student_id'], 'unique': true},
        ],
    )
}}
-- depends_on: {{ ref('stg_students__changed') }}

{{
    newest_rows(
        'rosariosis_students',
        key=['school_id', 'student_id'],
        columns=[
            'school_id', 'student_id', 'parent_id', 'first_name', 'last_name', 'middle_name', 'grade_level_id',
            'bus_pickup', 'bus_dropoff', 'departments', 'gender', 'health_status', 'profile_image', 'created_at',
            'updated_at', 'is_deleted',
        ],
    )
}}
