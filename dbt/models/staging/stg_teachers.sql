{{
    config(
        materialized='incremental',
        incremental_strategy='newest_rows',
        meta={
            'entity': ['school_id', 'teacher_id'],
            'list': 'stg_teachers__changed',
            'removed': 'teachers__changed',
            'watch': ['years_of_experience'],
        },
        indexes=[{'columns': ['row_key'], 'unique': true}, {'columns': ['school_id', 'teacher_id'], 'unique': true}],
    )
}}
-- depends_on: {{ ref('stg_teachers__changed') }}

{{
    newest_rows(
        'teachers',
        key=['school_id', 'teacher_id'],
        columns=[
            'school_id', 'teacher_id', 'lasrra_id', 'first_name', 'last_name', 'gender', 'age', 'date_of_birth',
            'state_of_origin', 'years_of_experience', 'qualification', 'home_address', 'email', 'phone_number',
            'residence_type', 'lga_of_residence', 'digital_literacy', 'salary', 'teaching_level',
            'subject_specialization',
        ],
    )
}}
