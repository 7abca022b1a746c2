-- What the summary counts, one row per student. A view: it shows predictions, which are made after the build.
--
-- What is known of students is put below one another and then turned, not joined: PostgreSQL thinks that a handful of
-- students are current, and would look through all of them for each student.
with facts as (
    select school_id, student_id, 'known' as fact, true as is_so, null as method
    from {{ ref('mart_student_overview') }}
    union all
    select school_id, student_id, 'current', true, null
    from {{ ref('int_current_terms') }}
    union all
    -- Of those without results, only their record can tell whether they have left.
    select school_id, student_id, 'former', true, null
    from {{ ref('dim_students') }}
    where coalesce(graduation_date < current_date, leaving_year is not null)
    union all
    select school_id, student_id, 'at_risk', is_at_risk, method
    from {{ ref('mart_student_risk') }}
    union all
    select school_id, student_id, target, not is_at_risk, method
    from {{ ref('mart_student_predictions') }}
    where target in ('jamb_score', 'sat_score', 'wassce_pass')
),

standings as (
    select
        school_id,
        student_id,
        coalesce(bool_or(is_so) filter (where fact = 'current'), false) as is_current,
        coalesce(bool_or(is_so) filter (where fact = 'former'), false) as is_former,
        bool_or(is_so) filter (where fact = 'at_risk') as is_at_risk,
        max(method) filter (where fact = 'at_risk') as risk_method,
        bool_or(is_so) filter (where fact = 'jamb_score') as is_jamb_pass_likely,
        max(method) filter (where fact = 'jamb_score') as jamb_method,
        bool_or(is_so) filter (where fact = 'sat_score') as is_sat_pass_likely,
        max(method) filter (where fact = 'sat_score') as sat_method,
        bool_or(is_so) filter (where fact = 'wassce_pass') as is_wassce_pass_likely,
        max(method) filter (where fact = 'wassce_pass') as wassce_method
    from facts
    group by school_id, student_id
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
    overview.school_id,
    overview.student_id,
    overview.grade_level,
    case
        when standings.is_current then 'Current'
        when overview.term_count > 0 or standings.is_former then 'Left'
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
    pass_marks.pass_mark,
    standings.is_at_risk,
    standings.risk_method,
    standings.is_jamb_pass_likely,
    standings.jamb_method,
    standings.is_sat_pass_likely,
    standings.sat_method,
    standings.is_wassce_pass_likely,
    standings.wassce_method
from {{ ref('mart_student_overview') }} as overview
inner join {{ ref('pass_marks') }} as pass_marks on pass_marks.measure = 'term_average'
inner join standings
    on standings.school_id = overview.school_id and standings.student_id = overview.student_id
left join offences on offences.school_id = overview.school_id and offences.student_id = overview.student_id
