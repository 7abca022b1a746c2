with rules as (
    select minimum_group from {{ ref('disclosure_rules') }} where rule = 'small_group'
),

classes as (
    select
        school_id,
        school_year,
        grade_level,
        term,
        sum(students) as students,
        sum(failing_students) as failing_students,
        sum(chronically_absent_students) as absent_students,
        sum(attendance_count) as attendance_count
    from {{ ref('int_class_scores') }}
    group by school_id, school_year, grade_level, term
),

judged as (
    {{ with_hidden(
        'classes',
        size='students',
        whole=['school_id', 'school_year', 'term'],
        group=['school_id', 'school_year', 'grade_level'],
        name='grade_level',
    ) }}
)

select
    school_id,
    school_year,
    grade_level,
    term,
    not is_hidden as is_shown,
    not is_hidden and attendance_count >= minimum_group as is_attendance_shown,
    not is_hidden and {{ are_both_parts_large('failing_students', 'students') }} as are_failing_shown,
    not is_hidden and {{ are_both_parts_large('absent_students', 'attendance_count') }} as are_absent_shown
from judged
