-- A file of results says whose number it is where its lines name the student.
select distinct
    school_id,
    student_id,
    exam,
    exam_year,
    exam_number
from {{ ref('stg_exam_results') }}
where student_id is not null and is_deleted is not true
