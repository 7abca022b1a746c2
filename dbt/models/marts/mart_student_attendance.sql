with days as (
    select * from {{ ref('fct_attendance_days') }}
),

chronic_absence as (
    select minimum_pct from {{ ref('attendance_rules') }} where rule = 'chronic_absence'
),

counted as (
    select
        school_id,
        student_id,
        school_year,
        term,
        count(*) as days,
        count(*) filter (where is_present) as days_present,
        count(*) filter (where attendance_status = 'Late') as days_late,
        count(*) filter (where attendance_status = 'Absent') as days_absent,
        count(*) filter (where attendance_status = 'Excused') as days_excused,
        sum(minutes_present) filter (where minutes_expected is not null) as minutes_present,
        sum(minutes_expected) filter (where minutes_present is not null) as minutes_expected
    from days
    group by school_id, student_id, school_year, term
)

select
    counted.school_id,
    counted.student_id,
    counted.school_year,
    counted.term,
    terms.term_order,
    counted.days::int as day_count,
    counted.days_present::int as present_day_count,
    counted.days_late::int as late_day_count,
    counted.days_absent::int as absent_day_count,
    counted.days_excused::int as excused_day_count,
    round(100.0 * counted.days_present / counted.days, 2) as attendance_pct,
    -- In whole days, so that exactly the mark is not below it.
    100 * counted.days_present < chronic_absence.minimum_pct * counted.days as is_chronically_absent,
    counted.minutes_present::bigint as minutes_present,
    counted.minutes_expected::bigint as minutes_expected,
    round(100.0 * counted.minutes_present / nullif(counted.minutes_expected, 0), 2) as minutes_pct
from counted
inner join {{ ref('terms') }} as terms on terms.term = counted.term
cross join chronic_absence
