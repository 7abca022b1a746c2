-- The note stays in staging: it may name people.
select
    school_id,
    academic_year as school_year,
    resource,
    quantity,
    condition
from {{ ref('stg_school_resources') }}
