select
    school_id,
    student_id,
    student_status,
    bus_pickup,
    bus_dropoff,
    student_activity_status,
    student_extracurricular_activity,
    offence_count,
    student_offence,
    disciplinary_action_taken
from {{ ref('int_student_profiles') }}
