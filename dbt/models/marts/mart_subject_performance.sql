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
        grade_level,
        subject,
        count(distinct nullif(teacher_id, '')) as teachers,
        sum(students) as students,
        sum(passes) as passes,
        sum(total_sum) as total_sum,
        sum(total_square_sum) as total_square_sum,
        sum(test_sum) as test_sum,
        sum(test_count) as test_count,
        sum(exam_sum) as exam_sum,
        sum(exam_count) as exam_count,
        sum(attendance_sum) as attendance_sum,
        sum(attendance_count) as attendance_count
    from totals
    group by school_id, school_year, term, grade_level, subject
)

select
    subjects.school_id,
    subjects.school_year,
    subjects.term,
    terms.term_order,
    subjects.grade_level,
    subjects.subject,
    subjects.students::int as student_count,
    subjects.teachers::int as teacher_count,
    round(subjects.total_sum / subjects.students, 2) as average_score,
    {{ deviation('subjects.students', 'subjects.total_sum', 'subjects.total_square_sum') }} as score_deviation,
    round(subjects.test_sum / nullif(subjects.test_count, 0), 2) as average_test_score,
    round(subjects.exam_sum / nullif(subjects.exam_count, 0), 2) as average_exam_score,
    round(subjects.attendance_sum / nullif(subjects.attendance_count, 0), 2) as attendance_pct,
    subjects.passes::int as passed_count,
    (subjects.students - subjects.passes)::int as failure_count,
    round(subjects.passes / subjects.students, 4) as pass_rate,
    round(subjects.total_sum / subjects.students, 2) - lag(round(subjects.total_sum / subjects.students, 2)) over (
        partition by subjects.school_id, subjects.school_year, subjects.grade_level, subjects.subject
        order by terms.term_order
    ) as score_change
from subjects
inner join terms on terms.term = subjects.term
