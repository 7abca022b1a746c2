-- For analysts, teachers and whoever is bound to a school. Rows are a total of which hidden groups are parts.
select
    mart.dataset,
    mart.last_upload_at,
    mart.last_load_at,
    mart.last_build_at,
    null::bigint as live_row_count,
    mart.live_upload_count,
    mart.waiting_upload_count,
    mart.held_upload_count,
    mart.unbuilt_load_count,
    mart.is_current
from marts.mart_freshness as mart
