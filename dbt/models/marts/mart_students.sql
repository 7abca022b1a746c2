-- With mart_guardians the only mart that names people: who the students are. Never published.
select
    school_id,
    student_id,
    first_name,
    last_name,
    full_name,
    gender,
    date_of_birth,
    grade_level,
    stream,
    is_boarding,
    email,
    home_address,
    lga_of_residence,
    admission_date,
    graduation_date
from {{ ref('dim_students') }}
