-- A view: its end moves with the calendar, so that it never runs out of years.
with calendar_years as (
    select start_year
    from generate_series(
        {{ var('first_school_year') }}, {{ start_year_of_day('current_date') }} + 1
    ) as years (start_year)
),

calendar as (
    select start_year, {{ school_year_name('start_year') }} as school_year from calendar_years
),

-- Years before the calendar, should a file have them.
recorded as (
    select distinct {{ start_year('school_year') }} as start_year, school_year
    from {{ ref('int_assessment_totals') }}
),

school_years as (
    select start_year, school_year from calendar
    union
    select start_year, school_year from recorded
)

select
    school_years.school_year,
    terms.term,
    terms.term_order,
    {{ term_day('terms', 'school_years.start_year', 'start') }} as starts_on,
    {{ term_day('terms', 'school_years.start_year', 'end') }} as ends_on
from school_years
cross join {{ ref('terms') }} as terms
