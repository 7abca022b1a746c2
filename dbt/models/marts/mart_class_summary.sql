with scores as (
    select * from {{ ref('int_class_scores') }}
),

terms as (
    select term, term_order from {{ ref('terms') }}
),

pass_mark as (
    select pass_mark from {{ ref('pass_marks') }} where measure = 'term_average'
),

classes as (
    select
        school_id,
        school_year,
        grade_level,
        term,
        sum(students) as students,
        sum(students * average_score) as score_sum,
        sum(students * average_score * average_score) as score_square_sum,
        min(average_score) as lowest_average,
        max(average_score) as highest_average,
        sum(students) filter (where average_score >= (select pass_mark from pass_mark)) as passed_averages,
        sum(subjects) as subjects,
        sum(failures) as failures,
        sum(failing_students) as failing_students,
        sum(chronically_absent_students) as chronically_absent_students,
        sum(attendance_sum) as attendance_sum,
        sum(attendance_count) as attendance_count
    from scores
    group by school_id, school_year, grade_level, term
)

select
    classes.school_id,
    classes.school_year,
    classes.grade_level,
    classes.term,
    terms.term_order,
    classes.students::int as student_count,
    round(classes.score_sum / classes.students, 2) as average_score,
    {{ deviation('classes.students', 'classes.score_sum', 'classes.score_square_sum') }} as score_deviation,
    classes.lowest_average,
    classes.highest_average,
    round(classes.attendance_sum / nullif(classes.attendance_count, 0), 2) as attendance_pct,
    coalesce(classes.passed_averages, 0)::int as passed_average_count,
    classes.failing_students::int as failing_student_count,
    classes.chronically_absent_students::int as chronically_absent_count,
    classes.subjects::int as assessment_count,
    classes.failures::int as failure_count,
    round((classes.subjects - classes.failures) / classes.subjects, 4) as pass_rate
from classes
inner join terms on terms.term = classes.term
