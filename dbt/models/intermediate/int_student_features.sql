{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        meta={'changed_list': 'int_changed_students'},
        indexes=[
            {'columns': ['school_id', 'student_id', 'school_year', 'term'], 'unique': true},
            {'columns': ['school_id', 'grade_level', 'as_of_date', 'student_id', 'school_year', 'term']},
        ],
    )
}}

-- What results tell of a student at the end of each term, beside the record of students and guardians. Windows end at the current row, so that nothing of a
-- later term gets in; only the columns next_… and recorded_… look ahead, and they are labels.
with terms as (
    select * from {{ ref('int_student_terms') }} as terms
    where {{ on_list(ref('int_changed_students'), 'terms') }}
),

students as (
    select * from {{ ref('dim_students') }} as students
    where {{ on_list(ref('int_changed_students'), 'students') }}
),

guardians as (
    {{ student_guardians(on_list(ref('int_changed_students'), 'guardians')) }}
),

core_names as (
    {{ core_subject_names() }}
),

-- Only files keep to the scales of the seed score_parts; RosarioSIS splits the points of a term in its own way.
assessments as (
    select
        facts.school_id,
        facts.student_id,
        facts.school_year,
        facts.term,
        facts.teacher_id,
        facts.is_pass,
        case when history.row_key is not null then facts.test_score end as test_score,
        case when history.row_key is not null then facts.exam_score end as exam_score,
        lower(facts.subject) in (select name from core_names) as is_core
    from {{ ref('fct_assessments') }} as facts
    left join {{ ref('stg_academic_history') }} as history on history.row_key = facts.row_key
    where {{ on_list(ref('int_changed_students'), 'facts') }}
),

parts as (
    select
        max(maximum) filter (where part = 'test') as test_maximum,
        max(maximum) filter (where part = 'exam') as exam_maximum
    from {{ ref('score_parts') }}
),

taught as (
    select
        assessments.school_id,
        assessments.student_id,
        assessments.school_year,
        assessments.term,
        round(
            avg(
                100 * assessments.test_score / parts.test_maximum
                - 100 * assessments.exam_score / parts.exam_maximum
            ),
            2
        ) as test_exam_gap,
        case
            when bool_or(assessments.is_core)
                then (count(*) filter (where assessments.is_core and not assessments.is_pass))::int
        end as core_failure_count,
        round(avg(teachers.years_of_experience), 2) as teacher_experience_mean,
        round(avg(timetables.period_count), 2) as teacher_periods_mean
    from assessments
    cross join parts
    left join {{ ref('dim_teachers') }} as teachers
        on teachers.school_id = assessments.school_id and teachers.teacher_id = assessments.teacher_id
    left join {{ ref('int_teacher_timetables') }} as timetables
        on timetables.school_id = assessments.school_id
        and timetables.teacher_id = assessments.teacher_id
        and timetables.school_year = assessments.school_year
        and timetables.term = assessments.term
    group by assessments.school_id, assessments.student_id, assessments.school_year, assessments.term
),

grades as (
    select grade_level, grade_order, stage from {{ ref('grade_levels') }}
),

term_results as (
    select lag_days from {{ ref('known_after') }} where fact = 'term_results'
),

-- What the school itself wrote down of the exams, of several sittings the first.
recorded as (
    select
        school_id,
        student_id,
        (array_agg(jamb_score order by school_year, jamb_score desc) filter (where jamb_score is not null))[1]
            as jamb_score,
        min(school_year) filter (where jamb_score is not null) as jamb_year,
        (
            array_agg(has_passed_core_subjects order by school_year, has_passed_core_subjects desc)
            filter (where has_passed_core_subjects is not null)
        )[1] as core_credits,
        min(school_year) filter (where has_passed_core_subjects is not null) as core_year
    from terms
    group by school_id, student_id
),

numbered as (
    select
        terms.*,
        grades.grade_order,
        grades.stage,
        {{ start_year('terms.school_year') }} * 3 + terms.term_order as calendar_position
    from terms
    inner join grades on grades.grade_level = terms.grade_level
),

