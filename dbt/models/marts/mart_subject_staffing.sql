with totals as (
    select * from {{ ref('int_assessment_totals') }}
),

terms as (
    select term, term_order from {{ ref('terms') }}
),

subjects as (
    select
        school_id,
        school_year,
        term,
        subject,
        count(distinct nullif(teacher_id, '')) as teachers,
        count(distinct grade_level) as classes,
        sum(students) as students
    from totals
    group by school_id, school_year, term, subject
)

select
    subjects.school_id,
    subjects.school_year,
    subjects.term,
    terms.term_order,
    subjects.subject,
    subjects.students::int as student_count,
    subjects.classes::int as class_count,
    subjects.teachers::int as teacher_count,
    round(subjects.students / subjects.classes, 2) as students_per_class,
    round(subjects.students / nullif(subjects.teachers, 0), 2) as students_per_teacher
from subjects
inner join terms on terms.term = subjects.term
