-- What the summary counts, one row per student. A view: it shows predictions, which are made after the build.
--
-- The page reads it for all students at once, so it finds the predictions of `mart_student_risk` and
-- `mart_student_predictions` day by day, where those look for each student. And its joins are full ones: PostgreSQL
-- thinks that a handful of students are current, and would look through all of them for each student; a full join is
-- never made like that.
with current_terms as materialized (
    select school_id, student_id, as_of_date, true as is_current from {{ ref('int_current_terms') }}
),

days as materialized (
    select distinct as_of_date from current_terms
),

targets as (
    select * from (values ('at_risk'), ('jamb_score'), ('sat_score'), ('wassce_pass')) as listed (target)
),

newest as materialized (
    select predictions.*
    from days
    cross join targets
    cross join lateral (
        select distinct on (made.school_id, made.student_id)
            made.school_id,
            made.student_id,
            made.as_of_date,
            made.target,
            '' as subject,
            made.method,
            made.is_at_risk,
            -- Not being on the list is not enough: the list also takes those who will pass, but just so.
            coalesce(round((1 - made.probability)::numeric, 4) >= 0.5, not made.is_at_risk) as is_pass_likely
        from {{ source('ml', 'predictions') }} as made
        where made.target = targets.target and made.as_of_date = days.as_of_date and made.subject = ''
        order by made.school_id, made.student_id, made.prediction_id desc
    ) as predictions
    where
        predictions.target = 'at_risk'
        or not exists (
            select 1 from {{ source('ml', 'outcomes') }} as outcomes
            where {{ is_same_question('outcomes', 'predictions') }}
        )
),

standings as (
    select
        school_id,
        student_id,
        true as is_current,
        bool_or(newest.is_at_risk) filter (where newest.target = 'at_risk') as is_at_risk,
        max(newest.method) filter (where newest.target = 'at_risk') as risk_method,
        bool_or(newest.is_pass_likely) filter (where newest.target = 'jamb_score') as is_jamb_pass_likely,
        max(newest.method) filter (where newest.target = 'jamb_score') as jamb_method,
        bool_or(newest.is_pass_likely) filter (where newest.target = 'sat_score') as is_sat_pass_likely,
        max(newest.method) filter (where newest.target = 'sat_score') as sat_method,
        bool_or(newest.is_pass_likely) filter (where newest.target = 'wassce_pass') as is_wassce_pass_likely,
        max(newest.method) filter (where newest.target = 'wassce_pass') as wassce_method
    from current_terms
    full join newest using (school_id, student_id, as_of_date)
    where coalesce(current_terms.is_current, false) -- as below
    group by school_id, student_id
),

-- Of those without results, only their record can tell whether they have left; they are few.
former_students as (
    select students.school_id, students.student_id, true as is_former
    from {{ ref('mart_student_overview') }} as overview
    inner join {{ ref('dim_students') }} as students
        on students.school_id = overview.school_id and students.student_id = overview.student_id
    where overview.term_count = 0 and coalesce(students.graduation_date < current_date, students.leaving_year is not null)
),

offences as (
    select
        school_id,
        student_id,
        count(*)::int as offence_count,
        jsonb_agg(distinct offence) filter (where offence is not null) as offences
    from {{ ref('fct_discipline') }}
    group by school_id, student_id
)

select
    school_id,
    student_id,
    overview.grade_level,
    case
        when standings.is_current then 'Current'
        when overview.term_count > 0 or former_students.is_former then 'Left'
        else 'New'
    end as enrollment_status,
    overview.gender,
    overview.activities_count > 0 as has_activity,
    coalesce(offences.offence_count, 0) as offence_count,
    coalesce(offences.offences, '[]') as offences,
    overview.latest_school_year,
    overview.latest_term,
    overview.latest_average_score,
    overview.latest_attendance_pct,
    (select pass_mark from {{ ref('pass_marks') }} where measure = 'term_average') as pass_mark,
    standings.is_at_risk,
    standings.risk_method,
    standings.is_jamb_pass_likely,
    standings.jamb_method,
    standings.is_sat_pass_likely,
    standings.sat_method,
    standings.is_wassce_pass_likely,
    standings.wassce_method
from {{ ref('mart_student_overview') }} as overview
full join standings using (school_id, student_id)
full join former_students using (school_id, student_id)
full join offences using (school_id, student_id)
-- Not `is not null`, which would make left joins of the full ones.
where coalesce(overview.term_count, -1) >= 0
