{#
Whether a group is hidden from analysts, for the rows of one school year's groups by term.

It is hidden if it is small in any term of the year: a group that is small in one term is about as small in the next.
Alone it would be the whole less the others. So in each term the next smallest groups are hidden with it, until at
least two are, and together they are not small. Whatever is hidden in one term is hidden in all.

`size` is the group's number of students in the term; `whole` the columns of the whole that it is a part of, term
included; `group` the columns that name it over the year; `name` tells groups of one size apart. The caller has a CTE
`rules` whose `minimum_group` says what is small.
#}
{% macro with_hidden(relation, size, whole, group, name) -%}
    with marked as (
        select
            {{ relation }}.*,
            rules.minimum_group,
            min({{ size }}) over (partition by {{ group | join(', ') }}) < rules.minimum_group as is_small
        from {{ relation }}
        cross join rules
    ),

    placed as (
        select
            marked.*,
            bool_or(is_small) over (partition by {{ whole | join(', ') }}) as is_beside_small,
            row_number() over in_order as place,
            sum({{ size }}) over (in_order rows unbounded preceding) - {{ size }} as hidden_before
        from marked
        window in_order as (partition by {{ whole | join(', ') }} order by is_small desc, {{ size }}, {{ name }})
    )

    select
        placed.*,
        bool_or(
            is_small or (is_beside_small and (place <= 2 or hidden_before < minimum_group))
        ) over (partition by {{ group | join(', ') }}) as is_hidden
    from placed
{%- endmacro %}


{# A figure that divides a group in two tells of both parts, so both must be large enough. #}
{% macro are_both_parts_large(part, whole) -%}
    least({{ part }}, {{ whole }} - {{ part }}) >= minimum_group
{%- endmacro %}
