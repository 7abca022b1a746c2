-- As for classes, within each class; and nothing of a hidden class.
with rules as (
    select minimum_group from {{ ref('disclosure_rules') }} where rule = 'small_group'
),

subjects as (
    select
        school_id,
        school_year,
        grade_level,
        term,
        subject,
        sum(students) as students,
        sum(passes) as passes,
        sum(test_count) as test_count,
        sum(exam_count) as exam_count,
        sum(attendance_count) as attendance_count
    from {{ ref('int_assessment_totals') }}
    group by school_id, school_year, grade_level, term, subject
),

years as (
    select school_id, school_year, grade_level, subject, min(students) as students
    from subjects
    group by school_id, school_year, grade_level, subject
),

ordered as (
    select
        years.school_id,
        years.school_year,
        years.grade_level,
        years.subject,
        {{ is_hidden(
            'years.students', ['years.school_id', 'years.school_year', 'years.grade_level'], 'years.subject'
        ) }} as is_hidden
    from years
    cross join rules
),

shown as (
    select subjects.*, coalesce(classes.is_shown, false) and not ordered.is_hidden as is_shown
    from subjects
    inner join ordered
        on ordered.school_id = subjects.school_id
        and ordered.school_year = subjects.school_year
        and ordered.grade_level = subjects.grade_level
        and ordered.subject = subjects.subject
    left join {{ ref('int_class_disclosure') }} as classes
        on classes.school_id = subjects.school_id
        and classes.school_year = subjects.school_year
        and classes.grade_level = subjects.grade_level
        and classes.term = subjects.term
)

select
    shown.school_id,
    shown.school_year,
    shown.grade_level,
    shown.term,
    shown.subject,
    shown.is_shown,
    shown.is_shown and {{ are_both_parts_large('shown.passes', 'shown.students') }} as are_passes_shown,
    shown.is_shown and shown.test_count >= rules.minimum_group as are_tests_shown,
    shown.is_shown and shown.exam_count >= rules.minimum_group as are_exams_shown,
    shown.is_shown and shown.attendance_count >= rules.minimum_group as is_attendance_shown
from shown
cross join rules
