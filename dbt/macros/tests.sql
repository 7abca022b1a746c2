{# No two rows share these columns. #}
{% test unique_grain(model, columns) %}
select {{ columns | join(', ') }}, count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}


{# Every row's columns, where none is null, occur in another model under the same names. #}
{% test known_in(model, to, columns) %}
with checked as (
    select * from {{ model }}
)

select distinct {% for column in columns %}unknown.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
from checked as unknown
where
    {% for column in columns %}unknown.{{ column }} is not null and {% endfor %}
    not exists (
        select 1 from {{ to }} as known
        where {% for column in columns %}{{ ' and ' if not loop.first }}known.{{ column }} = unknown.{{ column }}{% endfor %}
    )
{% endtest %}


{# A student's assessments and terms, counted in the facts. #}
{% test counts_as_facts(model) %}
with checked as (
    select * from {{ model }}
)

select overview.school_id, overview.student_id
from checked as overview
cross join lateral (
    select count(*) as assessments, count(distinct (school_year, term)) as terms
    from {{ ref('fct_assessments') }} as facts
    where facts.school_id = overview.school_id and facts.student_id = overview.student_id
) as counted
where
    overview.subject_count <> counted.assessments
    or overview.term_count <> counted.terms
{% endtest %}