followed as (
    select
        numbered.*,
        avg(average_score) over before as prior_average,
        avg(average_score) over so_far as average_to_date,
        stddev_samp(average_score) over so_far as average_deviation,
        avg(attendance_pct) over before as prior_attendance,
        avg(attendance_pct) over so_far as attendance_to_date,
        stddev_samp(attendance_pct) over so_far as attendance_deviation,
        sum(failure_count) over so_far as failures_to_date,
        sum(subject_count) over so_far as subjects_to_date,
        lead(calendar_position) over by_time - calendar_position = 1 as is_next_term_recorded,
        lead(as_of_date) over by_time as next_as_of_date,
        lead(average_score) over by_time as next_term_average,
        lead(failure_count) over by_time as next_term_failure_count
    from numbered
    window
        by_time as (partition by school_id, student_id order by term_number),
        so_far as (
            partition by school_id, student_id order by term_number
            rows between unbounded preceding and current row
        ),
        before as (
            partition by school_id, student_id order by term_number
            rows between unbounded preceding and 1 preceding
        )
)

select
    followed.school_id,
    followed.student_id,
    followed.school_year,
    followed.term,
    followed.as_of_date,
    followed.as_of_date + term_results.lag_days as known_at,
    followed.term_order,
    followed.term_number as terms_seen,
    followed.grade_level,
    followed.grade_order,
    followed.stage,
    followed.subject_count,
    followed.average_score as term_average,
    followed.lowest_score,
    followed.score_deviation,
    followed.score_change,
    followed.score_slope,
    followed.previous_average_score as previous_average,
    round(followed.prior_average, 2) as prior_average,
    round(followed.average_to_date, 2) as average_to_date,
    round(followed.average_deviation, 2) as average_deviation,
    followed.attendance_pct as term_attendance,
    followed.attendance_change,
    followed.previous_attendance_pct as previous_attendance,
    round(followed.prior_attendance, 2) as prior_attendance,
    round(followed.attendance_to_date, 2) as attendance_to_date,
    round(followed.attendance_deviation, 2) as attendance_deviation,
    followed.is_chronically_absent,
    followed.failure_count,
    round(followed.failure_count::numeric / followed.subject_count, 4) as failure_rate,
    followed.failures_to_date::int as failures_to_date,
    round(followed.failures_to_date::numeric / followed.subjects_to_date, 4) as failure_rate_to_date,
    taught.test_exam_gap,
    taught.core_failure_count,
    taught.teacher_experience_mean,
    taught.teacher_periods_mean,
    guardians.guardian_engagement,
    guardians.guardian_education,
    guardians.guardian_financial_status,
    students.health_status,
    students.has_disorder,
    students.is_boarding,
    students.activities_count,
    students.stream,
    students.gender,
    students.state_of_origin,
    case when followed.is_next_term_recorded then followed.next_as_of_date end as next_as_of_date,
    case when followed.is_next_term_recorded then followed.next_as_of_date + term_results.lag_days end
        as next_known_at,
    case when followed.is_next_term_recorded then followed.next_term_average end as next_term_average,
    case when followed.is_next_term_recorded then followed.next_term_failure_count end as next_term_failure_count,
    recorded.jamb_score as recorded_jamb_score,
    {{ exam_known_at(end_year('recorded.jamb_year'), 'JAMB') }} as recorded_jamb_known_at,
    recorded.core_credits as recorded_core_credits,
    {{ end_year('recorded.core_year') }} as recorded_core_year,
    {{ exam_known_at(end_year('recorded.core_year'), 'WASSCE') }} as recorded_core_known_at
from followed
cross join term_results
left join recorded on recorded.school_id = followed.school_id and recorded.student_id = followed.student_id
left join taught
    on taught.school_id = followed.school_id
    and taught.student_id = followed.student_id
    and taught.school_year = followed.school_year
    and taught.term = followed.term
left join students on students.school_id = followed.school_id and students.student_id = followed.student_id
left join guardians on guardians.school_id = followed.school_id and guardians.student_id = followed.student_id
