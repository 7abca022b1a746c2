{# A student's guardians in one row: of several, the highest word of each counts. The condition limits the students. #}
{% macro student_guardians(condition) -%}
    select
        guardians.school_id,
        guardians.student_id,
        count(*)::int as guardian_count,
        {{ best_of('guardians.engagement', ['High', 'Medium', 'Low']) }} as guardian_engagement,
        {{ best_of('guardians.education_level', ['Tertiary', 'Secondary', 'Primary']) }} as guardian_education,
        {{ best_of('guardians.financial_status', ['High Income', 'Middle Income', 'Low Income']) }}
            as guardian_financial_status
    from {{ ref('dim_guardians') }} as guardians
    where {{ condition }}
    group by guardians.school_id, guardians.student_id
{%- endmacro %}


{# The first of some words, in the given order, that a group of rows has. Null where it has none of them. #}
{% macro best_of(column, words) -%}
    (array['{{ words | join("', '") }}'])[min(array_position(array['{{ words | join("', '") }}'], {{ column }}))]
{%- endmacro %}
