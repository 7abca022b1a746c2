{{ config(materialized='view') }}

-- Who is voted best is rated good, who is voted worst is rated bad.
select
    school_id,
    id as poll_id,
    students_teacher_id as teacher_id,
    syear::int as start_year,
    case when title ~* '\mbest\M' then 'Good' when title ~* '\mworst\M' then 'Bad' end as rating,
    votes_number as votes,
    published_date as published_at,
    _upload_id,
    _line
from ({{ newest_kept_rows('portal_polls', ['id']) }}) as polls
