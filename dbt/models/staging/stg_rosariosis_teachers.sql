{{ config(materialized='view') }}

select
    {{ row_key(['school_id', 'id'], 'teachers') }} as row_key,
    school_id,
    id as teacher_id,
    last_name,
    first_name,
    middle_name,
    _upload_id,
    _line
from ({{ newest_kept_rows('teachers', ['id']) }}) as teachers
