select
    school_id,
    incident_id,
    student_id,
    teacher_id,
    incident_date,
    {{ school_year_name(start_year_of_day('incident_date')) }} as school_year,
    offence,
    action_taken
from {{ ref('stg_discipline') }}
union all
-- What a file says of an incident stands before RosarioSIS.
select
    referrals.school_id,
    referrals.referral_id::text,
    referrals.student_id,
    referrals.teacher_id,
    referrals.recorded_on,
    {{ school_year_name(start_year_of_day('referrals.recorded_on')) }},
    referrals.offence,
    referrals.action_taken
from {{ ref('stg_rosariosis_referrals') }} as referrals
where
    referrals.student_id is not null
    and not exists (
        select 1 from {{ ref('stg_discipline') }} as known
        where known.school_id = referrals.school_id and known.incident_id = referrals.referral_id::text
    )
