{{ config(materialized='view') }}

{{
    newest_rows(
        'exam_results',
        key=['school_id', 'exam', 'exam_year', 'exam_number', 'subject'],
        columns=[
            'school_id', 'exam', 'exam_year', 'exam_number', 'subject', 'grade', 'score', 'student_id',
            'is_deleted',
        ],
    )
}}
