{# A school year is named by the calendar years of its start and end: 2023/2024. It starts with the first term. #}
{% macro school_year_name(start_year) -%}
    (({{ start_year }})::text || '/' || (({{ start_year }}) + 1)::text)
{%- endmacro %}


{# Calendar year in which a school year starts; at least 1, because files may say 0000/0001. #}
{% macro start_year(school_year) -%}
    greatest(left({{ school_year }}, 4)::int, 1)
{%- endmacro %}


{# Calendar year in which a school year ends. #}
{% macro end_year(school_year) -%}
    right({{ school_year }}, 4)::int
{%- endmacro %}


{# Start year of the school year that a day lies in. Months from September on belong to the next one. #}
{% macro start_year_of_day(day) -%}
    (extract(year from {{ day }})::int - (extract(month from {{ day }}) < 9)::int)
{%- endmacro %}


{# First or last day (edge: start, end) of a term of the seed `terms`, in a school year. #}
{% macro term_day(terms, start_year, edge) -%}
    make_date({{ start_year }} + {{ terms }}.year_offset, {{ terms }}.{{ edge }}_month, {{ terms }}.{{ edge }}_day)
{%- endmacro %}
