-- With mart_students the only mart that names people: whom to call about a student. Never published.
select
    school_id,
    guardian_id as parent_id,
    student_id,
    title,
    first_name,
    last_name,
    full_name,
    email,
    phone_number,
    home_address,
    occupation,
    engagement
from {{ ref('dim_guardians') }}
