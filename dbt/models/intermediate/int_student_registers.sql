{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        indexes=[{'columns': ['school_id', 'student_id'], 'unique': true}],
    )
}}

-- What registers, survey and exam boards know of a student, in one row. They come seldom beside results and have views
-- over raw in place of tables; so all of it is built again when one of them comes, and no run of results pays for it.
with incidents as (
    select school_id, student_id, array_agg(incident_date order by incident_date) as incident_dates
    from {{ ref('fct_discipline') }}
    where incident_date is not null
    group by school_id, student_id
),

activity_years as (
    select school_id, student_id, school_year, (count(*) filter (where is_active))::int as active
    from {{ ref('fct_activities') }}
    group by school_id, student_id, school_year
),

activities as (
    select school_id, student_id, jsonb_object_agg(school_year, active) as activities_by_year
    from activity_years
    group by school_id, student_id
),

-- Respondents are linked by name and birth date, and only where one student and one respondent have them.
respondents as (
    select
        school_id,
        lower(btrim(first_name)) as first_name,
        lower(btrim(last_name)) as last_name,
        date_of_birth,
        min(study_habits) as study_habits,
        min(substring(weekly_hours_spent_reading from '[0-9]+')::numeric) as weekly_reading_hours
    from {{ ref('stg_survey_responses') }}
    group by school_id, lower(btrim(first_name)), lower(btrim(last_name)), date_of_birth
    having count(*) = 1
),

named as (
    select
        school_id,
        lower(btrim(first_name)) as first_name,
        lower(btrim(last_name)) as last_name,
        date_of_birth,
        min(student_id) as student_id
    from {{ ref('dim_students') }}
    where date_of_birth is not null
    group by school_id, lower(btrim(first_name)), lower(btrim(last_name)), date_of_birth
    having count(*) = 1
),

answers as (
    select named.school_id, named.student_id, respondents.study_habits, respondents.weekly_reading_hours
    from named
    inner join respondents using (school_id, first_name, last_name, date_of_birth)
),

-- Of several sittings the first one is what was ahead of the student; within a year the best score.
scores as (
    select distinct on (school_id, student_id, exam) school_id, student_id, exam, exam_year, score
    from {{ ref('fct_exam_results') }}
    where exam in ('JAMB', 'SAT')
    order by school_id, student_id, exam, exam_year, score desc
),

jamb as (
    select school_id, student_id, exam_year, score from scores where exam = 'JAMB'
),

sat as (
    select school_id, student_id, exam_year, score from scores where exam = 'SAT'
),

core_names as (
    {{ core_subject_names() }}
),

wassce_subjects as (
    select
        subjects.school_id,
        subjects.student_id,
        subjects.exam_year,
        subjects.known_at,
        subjects.is_credit,
        core_names.exam_subject as core_subject
    from {{ ref('int_wassce_subjects') }} as subjects
    left join core_names on core_names.name = subjects.subject
    -- Each result once, not under the other names of its subject.
    where subjects.subject = subjects.exam_subject
),

wassce as (
    select
        school_id,
        student_id,
        exam_year,
        known_at,
        count(*) filter (where is_credit)
        >= (select pass_mark from {{ ref('pass_marks') }} where measure = 'core_credits')
        and count(distinct core_subject) filter (where is_credit)
        = (select count(*) from {{ ref('core_subjects') }}) as has_core_credits
    from wassce_subjects
    group by school_id, student_id, exam_year, known_at
)

select
    school_id,
    student_id,
    incidents.incident_dates,
    activities.activities_by_year,
    answers.study_habits,
    answers.weekly_reading_hours,
    jamb.score as jamb_score,
    {{ exam_known_at('jamb.exam_year::int', 'JAMB') }} as jamb_known_at,
    sat.score as sat_score,
    {{ exam_known_at('sat.exam_year::int', 'SAT') }} as sat_known_at,
    wassce.has_core_credits,
    wassce.exam_year as wassce_year,
    wassce.known_at as wassce_known_at
from incidents
full join activities using (school_id, student_id)
full join answers using (school_id, student_id)
full join jamb using (school_id, student_id)
full join sat using (school_id, student_id)
full join wassce using (school_id, student_id)
