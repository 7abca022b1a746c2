-- The rows of staging behind each assessment, with the school year that they may not say.
with facts as (
    select
        assessments.row_key,
        assessments.school_id,
        assessments.student_id,
        assessments.school_year,
        assessments.grade_level,
        grades.stage,
        assessments.subject,
        assessments.term,
        assessments.teacher_id
    from {{ ref('fct_assessments') }} as assessments
    inner join {{ ref('grade_levels') }} as grades on grades.grade_level = assessments.grade_level
)

-- Facts and staging have an index on the student, neither a common one on the key.
select
    'academic_history' as dataset,
    facts.*,
    history.test_score,
    history.exam_score,
    history.total_score,
    history.attendance,
    history.jamb_score,
    null::numeric as points,
    null::bigint as minutes_present,
    null::bigint as total_minutes,
    history._upload_id,
    history._line
from facts
inner join {{ ref('stg_academic_history') }} as history
    on history.school_id = facts.school_id
    and history.student_id = facts.student_id
    and history.row_key = facts.row_key
union all
select
    'rosariosis_student_assessment_grades',
    facts.*,
    null,
    null,
    null,
    null,
    null,
    grades.points,
    null,
    null,
    grades._upload_id,
    grades._line
from facts
inner join {{ ref('stg_rosariosis_students_courses') }} as courses
    on courses.school_id = facts.school_id
    and courses.student_id = facts.student_id
    and courses.row_key = facts.row_key
inner join {{ ref('stg_rosariosis_student_assessment_grades') }} as grades
    on grades.school_id = courses.school_id
    and grades.student_course_id = courses.student_course_id
    and grades.is_deleted is not true
inner join {{ ref('stg_rosariosis_marking_periods') }} as periods
    on periods.school_id = grades.school_id
    and periods.marking_period_id = grades.marking_period_id
    and periods.term = facts.term
union all
select
    'rosariosis_attendance_day',
    facts.*,
    null,
    null,
    null,
    null,
    null,
    null,
    attendance.minutes_present,
    attendance.total_minutes,
    attendance._upload_id,
    attendance._line
from facts
inner join {{ ref('stg_rosariosis_students_courses') }} as courses
    on courses.school_id = facts.school_id
    and courses.student_id = facts.student_id
    and courses.row_key = facts.row_key
inner join {{ ref('stg_rosariosis_attendance_day') }} as attendance
    on attendance.school_id = courses.school_id
    and attendance.student_course_id = courses.student_course_id
    and attendance.is_deleted is not true
