{# Standard deviation of a sample from count, sum and sum of squares; null below two values. #}
{% macro deviation(count, sum, square_sum) -%}
    case when {{ count }} > 1 then round(
        sqrt(greatest({{ square_sum }} - {{ sum }} * {{ sum }} / {{ count }}, 0) / ({{ count }} - 1)), 2
    ) end
{%- endmacro %}
