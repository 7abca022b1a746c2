{# What dbt checks about a table's declared columns, and what it need not. #}

{# Columns change only with the code, and then every table is made from scratch and compared there. #}
{% macro postgres__get_assert_columns_equivalent(sql) -%}
    {% if is_incremental() %}{% do return('') %}{% endif %}
    {{ return(default__get_assert_columns_equivalent(sql)) }}
{%- endmacro %}


{# As dbt's own, without its warning about numeric: in PostgreSQL numeric without a precision is exact. #}
{% macro postgres__get_empty_schema_sql(columns) -%}
    select
    {% for name in columns %}
    {%- set column = columns[name] -%}
    cast(null as {{ column['data_type'] }}) as {{ column['name'] }}{{ ', ' if not loop.last }}
    {% endfor %}
{%- endmacro %}
