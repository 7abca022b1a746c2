with chronic_absence as (
    select minimum_pct from {{ ref('attendance_rules') }} where rule = 'chronic_absence'
)

select
    assessments.school_id,
    assessments.student_id,
    assessments.school_year,
    assessments.grade_level,
    assessments.subject,
    assessments.term,
    assessments.teacher_id,
    assessments.attendance_pct,
    assessments.attendance_pct < chronic_absence.minimum_pct as is_below_minimum
from {{ ref('fct_assessments') }} as assessments
cross join chronic_absence
where assessments.attendance_pct is not null
