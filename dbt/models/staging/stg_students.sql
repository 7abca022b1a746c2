{{
    config(
        materialized='incremental',
        incremental_strategy='newest_rows',
        meta={
            'entity': ['school_id', 'student_id'],
            'list': 'stg_students__changed',
            'removed': 'students__changed',
            'watch': [
                'gender', 'health_status', 'disorder', 'state_of_origin', 'living_arrangement', 'grade_level',
                'stream', 'extracurricular_activities', 'admission_date', 'graduation_date',
            ],
        },
        indexes=[{'columns': ['row_key'], 'unique': true}, {'columns': ['school_id', 'student_id'], 'unique': true}],
    )
}}
-- depends_on: {{ ref('stg_students__changed') }}

{{
    newest_rows(
        'students',
        key=['school_id', 'student_id'],
        columns=[
            'school_id', 'student_id', 'first_name', 'last_name', 'gender', 'age', 'date_of_birth', 'health_status',
            'disorder', 'state_of_origin', 'lga_of_residence', 'home_address', 'living_arrangement', 'email',
            'grade_level', 'stream', 'extracurricular_activities', 'admission_date', 'graduation_date',
        ],
    )
}}
