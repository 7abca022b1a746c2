select
    row_key,
    school_id,
    cnt as country_code,
    id as respondent_id,
    pisa_school_id,
    escs,
    tmins,
    belong,
    durecec,
    w_fstuwt as student_weight,
    time_submitted as submitted_at,
    _upload_id,
    _line
from {{ ref('stg_pisa_responses') }}
where is_deleted is not true
