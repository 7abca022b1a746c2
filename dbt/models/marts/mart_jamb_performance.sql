with exam_results as (
    select school_id, student_id, exam_year, exam_number, score, 'exam_results' as dataset
    from {{ ref('fct_exam_results') }}
    where exam = 'JAMB'
),

-- Academic histories may have the score, without the number; it was sat in the year in which that school year ended.
history as (
    select
        school_id,
        student_id,
        {{ end_year('max(school_year)') }} as exam_year,
        '' as exam_number,
        max(jamb_score)::numeric as score,
        'academic_history' as dataset
    from {{ ref('int_student_terms') }}
    where jamb_score is not null
    group by school_id, student_id
),

results as (
    select * from exam_results
    union all
    select history.*
    from history
    where not exists (
        select 1 from exam_results
        where exam_results.school_id = history.school_id and exam_results.student_id = history.student_id
    )
)

{{ exam_performance('results', 'jamb') }}
