-- A grade belongs to the course of its subject. In RosarioSIS a subject is another course in each class; a school that
-- hands in files has one row for all senior classes in which the subject was taken.
with results as (
    select school_id, student_id, exam_year, exam_number, subject, grade
    from {{ ref('fct_exam_results') }}
    where exam = 'WASSCE'
),

student_courses as (
    {{
        rosariosis_courses(
            '(student_courses.school_id, student_courses.student_id) in (select school_id, student_id from results)'
        )
    }}
),

senior_results as (
    select
        assessments.school_id,
        assessments.student_id,
        assessments.subject,
        assessments.school_year,
        assessments.grade_level,
        assessments.term,
        assessments.teacher_id,
        assessments.total_score,
        assessments.attendance_pct,
        courses.student_course_id,
        courses.department,
        courses.minutes_present,
        courses.total_minutes,
        case when courses.student_course_id is not null then assessments.grade_level end as course_class
    from {{ ref('fct_assessments') }} as assessments
    inner join {{ ref('grade_levels') }} as grades
        on grades.grade_level = assessments.grade_level and grades.stage = 'Senior'
    left join student_courses as courses
        on courses.school_id = assessments.school_id
        and courses.student_id = assessments.student_id
        and courses.row_key = assessments.row_key
    where (assessments.school_id, assessments.student_id) in (select school_id, student_id from results)
),

courses as (
    select
        senior_results.school_id,
        senior_results.student_id,
        senior_results.subject,
        max(senior_results.student_course_id) as student_course_id,
        max(senior_results.grade_level) as course_class,
        max(senior_results.department) as course_department,
        (
            array_agg(senior_results.teacher_id order by senior_results.school_year desc, terms.term_order desc)
            filter (where senior_results.teacher_id is not null)
        )[1] as teacher_id,
        avg(senior_results.total_score) as average_score,
        round(avg(senior_results.attendance_pct), 2) as attendance_pct,
        max(senior_results.minutes_present) as minutes_present,
        max(senior_results.total_minutes) as total_minutes
    from senior_results
    inner join {{ ref('terms') }} as terms on terms.term = senior_results.term
    group by
        senior_results.school_id, senior_results.student_id, senior_results.subject, senior_results.course_class
),

polls as (
    select
        school_id,
        teacher_id,
        sum(votes) filter (where rating = 'Good') as good_votes,
        sum(votes) filter (where rating = 'Bad') as bad_votes
    from {{ ref('stg_rosariosis_polls') }}
    where rating is not null
    group by school_id, teacher_id
),

school_mark as (
    select pass_mark from {{ ref('pass_marks') }} where measure = 'subject'
)

select
    results.school_id,
    results.student_id,
    courses.student_course_id,
    coalesce(courses.subject, results.subject) as course,
    coalesce(courses.course_class, '') as course_class,
    'Senior' as course_stage,
    courses.course_department,
    results.exam_year as waec_exam_year,
    results.exam_number,
    results.subject as waec_course,
    results.grade as waec_grade,
    (select max(grade_order) from {{ ref('wassce_grades') }}) + 1 - grades.grade_order as waec_grade_points,
    case when grades.is_pass then 'Pass' else 'Fail' end as waec_performance,
    round(courses.average_score, 1) as average_student_score,
    case
        when courses.average_score >= school_mark.pass_mark then 'Pass' when courses.average_score is not null then 'Fail'
    end as student_evaluation,
    courses.attendance_pct,
    courses.minutes_present as average_student_minutes_attendance,
    courses.total_minutes as average_expected_student_attendance,
    courses.teacher_id,
    teachers.full_name as teacher,
    case
        when coalesce(polls.good_votes, 0) > coalesce(polls.bad_votes, 0) then 'Good'
        when coalesce(polls.bad_votes, 0) > coalesce(polls.good_votes, 0) then 'Bad'
    end as rating_type,
    nullif(greatest(polls.good_votes, polls.bad_votes), 0) as number_of_votes,
    profiles.student_name,
    profiles.student_class,
    profiles.student_status,
    profiles.department,
    profiles.gender,
    profiles.health_condition,
    profiles.bus_pickup,
    profiles.bus_dropoff,
    profiles.student_activity_status,
    profiles.student_extracurricular_activity,
    profiles.student_parent as parent,
    overview.guardian_education as parent_education,
    profiles.offence_count,
    profiles.student_offence,
    profiles.disciplinary_action_taken,
    profiles.disciplinary_teacher,
    profiles.profile_image
from results
inner join {{ ref('wassce_grades') }} as grades on grades.grade = results.grade
cross join school_mark
left join courses
    on courses.school_id = results.school_id
    and courses.student_id = results.student_id
    and (
        lower(courses.subject) = lower(results.subject)
        or exists (
            select 1 from {{ ref('exam_subjects') }} as names
            where
                lower(names.subject) = lower(courses.subject)
                and lower(names.exam_subject) = lower(results.subject)
        )
    )
left join {{ ref('dim_teachers') }} as teachers
    on teachers.school_id = courses.school_id and teachers.teacher_id = courses.teacher_id
-- The votes about the teacher of the course, not about one who disciplined the student.
left join polls on polls.school_id = courses.school_id and polls.teacher_id = courses.teacher_id
left join {{ ref('int_student_profiles') }} as profiles
    on profiles.school_id = results.school_id and profiles.student_id = results.student_id
left join {{ ref('mart_student_overview') }} as overview
    on overview.school_id = results.school_id and overview.student_id = results.student_id
