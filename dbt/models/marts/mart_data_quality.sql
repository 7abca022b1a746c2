-- Findings of live uploads. A rejected line that a fix has brought since is no finding any more.
with findings as (
    select
        uploads.dataset,
        issues.rule,
        issues.severity,
        uploads.upload_id,
        issues.line
    from {{ source('ops', 'uploads') }} as uploads
    inner join {{ source('ops', 'row_issues') }} as issues
        on issues.upload_id = uploads.upload_id and issues.version = uploads.live_version
    left join {{ source('ops', 'fixed_lines') }} as fixed
        on fixed.parent_id = issues.upload_id
        and fixed.parent_version = issues.version
        and fixed.line = issues.line
        and issues.severity = 'error'
    where fixed.line is null
),

by_rule as (
    select
        dataset,
        rule,
        severity,
        count(distinct (upload_id, line)) as row_count,
        count(distinct upload_id) as upload_count
    from findings
    group by dataset, rule, severity
),

-- Keys that no other file knows. The rows stay; what is missing is the other file's line.
unknown_students as (
    select
        'academic_history' as dataset,
        'unknown_student' as rule,
        coalesce(sum(subject_count), 0)::bigint as row_count
    from {{ ref('mart_student_overview') }}
    where not is_known_student
),

unknown_teachers as (
    select
        'academic_history' as dataset,
        'unknown_teacher' as rule,
        coalesce(sum(assessment_count), 0)::bigint as row_count
    from {{ ref('mart_teacher_load') }}
    where not is_known_teacher
),

unknown_students_of_guardians as (
    select
        'guardians' as dataset,
        'unknown_student' as rule,
        count(*) as row_count
    from {{ ref('dim_guardians') }} as guardians
    left join {{ ref('dim_students') }} as students
        on students.school_id = guardians.school_id and students.student_id = guardians.student_id
    where students.student_id is null
),

lines_about_students as (
    select 'discipline' as dataset, 'unknown_student' as rule, facts.school_id, facts.student_id
    from {{ ref('fct_discipline') }} as facts
    union all
    select 'activities', 'unknown_student', facts.school_id, facts.student_id
    from {{ ref('fct_activities') }} as facts
),

unknown_students_of_lines as (
    select lines.dataset, lines.rule, count(*) as row_count
    from lines_about_students as lines
    left join {{ ref('dim_students') }} as students
        on students.school_id = lines.school_id and students.student_id = lines.student_id
    where students.student_id is null
    group by lines.dataset, lines.rule
),

-- Numbers that nobody has, and those that several have, are left out of the results.
unmatched_results as (
    select 'exam_results' as dataset, mismatch as rule, count(*) as row_count
    from {{ ref('int_exam_results_matched') }}
    where mismatch is not null
    group by mismatch
),

-- Students of RosarioSIS whose class is neither one of the school's levels nor named by a year of leaving: their
-- results have no year and are left out.
students_without_class as (
    select 'rosariosis_students' as dataset, 'unknown_class' as rule, count(*) as row_count
    from {{ ref('stg_rosariosis_students') }} as students
    left join {{ ref('stg_rosariosis_classes') }} as classes
        on classes.school_id = students.school_id and classes.class_id = students.grade_level_id
    where students.is_deleted is not true and classes.grade_level is null and classes.leaving_year is null
),

orphans as (
    select * from unknown_students
    union all
    select * from unknown_teachers
    union all
    select * from unknown_students_of_guardians
    union all
    select * from unknown_students_of_lines
    union all
    select * from unmatched_results
    union all
    select * from students_without_class
)

select dataset, rule, severity, row_count, upload_count from by_rule
union all
select dataset, rule, 'warning', row_count, null::bigint from orphans where row_count > 0
