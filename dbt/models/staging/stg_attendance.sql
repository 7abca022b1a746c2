{{
    config(
        materialized='incremental',
        incremental_strategy='newest_rows',
        meta={'removed': 'attendance__changed'},
        indexes=[{'columns': ['row_key'], 'unique': true}, {'columns': ['school_id', 'student_id']}],
    )
}}

{{
    newest_rows(
        'attendance',
        key=['school_id', 'student_id', 'attendance_date'],
        columns=[
            'school_id', 'student_id', 'attendance_date', 'attendance_status', 'minutes_present',
            'minutes_expected',
        ],
    )
}}
