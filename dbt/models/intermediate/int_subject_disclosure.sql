-- As classes of a school are, so are subjects of a class; and nothing of a hidden class is shown.
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

judged as (
    {{ with_hidden(
        'subjects',
        size='students',
        whole=['school_id', 'school_year', 'grade_level', 'term'],
        group=['school_id', 'school_year', 'grade_level', 'subject'],
        name='subject',
    ) }}
),

shown as (
    select judged.*, coalesce(classes.is_shown, false) and not judged.is_hidden as is_shown
    from judged
    left join {{ ref('int_class_disclosure') }} as classes
        on classes.school_id = judged.school_id
        and classes.school_year = judged.school_year
        and classes.grade_level = judged.grade_level
        and classes.term = judged.term
)

select
    school_id,
    school_year,
    grade_level,
    term,
    subject,
    is_shown,
    is_shown and {{ are_both_parts_large('passes', 'students') }} as are_passes_shown,
    is_shown and test_count >= minimum_group as are_tests_shown,
    is_shown and exam_count >= minimum_group as are_exams_shown,
    is_shown and attendance_count >= minimum_group as is_attendance_shown
from shown
