-- The row of staging behind each assessment, with the school year that the file may not say.
select
    history.row_key,
    facts.school_id,
    facts.student_id,
    facts.school_year,
    facts.grade_level,
    facts.subject,
    facts.term,
    facts.teacher_id,
    history.test_score,
    history.exam_score,
    history.total_score,
    history.attendance,
    history.jamb_score,
    history._upload_id,
    history._line
from {{ ref('fct_assessments') }} as facts
-- Both have an index on the student, neither a common one on the key.
inner join {{ ref('stg_academic_history') }} as history
    on history.school_id = facts.school_id
    and history.student_id = facts.student_id
    and history.row_key = facts.row_key
