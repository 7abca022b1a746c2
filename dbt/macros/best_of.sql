{# The first of some words, in the given order, that a group of rows has. Null where it has none of them. #}
{% macro best_of(column, words) -%}
    (array['{{ words | join("', '") }}'])[min(array_position(array['{{ words | join("', '") }}'], {{ column }}))]
{%- endmacro %}
