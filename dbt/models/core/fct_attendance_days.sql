with register as (
    select * from {{ ref('stg_attendance') }}
),

-- There are few days beside so many lines, so each is placed once: in the term that began last.
days as (
    select
        held.attendance_date,
        {{ school_year_name(start_year_of_day('held.attendance_date')) }} as school_year,
        running.term
    from (select distinct attendance_date from register) as held
    cross join lateral (
        select terms.term
        from {{ ref('terms') }} as terms
        order by
            {{ term_day('terms', start_year_of_day('held.attendance_date'), 'start') }} > held.attendance_date,
            abs(held.attendance_date - {{ term_day('terms', start_year_of_day('held.attendance_date'), 'start') }})
        limit 1
    ) as running
)

select
    register.row_key,
    register.school_id,
    register.student_id,
    register.attendance_date,
    days.school_year,
    days.term,
    register.attendance_status,
    register.attendance_status in ('Present', 'Late') as is_present,
    register.minutes_present,
    register.minutes_expected,
    register._upload_id,
    register._line
from register
inner join days on days.attendance_date = register.attendance_date
