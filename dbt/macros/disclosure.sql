{#
Whether a group is hidden from analysts: it is small; or a smaller one beside it is, and those hidden so far are only
one, or together still small. `rules.minimum_group` says what is small; `beside` are the columns of the whole that the
groups are parts of; `name` breaks ties.
#}
{% macro is_hidden(size, beside, name) -%}
    {%- set whole = 'partition by ' ~ beside | join(', ') -%}
    {%- set by_size = whole ~ ' order by ' ~ size ~ ', ' ~ name -%}
    (
        bool_or({{ size }} < rules.minimum_group) over ({{ whole }})
        and (
            {{ size }} < rules.minimum_group
            or row_number() over ({{ by_size }}) <= 2
            or sum({{ size }}) over ({{ by_size }} rows unbounded preceding) - {{ size }} < rules.minimum_group
        )
    )
{%- endmacro %}


{# A figure that divides a group in two tells of both parts, so both must be large enough. #}
{% macro are_both_parts_large(part, whole) -%}
    least({{ part }}, {{ whole }} - {{ part }}) >= rules.minimum_group
{%- endmacro %}
