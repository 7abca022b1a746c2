{#
How a run costs what changed.

Loads and withdrawals leave a line in ops.loads. elt/transforming/transform.py stamps the unbuilt lines with its run and
starts dbt. Staging turns them into lists of changed students, teachers and guardians (stg_<dataset>__changed);
every table below rebuilds exactly the keys on its list: delete them, insert them again, in one transaction.
The lists stay until the whole build has succeeded, so a build killed anywhere is simply done again.
#}

{# Condition on a line of ops.loads: this build brings it into the marts. #}
{% macro is_building(loads) -%}
    {{ loads }}.built_at is null and {{ loads }}.build_run_id is not null
{%- endmacro %}


{# A row's key, as the loader writes it into raw.<dataset>__changed: primary-key columns, contract order. #}
{% macro row_key(columns, alias) -%}
    ops.row_key({% for column in columns %}{{ alias }}.{{ column }}::text{{ ', ' if not loop.last }}{% endfor %})
{%- endmacro %}


{#
Whether this run builds what changed. Not where a table is made for the first time or swapped for a new one, nor
where everything is built anew in place (`LAUREL_DBT_REBUILD`): that empties each table and fills it again in one
transaction, so that readers wait instead of finding nothing, and views and grants stay.
#}
{% macro builds_changes() -%}
    {{ return(is_incremental() and not is_rebuilding()) }}
{%- endmacro %}


{% macro is_rebuilding() -%}
    {{ return(env_var('LAUREL_DBT_REBUILD', '') == '1') }}
{%- endmacro %}


{#
The model stg_<dataset>__changed: a list of changed keys. It is made empty, filled by the table that it belongs to
(strategy `newest_rows`), and emptied by elt/transforming/transform.py when the build has succeeded.
#}
{% macro list_of_changed(columns) -%}
    {{
        config(
            materialized='incremental',
            incremental_strategy='append',
            tags=['kept'],
            indexes=[{'columns': columns, 'unique': true}],
        )
    }}

    select
        {% for column in columns -%}
        null::text as {{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    where false
{%- endmacro %}


{# In a run that builds what changed: a condition that keeps the rows whose student is on the list. Else: true. #}
{% macro on_list(list, alias) -%}
    {%- if builds_changes() -%}
        ({{ alias }}.school_id, {{ alias }}.student_id) in (
            select changed.school_id, changed.student_id from {{ list }} as changed
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{#
The incremental strategy `changed_keys`. What to rebuild stands in the model's meta:

- changed_list: the model that lists the keys to rebuild, and
- changed_columns: the columns of that key (default: school_id, student_id);
- totals: where a totals table sums over this one: {spec: its specification, log: the model that takes the
  difference}. The difference is written in the same transaction as the rows, so it is counted once however
  often a build is killed;
- without changed_list: everything is worked out; with compared_by (the key) only rows that differ are written, else
  all are.
#}
{% macro get_incremental_changed_keys_sql(arg_dict) %}
    {%- set target_table = arg_dict['target_relation'] -%}
    {%- set new_rows = arg_dict['temp_relation'] -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    {%- set meta = config.get('meta', {}) -%}
    {%- set key = meta.get('changed_columns', ['school_id', 'student_id']) -%}
    {%- set totals = meta.get('totals') -%}

    {% if is_rebuilding() %}
    {{ do_over(target_table, new_rows, columns) }}
    {% elif meta.get('compared_by') %}
    delete from {{ target_table }} as old_rows
    using (select {{ columns }} from {{ target_table }} except select {{ columns }} from {{ new_rows }}) as gone
    where {% for column in meta['compared_by'] %}{{ ' and ' if not loop.first }}old_rows.{{ column }} = gone.{{ column }}{% endfor %};
    insert into {{ target_table }} ({{ columns }})
    select {{ columns }} from {{ new_rows }} except select {{ columns }} from {{ target_table }};
    {{ analyze_where_grown(target_table, new_rows) }}
    {% else %}
    {% if totals %}
    insert into {{ ref(totals['log']) }} ({{ totals_columns(totals['spec']) }})
    {{ totals_select(totals['spec'], target_table, -1, ref(meta['changed_list']), key) }};
    insert into {{ ref(totals['log']) }} ({{ totals_columns(totals['spec']) }})
    {{ totals_select(totals['spec'], new_rows, 1) }};
    {% endif %}

    {% if meta.get('changed_list') %}
    delete from {{ target_table }} as old_rows
    using {{ ref(meta['changed_list']) }} as changed
    where {% for column in key %}{{ ' and ' if not loop.first }}old_rows.{{ column }} = changed.{{ column }}{% endfor %};
    {% else %}
    delete from {{ target_table }};
    {% endif %}

    insert into {{ target_table }} ({{ columns }}) select {{ columns }} from {{ new_rows }};
    {{ analyze_where_grown(target_table, new_rows) }}
    {% endif %}
{% endmacro %}


{# Empties a table and fills it again. #}
{% macro do_over(target_table, new_rows, columns) -%}
    truncate {{ target_table }};
    insert into {{ target_table }} ({{ columns }}) select {{ columns }} from {{ new_rows }};
    analyze {{ target_table }};
{%- endmacro %}


{#
The incremental strategy `newest_rows` of keyed staging tables: replaces the rows whose winner is new, deletes
those that were taken out of raw, and puts whoever is concerned on the table's list, where it has one (what only
views show needs none).

meta: entity (columns of the list), list (the list's model), removed (the source with removed keys), watch
(columns that matter to what is built from the list; default: any new winner matters), moves and owner (see
concerned_by).
#}
{% macro get_incremental_newest_rows_sql(arg_dict) %}
    {%- set target_table = arg_dict['target_relation'] -%}
    {%- set new_rows = arg_dict['temp_relation'] -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    {%- set meta = config.get('meta', {}) -%}
    {%- set list = ref(meta['list']) if meta.get('list') -%}
    {%- set doomed = new_rows.identifier ~ '_doomed' -%}

    {% if is_rebuilding() %}
    {{ do_over(target_table, new_rows, columns) }}
    {% else %}
    create temporary table {{ doomed }} on commit drop as
    select row_key from {{ new_rows }}
    union
    select removed.row_key
    from {{ source('raw_changes', meta['removed']) }} as removed
    inner join {{ source('ops', 'loads') }} as loads on loads.load_id = removed.load_id
    where {{ is_building('loads') }};
    analyze {{ doomed }};
    analyze {{ new_rows }};

    {% if list %}
    -- Of two tables that fill one list at once, each could wait for a line of the other for ever.
    lock table {{ list }} in share row exclusive mode;
    insert into {{ list }} ({{ (['school_id', 'student_id'] if meta.get('owner') else meta['entity']) | join(', ') }})
    {{ concerned_by(meta, new_rows, target_table, doomed) }}
    on conflict do nothing;
    analyze {{ list }};
    {% endif %}

    delete from {{ target_table }} as old_rows
    using {{ doomed }} as doomed
    where doomed.row_key = old_rows.row_key;

    insert into {{ target_table }} ({{ columns }}) select {{ columns }} from {{ new_rows }};
    {{ analyze_where_grown(target_table, new_rows) }}
    {% endif %}
{% endmacro %}


{#
Whom the changed rows of a staging table concern: those who stand in the columns `entity`. Where these are not part
of the key (`moves`), a row may have been somebody else's before, or be a tombstone that names nobody: then both
whoever has it and whoever had it. Where the rows name nobody (`owner`: a staging table, built before), whoever has
the row of the owner with the same `entity`.
#}
{% macro concerned_by(meta, new_rows, target_table, doomed) -%}
    {%- set watch = meta.get('watch', []) -%}
    {%- set owner = meta.get('owner') -%}
    select distinct
        {% if owner %}owners.school_id, owners.student_id
        {% elif meta.get('moves') %}{% for column in meta['entity'] %}people.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
        {% else %}{% for column in meta['entity'] %}coalesce(new_rows.{{ column }}, old_rows.{{ column }}){{ ', ' if not loop.last }}{% endfor %}
        {% endif %}
    from {{ new_rows }} as new_rows
    full join (
        select old_rows.* from {{ target_table }} as old_rows
        inner join {{ doomed }} as doomed on doomed.row_key = old_rows.row_key
    ) as old_rows on old_rows.row_key = new_rows.row_key
    {% if owner %}
    inner join {{ ref(owner) }} as owners
        on {% for column in meta['entity'] %}{{ ' and ' if not loop.first }}owners.{{ column }} = coalesce(new_rows.{{ column }}, old_rows.{{ column }}){% endfor %}

    where owners.student_id is not null
    {% elif meta.get('moves') %}
    cross join lateral (
        values
        ({% for column in meta['entity'] %}new_rows.{{ column }}{{ ', ' if not loop.last }}{% endfor %}),
        ({% for column in meta['entity'] %}old_rows.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
    ) as people ({{ meta['entity'] | join(', ') }})
    where {% for column in meta['entity'] %}{{ ' and ' if not loop.first }}people.{{ column }} is not null{% endfor %}

    {% elif watch %}
    where
        ({% for column in watch %}new_rows.{{ column }}{{ ', ' if not loop.last }}{% endfor %}) is distinct from
        ({% for column in watch %}old_rows.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
        or (new_rows.row_key is null) <> (old_rows.row_key is null)
    {% endif %}
{%- endmacro %}


{#
Fresh statistics where a tenth or more of the table is new: autovacuum would come too late for the next
model, and the planner would walk through the whole table for a handful of keys.
#}
{% macro analyze_where_grown(target_table, new_rows) -%}
    do $do$
    begin
        if (select count(*) from {{ new_rows }}) * 10 > (
            select coalesce(max(reltuples), 0) from pg_class where oid = '{{ target_table }}'::regclass
        ) then
            analyze {{ target_table }};
        end if;
    end
    $do$;
{%- endmacro %}


{# Everything is built, or a test command of its own. Else tests look at changed keys only. #}
{% macro is_whole_run() -%}
    {{ return(flags.FULL_REFRESH or is_rebuilding() or flags.WHICH == 'test') }}
{%- endmacro %}


{#
A test with `where: on_list stg_academic_history__changed` looks, in an ordinary run, only at the rows whose
student is on that list; in a whole run at all rows. Any other `where` means what it says.
#}
{% macro postgres__get_where_subquery(relation) -%}
    {%- set where = config.get('where', '') or '' -%}
    {%- if where.startswith('on_list ') -%}
        {%- if is_whole_run() -%}
            {% do return(relation) %}
        {%- endif -%}
        {%- set list = where[8:].split('.') -%}
        {%- set filtered -%}
            (
                select * from {{ relation }}
                where (school_id, student_id) in (select school_id, student_id from {{ list[0] }}.{{ list[1] }})
            ) as dbt_subquery
        {%- endset -%}
        {% do return(filtered) %}
    {%- endif -%}
    {% do return(default__get_where_subquery(relation)) %}
{%- endmacro %}


{# Comments change only with the code; writing them again in every run costs three statements a model. #}
{% macro postgres__persist_docs(relation, model, for_relation, for_columns) -%}
    {% if is_incremental() %}{% do return('') %}{% endif %}
    {{ return(default__persist_docs(relation, model, for_relation, for_columns)) }}
{%- endmacro %}
