select
    row_key,
    school_id,
    parent_id as guardian_id,
    student_id,
    lasrra_id,
    title,
    first_name,
    last_name,
    first_name || ' ' || last_name as full_name,
    gender,
    state_of_origin,
    age,
    date_of_birth,
    email,
    phone_number,
    home_address,
    occupation,
    financial_status,
    education_level,
    engagement_in_school_activities as engagement,
    lga_of_residence
from {{ ref('stg_guardians') }}
union all
-- Of whom a file tells, it stands before RosarioSIS.
select
    {{ row_key(['school_id', 'parent_id', 'student_id'], 'students') }} as row_key,
    students.school_id,
    students.parent_id as guardian_id,
    students.student_id,
    null as lasrra_id,
    null as title,
    parents.first_name,
    parents.last_name,
    parents.first_name || ' ' || parents.last_name as full_name,
    null as gender,
    null as state_of_origin,
    null as age,
    null as date_of_birth,
    null as email,
    null as phone_number,
    null as home_address,
    null as occupation,
    null as financial_status,
    parents.education_level,
    null as engagement,
    null as lga_of_residence
from {{ ref('stg_rosariosis_students') }} as students
inner join {{ ref('stg_rosariosis_parents') }} as parents
    on parents.school_id = students.school_id and parents.parent_id = students.parent_id
where
    students.is_deleted is not true
    and not exists (
        select 1 from {{ ref('stg_guardians') }} as known
        where
            known.school_id = students.school_id
            and known.student_id = students.student_id
            and known.parent_id = students.parent_id
    )
