{{ config(materialized='view') }}

with eligibility as (
    {{ newest_kept_rows('eligibility', ['student_id']) }}
),

activities as (
    {{ newest_kept_rows('eligibility_activities', ['id']) }}
)

select
    eligibility.school_id,
    eligibility.student_id,
    activities.title as activity,
    coalesce(eligibility.is_active, false) as is_active,
    coalesce(eligibility.syear, activities.syear)::int as start_year,
    eligibility._upload_id,
    eligibility._line
from eligibility
left join activities on activities.school_id = eligibility.school_id and activities.id = eligibility.activity_id
