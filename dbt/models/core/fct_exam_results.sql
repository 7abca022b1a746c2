select
    row_key,
    school_id,
    student_id,
    exam,
    exam_year,
    exam_number,
    subject,
    grade,
    score,
    _upload_id,
    _line
from {{ ref('int_exam_results_matched') }}
where mismatch is null
