{# Activities in a list separated by commas. The text None says there are none; an empty cell says nothing. #}
{% macro count_activities(column) -%}
    case
        when {{ column }} is null then null
        when lower(btrim({{ column }})) = 'none' then 0
        else cardinality(string_to_array({{ column }}, ','))
    end
{%- endmacro %}
