{{ config(materialized='view') }}

{{
    newest_rows(
        'discipline',
        key=['school_id', 'incident_id'],
        columns=[
            'school_id', 'incident_id', 'student_id', 'teacher_id', 'incident_date', 'offence',
            'action_taken',
        ],
    )
}}
