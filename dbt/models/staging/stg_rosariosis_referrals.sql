{{ config(materialized='view') }}

select
    school_id,
    id as referral_id,
    student_id,
    staff_id as teacher_id,
    coalesce(entry_date, referral_date) as recorded_on,
    referral_date as acted_on,
    offence,
    action_taken,
    _upload_id,
    _line
from ({{ newest_kept_rows('discipline_referrals', ['id']) }}) as referrals
