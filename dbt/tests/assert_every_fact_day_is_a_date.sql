{{ config(tags=['whole']) }}
-- Every day of a fact stands in dim_dates, so that a join to it loses no row.
{% for fact, day in [
    ('fct_attendance_days', 'attendance_date'),
    ('fct_discipline', 'incident_date'),
] %}
select '{{ fact }}' as fact, facts.{{ day }} as date_day
from {{ ref(fact) }} as facts
left join {{ ref('dim_dates') }} as dates on dates.date_day = facts.{{ day }}
where dates.date_day is null and facts.{{ day }} is not null
{{ 'union all' if not loop.last }}
{% endfor %}
