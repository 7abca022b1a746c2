{{ config(materialized='view') }}

select
    school_id,
    parent_id,
    last_name,
    first_name,
    middle_name,
    -- Files say Tertiary.
    case when lower(btrim(education_level)) = 'higher' then 'Tertiary' else btrim(education_level) end as education_level,
    _upload_id,
    _line
from ({{ newest_kept_rows('parent', ['parent_id']) }}) as parents
