-- A number that several students have is nobody's: to guess would give one the other's results.
with owners as (
    select
        school_id,
        exam,
        exam_year,
        exam_number,
        min(student_id) as student_id,
        count(distinct student_id) as students
    from {{ ref('int_exam_registrations') }}
    group by school_id, exam, exam_year, exam_number
)

select
    results.row_key,
    results.school_id,
    results.exam,
    results.exam_year,
    results.exam_number,
    results.subject,
    results.grade,
    results.score,
    results._upload_id,
    results._line,
    case when owners.students = 1 then owners.student_id end as student_id,
    case
        when owners.students is null then 'no_student'
        when owners.students > 1 then 'several_students'
    end as mismatch
from {{ ref('stg_exam_results') }} as results
left join owners
    on owners.school_id = results.school_id
    and owners.exam = results.exam
    and owners.exam_year = results.exam_year
    and owners.exam_number = results.exam_number
where results.is_deleted is not true
