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
