{#
The newest row per key of a keyed dataset: the winner by (ranked_at of its upload, line).

From scratch: over all of raw. In a run that builds what changed, two kinds of keys:

- keys of rows that a load ADDED compete with the winner of before, which this table itself keeps. Only the new
  uploads' rows are read, found by the block index;
- keys of rows that were REMOVED (withdrawn, replaced, erased) may have older rows that show again. Raw has no
  index by key, because keeping one costs every load twice its time; so raw is read once for all of them.
  Removing is rare. Where no key was removed, that part is not there.

Uploads stand in the statement as values: only so does the planner know that they are a small part of raw.
#}
{% macro newest_rows(dataset, key, columns) -%}
{%- set all_columns = columns + ['_upload_id', '_line', '_ranked_at'] -%}
{%- set raw = source('raw', dataset) -%}
{%- set removed_keys = source('raw_changes', dataset ~ '__changed') -%}
{%- set waiting = waiting_changes(dataset, removed_keys) if builds_changes() else none -%}
with versions as (
    select uploads.upload_id, versions.ranked_at
    from {{ source('ops', 'uploads') }} as uploads
    inner join {{ source('ops', 'upload_versions') }} as versions
        on versions.upload_id = uploads.upload_id and versions.version = uploads.live_version
    where uploads.dataset = '{{ dataset }}'
),

{% if waiting and waiting.removed %}
removed as materialized (
    select distinct removed.row_key
    from {{ removed_keys }} as removed
    inner join {{ source('ops', 'loads') }} as loads on loads.load_id = removed.load_id
    where {{ is_building('loads') }}
),

candidates as (
    select * from ({{ keyed_rows(raw, key, columns, waiting.uploads) }}) as added_rows
    where row_key not in (select row_key from removed)
    union all
    select * from ({{ keyed_rows(raw, key, columns) }}) as uncovered_rows
    where row_key in (select row_key from removed)
),
{% else %}
candidates as (
    {{ keyed_rows(raw, key, columns, waiting.uploads if waiting else none) }}
),
{% endif %}

winners as (
    select distinct on (row_key) *
    from candidates
    order by row_key, _ranked_at desc, _line desc, _upload_id desc
)

select winners.row_key, {% for column in all_columns %}winners.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
from winners
{%- if waiting %}
left join {{ this }} as before on before.row_key = winners.row_key
where
    before.row_key is null
    {% if waiting.removed %}or winners.row_key in (select row_key from removed){% endif %}
    or (winners._ranked_at, winners._line, winners._upload_id)
    >= (before._ranked_at, before._line, before._upload_id)
{%- endif %}
{%- endmacro %}


{# Raw rows with their key and rank; of all uploads or of those given. #}
{% macro keyed_rows(raw, key, columns, uploads=none) -%}
    select
        {{ row_key(key, 'raw_rows') }} as row_key,
        {% for column in columns %}raw_rows.{{ column }},
        {% endfor %}raw_rows._upload_id,
        raw_rows._line,
        versions.ranked_at as _ranked_at
    from {{ raw }} as raw_rows
    inner join versions on versions.upload_id = raw_rows._upload_id
    {%- if uploads is not none %}
    where raw_rows._upload_id = any('{{ '{' ~ uploads ~ '}' }}'::uuid[])
    {%- endif %}
{%- endmacro %}


{# What this build has to bring in of a dataset: uploads (ids with commas) and whether any key was removed. #}
{% macro waiting_changes(dataset, removed_keys) -%}
    {%- set loads = source('ops', 'loads') -%}
    {%- set query -%}
        select
            (
                select coalesce(string_agg(distinct loads.upload_id::text, ','), '') from {{ loads }} as loads
                where
                    {{ is_building('loads') }} and loads.dataset = '{{ dataset }}'
                    -- Of an erasure everything stands among the removed keys.
                    and loads.kind <> 'erase'
            ) as uploads,
            exists (
                select 1 from {{ removed_keys }} as removed
                inner join {{ loads }} as loads on loads.load_id = removed.load_id
                where {{ is_building('loads') }}
            ) as has_removed
    {%- endset -%}
    {%- if execute -%}
        {%- set row = run_query(query).rows[0] -%}
        {{ return({'uploads': row['uploads'], 'removed': row['has_removed']}) }}
    {%- endif -%}
    {{ return({'uploads': '', 'removed': true}) }}
{%- endmacro %}
