-- What was known about a senior student in a subject at the end of each term; beside it the grade that the first WASSCE
-- gave in it, which is the label. What is known of the student as a whole stands in mart_student_features.
with subjects as (
    select * from {{ ref('int_subject_features') }}
),

students as (
    select * from {{ ref('mart_student_features') }}
),

results as (
    select school_id, student_id, subject, is_credit, known_at from {{ ref('int_wassce_subjects') }}
)

select
    subjects.school_id,
    subjects.student_id,
    subjects.subject,
    subjects.school_year,
    subjects.term,
    students.as_of_date,
    students.known_at,
    students.term_order,
    students.terms_seen,
    students.grade_level,
    students.grade_order,
    subjects.subject_score,
    subjects.subject_change,
    subjects.subject_average_to_date,
    subjects.subject_attendance,
    subjects.subject_failures,
    subjects.subject_teacher_experience,
    students.term_average,
    students.average_to_date,
    students.term_attendance,
    students.attendance_to_date,
    students.failure_count,
    students.guardian_engagement,
    students.activities_count,
    students.offence_count,
    students.study_habits,
    students.stream,
    students.gender,
    students.state_of_origin,
    students.living_arrangement,
    students.health_status,
    case when students.known_at < results.known_at then results.is_credit end as next_subject_passed,
    case when students.known_at < results.known_at then results.known_at end as next_wassce_known_at
from subjects
inner join students
    on students.school_id = subjects.school_id
    and students.student_id = subjects.student_id
    and students.school_year = subjects.school_year
    and students.term = subjects.term
left join results
    on results.school_id = subjects.school_id
    and results.student_id = subjects.student_id
    and results.subject = lower(subjects.subject)
