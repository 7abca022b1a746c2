select
    row_key,
    school_id,
    student_id,
    first_name,
    last_name,
    first_name || ' ' || last_name as full_name,
    gender,
    age,
    date_of_birth,
    health_status,
    disorder = 'Yes' as has_disorder,
    state_of_origin,
    lga_of_residence,
    home_address,
    living_arrangement = 'Boarding' as is_boarding,
    email,
    grade_level,
    stream,
    extracurricular_activities,
    {{ count_activities('extracurricular_activities') }} as activities_count,
    admission_date,
    graduation_date,
    extract(year from graduation_date)::int as leaving_year,
    null::boolean as has_bus_pickup,
    null::boolean as has_bus_dropoff,
    null::text as profile_image
from {{ ref('stg_students') }}
union all
-- Of whom a file tells, it stands before RosarioSIS.
select
    students.row_key,
    students.school_id,
    students.student_id,
    students.first_name,
    students.last_name,
    students.first_name || ' ' || students.last_name as full_name,
    case upper(left(students.gender, 1)) when 'M' then 'Male' when 'F' then 'Female' end as gender,
    null as age,
    null as date_of_birth,
    case students.health_status
        when 1 then 'Very Good' when 2 then 'Good' when 3 then 'Average' when 4 then 'Poor'
    end as health_status,
    null as has_disorder,
    null as state_of_origin,
    null as lga_of_residence,
    null as home_address,
    null as is_boarding,
    null as email,
    -- Former students left the last class.
    case
        when classes.leaving_year is null then classes.grade_level
        else (select grades.grade_level from {{ ref('grade_levels') }} as grades order by grades.grade_order desc limit 1)
    end as grade_level,
    coalesce(nullif(btrim(students.departments), ''), 'General') as stream,
    case when activities.is_active then activities.activity when not activities.is_active then 'None' end
        as extracurricular_activities,
    activities.is_active::int as activities_count,
    null as admission_date,
    null as graduation_date,
    classes.leaving_year,
    coalesce(upper(left(btrim(students.bus_pickup), 1)) = 'Y', false) as has_bus_pickup,
    coalesce(upper(left(btrim(students.bus_dropoff), 1)) = 'Y', false) as has_bus_dropoff,
    students.profile_image
from {{ ref('stg_rosariosis_students') }} as students
left join {{ ref('stg_rosariosis_classes') }} as classes
    on classes.school_id = students.school_id and classes.class_id = students.grade_level_id
left join {{ ref('stg_rosariosis_activities') }} as activities
    on activities.school_id = students.school_id and activities.student_id = students.student_id
where
    students.is_deleted is not true
    and not exists (
        select 1 from {{ ref('stg_students') }} as known
        where known.school_id = students.school_id and known.student_id = students.student_id
    )
