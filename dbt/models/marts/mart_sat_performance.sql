with results as (
    select school_id, student_id, exam_year, exam_number, score, 'exam_results' as dataset
    from {{ ref('fct_exam_results') }}
    where exam = 'SAT'
)

{{ exam_performance('results', 'sat') }}
