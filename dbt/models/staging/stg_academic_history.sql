{{
    config(
        materialized='incremental',
        incremental_strategy='newest_rows',
        meta={
            'entity': ['school_id', 'student_id'],
            'list': 'stg_academic_history__changed',
            'removed': 'academic_history__changed',
        },
        indexes=[{'columns': ['row_key'], 'unique': true}, {'columns': ['school_id', 'student_id']}],
    )
}}
-- depends_on: {{ ref('stg_academic_history__changed') }}

{{
    newest_rows(
        'academic_history',
        key=['school_id', 'student_id', 'academic_year', 'grade_level', 'subject', 'term'],
        columns=[
            'school_id', 'student_id', 'academic_year', 'grade_level', 'subject', 'term', 'teacher_id', 'test_score',
            'exam_score', 'total_score', 'attendance', 'cumulative_score', 'average_attendance', 'jamb_score',
            'passed_core_subjects', 'cumulative_attendance_rate',
        ],
    )
}}
