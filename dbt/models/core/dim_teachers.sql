select
    row_key,
    school_id,
    teacher_id,
    lasrra_id,
    first_name,
    last_name,
    first_name || ' ' || last_name as full_name,
    gender,
    age,
    date_of_birth,
    state_of_origin,
    years_of_experience,
    qualification,
    home_address,
    email,
    phone_number,
    residence_type = 'Lives in School' as is_resident,
    lga_of_residence,
    digital_literacy,
    salary,
    teaching_level,
    subject_specialization
from {{ ref('stg_teachers') }}
union all
-- Of whom a file tells, it stands before RosarioSIS.
select
    teachers.row_key,
    teachers.school_id,
    teachers.teacher_id,
    null as lasrra_id,
    teachers.first_name,
    teachers.last_name,
    teachers.first_name || ' ' || teachers.last_name as full_name,
    null as gender,
    null as age,
    null as date_of_birth,
    null as state_of_origin,
    null as years_of_experience,
    null as qualification,
    null as home_address,
    null as email,
    null as phone_number,
    null as is_resident,
    null as lga_of_residence,
    null as digital_literacy,
    null as salary,
    null as teaching_level,
    null as subject_specialization
from {{ ref('stg_rosariosis_teachers') }} as teachers
where not exists (
    select 1 from {{ ref('stg_teachers') }} as known
    where known.school_id = teachers.school_id and known.teacher_id = teachers.teacher_id
)
