with profiles as (
    select * from {{ ref('int_student_profiles') }}
),

grades as (
    select grade_level, stage from {{ ref('grade_levels') }}
)

select
    profiles.school_id,
    profiles.student_id,
    profiles.student_status,
    grades.stage,
    profiles.bus_pickup,
    profiles.bus_dropoff,
    profiles.student_activity_status,
    profiles.student_extracurricular_activity,
    profiles.offence_count,
    profiles.student_offence,
    profiles.disciplinary_action_taken
from profiles
left join grades on grades.grade_level = profiles.student_class
