{#
The newest row per key of a keyed dataset: the winner by (ranked_at of its upload, line).

From scratch: over all of raw. In a run that builds what changed, two kinds of keys:

- keys of rows that a load ADDED compete with the winner of before, which this table itself keeps. Only the new
  uploads' rows are read, found by the BRIN index;
- keys of rows that were REMOVED (withdrawn, replaced, erased) may have older rows that show again. Raw has no
  index by key, because keeping one costs every load twice its time; so raw is read once for all of them.
  Removing is rare. Where no key was removed, raw is not touched.
#}
{% macro newest_rows(dataset, key, columns) -%}
{%- set all_columns = columns + ['_upload_id', '_line', '_ranked_at'] -%}
{%- set raw = source('raw', dataset) -%}
with versions as (
    select uploads.upload_id, versions.ranked_at
    from {{ source('ops', 'uploads') }} as uploads
    inner join {{ source('ops', 'upload_versions') }} as versions
        on versions.upload_id = uploads.upload_id and versions.version = uploads.live_version
    where uploads.dataset = '{{ dataset }}'
),

{% if is_incremental() %}
removed as materialized (
    select distinct removed.row_key
    from {{ source('raw_changes', dataset ~ '__changed') }} as removed
    inner join {{ source('ops', 'loads') }} as loads on loads.load_id = removed.load_id
    where {{ is_building('loads') }}
),

added_rows as (
    {{ keyed_rows(raw, key, columns) }}
    where raw_rows._upload_id = any(array(
        select loads.upload_id from {{ source('ops', 'loads') }} as loads
        where {{ is_building('loads') }} and loads.dataset = '{{ dataset }}'
    ))
),

uncovered_rows as (
    {{ keyed_rows(raw, key, columns) }}
    where
        (select count(*) from removed) > 0
        and {{ row_key(key, 'raw_rows') }} in (select row_key from removed)
),

candidates as (
    select * from added_rows where row_key not in (select row_key from removed)
    union all
    select * from uncovered_rows
),
{% else %}
candidates as (
    {{ keyed_rows(raw, key, columns) }}
),
{% endif %}

winners as (
    select distinct on (row_key) *
    from candidates
    order by row_key, _ranked_at desc, _line desc, _upload_id desc
)

select winners.row_key, {% for column in all_columns %}winners.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
from winners
{%- if is_incremental() %}
left join {{ this }} as before on before.row_key = winners.row_key
where
    before.row_key is null
    or winners.row_key in (select row_key from removed)
    or (winners._ranked_at, winners._line, winners._upload_id)
    >= (before._ranked_at, before._line, before._upload_id)
{%- endif %}
{%- endmacro %}


{% macro keyed_rows(raw, key, columns) -%}
    select
        {{ row_key(key, 'raw_rows') }} as row_key,
        {% for column in columns %}raw_rows.{{ column }},
        {% endfor %}raw_rows._upload_id,
        raw_rows._line,
        versions.ranked_at as _ranked_at
    from {{ raw }} as raw_rows
    inner join versions on versions.upload_id = raw_rows._upload_id
{%- endmacro %}
