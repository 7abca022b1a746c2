{{
    config(
        materialized='incremental',
        incremental_strategy='newest_rows',
        meta={
            'entity': ['school_id', 'student_id'],
            'list': 'stg_guardians__changed',
            'removed': 'guardians__changed',
            'watch': ['financial_status', 'education_level', 'engagement_in_school_activities'],
        },
        indexes=[{'columns': ['row_key'], 'unique': true}, {'columns': ['school_id', 'student_id', 'parent_id'], 'unique': true}],
    )
}}
-- depends_on: {{ ref('stg_guardians__changed') }}

{{
    newest_rows(
        'guardians',
        key=['school_id', 'parent_id', 'student_id'],
        columns=[
            'school_id', 'parent_id', 'lasrra_id', 'student_id', 'first_name', 'last_name', 'gender', 'state_of_origin',
            'title', 'age', 'date_of_birth', 'email', 'phone_number', 'home_address', 'occupation', 'financial_status',
            'education_level', 'engagement_in_school_activities', 'lga_of_residence',
        ],
    )
}}
