{{ config(materialized='view') }}

{{
    newest_rows(
        'school_resources',
        key=['school_id', 'academic_year', 'resource'],
        columns=['school_id', 'academic_year', 'resource', 'quantity', 'condition', 'note'],
    )
}}
