-- One class hidden alone would be the school's roll less the others, so hidden classes are at least two, and
-- together as many students as the smallest group that may be shown. For the whole year, because a class that is
-- small in one term is about as small in the next.
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

years as (
    select school_id, school_year, grade_level, min(students) as students
    from classes
    group by school_id, school_year, grade_level
),

ordered as (
    select
        years.school_id,
        years.school_year,
        years.grade_level,
        {{ is_hidden('years.students', ['years.school_id', 'years.school_year'], 'years.grade_level') }} as is_hidden
    from years
    cross join rules
)

select
    classes.school_id,
    classes.school_year,
    classes.grade_level,
    classes.term,
    not ordered.is_hidden as is_shown,
    not ordered.is_hidden and classes.attendance_count >= rules.minimum_group as is_attendance_shown,
    not ordered.is_hidden
    and {{ are_both_parts_large('classes.failing_students', 'classes.students') }} as are_failing_shown,
    not ordered.is_hidden
    and {{ are_both_parts_large('classes.absent_students', 'classes.attendance_count') }} as are_absent_shown
from classes
cross join rules
inner join ordered
    on ordered.school_id = classes.school_id
    and ordered.school_year = classes.school_year
    and ordered.grade_level = classes.grade_level
