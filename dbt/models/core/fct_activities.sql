select
    school_id,
    student_id,
    academic_year as school_year,
    activity,
    activity_status = 'Active' as is_active
from {{ ref('stg_activities') }}
