-- A view: it always reaches to the end of the next school year, and to any day that a fact has.
with calendar as (
    select day::date as date_day
    from generate_series(
        make_date({{ var('first_school_year') }}, 9, 1)::timestamp,
        make_date({{ start_year_of_day('current_date') }} + 2, 8, 31)::timestamp,
        interval '1 day'
    ) as days (day)
),

-- Days before or after the calendar, should a file have them.
recorded as (
    select attendance_date as date_day from {{ ref('fct_attendance_days') }}
    union
    select incident_date from {{ ref('fct_discipline') }}
    where incident_date is not null
),

days as (
    select date_day from calendar
    union
    select date_day from recorded
)

select
    days.date_day,
    extract(year from days.date_day)::int as calendar_year,
    extract(month from days.date_day)::int as month_of_year,
    extract(day from days.date_day)::int as day_of_month,
    extract(isodow from days.date_day)::int as day_of_week,
    extract(week from days.date_day)::int as iso_week,
    extract(isodow from days.date_day) >= 6 as is_weekend,
    {{ school_year_name(start_year_of_day('days.date_day')) }} as school_year,
    terms.term
from days
left join {{ ref('terms') }} as terms
    on days.date_day between
        {{ term_day('terms', start_year_of_day('days.date_day'), 'start') }}
        and {{ term_day('terms', start_year_of_day('days.date_day'), 'end') }}
