{{ config(materialized='view') }}

{{
    newest_rows(
        'activities',
        key=['school_id', 'student_id', 'academic_year', 'activity'],
        columns=['school_id', 'student_id', 'academic_year', 'activity', 'activity_status'],
    )
}}
