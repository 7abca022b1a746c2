-- What was known about a student at the end of each term. A view: results stand in a table that each run corrects, and
-- what comes seldom (registers, survey, exams, resources) in one that only its own files touch. Nothing dated after the
-- as-of date gets in; only the columns next_… look ahead, and they are labels.
with features as (
    select * from {{ ref('int_student_features') }}
),

registers as (
    select * from {{ ref('int_student_registers') }}
),

equipped as (
    select
        learners.school_id,
        learners.school_year,
        learners.term,
        round(count(*) / nullif(max(computers.quantity), 0)::numeric, 2) as students_per_computer
    from {{ ref('int_student_features') }} as learners
    inner join {{ ref('fct_resources') }} as computers
        on computers.school_id = learners.school_id
        and computers.school_year = learners.school_year
        and computers.resource = 'Computers'
    group by learners.school_id, learners.school_year, learners.term
),

-- What the exam boards say stands before what a school wrote beside its results.
known as (
    select
        features.*,
        {{ start_year('features.school_year') }} as start_year,
        -- By class and term alone, not by whether a result is known: that would look ahead.
        features.grade_order = (select max(grades.grade_order) from {{ ref('grade_levels') }} as grades)
        and features.term_order = (select max(terms.term_order) - 1 from {{ ref('terms') }} as terms)
            as is_before_certificate,
        registers.incident_dates,
        registers.activities_by_year,
        registers.study_habits,
        registers.weekly_reading_hours,
        coalesce(registers.jamb_score, features.recorded_jamb_score) as jamb_score,
        coalesce(registers.jamb_known_at, features.recorded_jamb_known_at) as jamb_known_at,
        registers.sat_score,
        registers.sat_known_at,
        coalesce(registers.has_core_credits, features.recorded_core_credits) as has_core_credits,
        coalesce(registers.wassce_year, features.recorded_core_year) as core_year,
        coalesce(registers.wassce_known_at, features.recorded_core_known_at) as core_known_at
    from features
    left join registers on registers.school_id = features.school_id and registers.student_id = features.student_id
),

-- Which results are still ahead of a student. The certificate follows the last term of all.
ahead as (
    select
        known.*,
        known.stage = 'Senior' and known.known_at < known.jamb_known_at as is_before_jamb,
        known.stage = 'Senior' and known.known_at < known.sat_known_at as is_before_sat,
        known.stage = 'Senior' and known.known_at < known.core_known_at as is_before_wassce,
        known.is_before_certificate
        and known.known_at < known.core_known_at
        and known.core_year = known.start_year + 1 as is_before_last_term
    from known
)

select
    ahead.school_id,
    ahead.student_id,
    ahead.school_year,
    ahead.term,
    ahead.as_of_date,
    ahead.known_at,
    ahead.term_order,
    ahead.terms_seen,
    ahead.grade_level,
    ahead.grade_order,
    ahead.subject_count,
    ahead.term_average,
    ahead.previous_average,
    ahead.lowest_score,
    ahead.score_deviation,
    ahead.score_change,
    ahead.score_slope,
    ahead.prior_average,
    ahead.average_to_date,
    ahead.average_deviation,
    ahead.term_attendance,
    ahead.previous_attendance,
    ahead.attendance_change,
    ahead.prior_attendance,
    ahead.attendance_to_date,
    ahead.attendance_deviation,
    ahead.is_chronically_absent,
    ahead.failure_count,
    ahead.failure_rate,
    ahead.failures_to_date,
    ahead.failure_rate_to_date,
    ahead.test_exam_gap,
    ahead.core_failure_count,
    ahead.teacher_experience_mean,
    ahead.teacher_periods_mean,
    ahead.guardian_engagement,
    ahead.guardian_education,
    ahead.guardian_financial_status,
    ahead.health_status,
    ahead.has_disorder,
    ahead.is_boarding,
    case when ahead.is_boarding then 'Boarding' when not ahead.is_boarding then 'Day' end as living_arrangement,
    coalesce(
        (
            select years.active::int
            from jsonb_each_text(ahead.activities_by_year) as years (school_year, active)
            where years.school_year <= ahead.school_year
            order by years.school_year desc
            limit 1
        ),
        ahead.activities_count
    ) as activities_count,
    ahead.study_habits,
    ahead.weekly_reading_hours,
    (
        select count(*)::int
        from unnest(ahead.incident_dates) as incidents (incident_date)
        where
            incidents.incident_date <= ahead.as_of_date
            and {{ start_year_of_day('incidents.incident_date') }} = ahead.start_year
    ) as offence_count,
    (
        select count(*)::int
        from unnest(ahead.incident_dates) as incidents (incident_date)
        where incidents.incident_date <= ahead.as_of_date
    ) as offences_to_date,
    equipped.students_per_computer,
    ahead.stream,
    ahead.is_before_certificate,
    ahead.gender,
    ahead.state_of_origin,
    ahead.next_as_of_date,
    -- Without the certificate, the results of the last term are half of the answer.
    case
        when ahead.is_before_last_term then greatest(ahead.next_known_at, ahead.core_known_at)
        when ahead.is_before_certificate and ahead.core_known_at is null then null
        else ahead.next_known_at
    end as next_known_at,
    ahead.next_term_average,
    ahead.next_term_failure_count,
    case when ahead.is_before_last_term then ahead.has_core_credits end as next_has_core_credits,
    case when ahead.is_before_wassce then ahead.has_core_credits end as next_core_credits,
    case when ahead.is_before_wassce then ahead.core_known_at end as next_wassce_known_at,
    case when ahead.is_before_jamb then ahead.jamb_score end as next_jamb_score,
    case when ahead.is_before_jamb then ahead.jamb_known_at end as next_jamb_known_at,
    case when ahead.is_before_sat then ahead.sat_score end as next_sat_score,
    case when ahead.is_before_sat then ahead.sat_known_at end as next_sat_known_at
from ahead
left join equipped
    on equipped.school_id = ahead.school_id
    and equipped.school_year = ahead.school_year
    and equipped.term = ahead.term
