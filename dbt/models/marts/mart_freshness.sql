-- A view, so that it also shows what arrived since the last build.
with datasets as (
    {% for dataset in datasets() %}
    select '{{ dataset }}' as dataset{{ ' union all' if not loop.last }}
    {% endfor %}
    -- Tables of other systems, where there are any.
    union
    select dataset from {{ source('ops', 'uploads') }}
),

versions as (
    select
        uploads.dataset,
        versions.status,
        versions.received_at,
        versions.loaded_at,
        versions.rows_loaded,
        uploads.live_version = versions.version as is_live
    from {{ source('ops', 'uploads') }} as uploads
    inner join {{ source('ops', 'upload_versions') }} as versions on versions.upload_id = uploads.upload_id
),

by_version as (
    select
        dataset,
        max(received_at) as last_upload_at,
        max(loaded_at) as last_load_at,
        coalesce(sum(rows_loaded) filter (where is_live), 0) as rows_live,
        count(*) filter (where is_live) as uploads_live,
        count(*) filter (where status in ('stored', 'loading')) as uploads_waiting,
        count(*) filter (where status = 'held') as uploads_held
    from versions
    group by dataset
),

by_load as (
    select
        dataset,
        max(built_at) as last_build_at,
        count(*) filter (where built_at is null) as loads_unbuilt
    from {{ source('ops', 'loads') }}
    group by dataset
)

select
    datasets.dataset,
    by_version.last_upload_at,
    by_version.last_load_at,
    by_load.last_build_at,
    coalesce(by_version.rows_live, 0)::bigint as live_row_count,
    coalesce(by_version.uploads_live, 0) as live_upload_count,
    coalesce(by_version.uploads_waiting, 0) as waiting_upload_count,
    coalesce(by_version.uploads_held, 0) as held_upload_count,
    coalesce(by_load.loads_unbuilt, 0) as unbuilt_load_count,
    coalesce(by_version.uploads_waiting, 0) + coalesce(by_load.loads_unbuilt, 0) = 0 as is_current
from datasets
left join by_version on by_version.dataset = datasets.dataset
left join by_load on by_load.dataset = datasets.dataset
