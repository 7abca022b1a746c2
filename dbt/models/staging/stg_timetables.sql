{{ config(materialized='view') }}

{{
    newest_rows(
        'timetables',
        key=['school_id', 'academic_year', 'term', 'class_name', 'weekday', 'period', 'subject'],
        columns=[
            'school_id', 'academic_year', 'term', 'class_name', 'weekday', 'period', 'subject', 'teacher_id',
            'minutes',
        ],
    )
}}
