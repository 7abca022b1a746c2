-- What the marts of the exams tell of a student beside results. Offences are counted and listed in the order of their
-- days, so that a student with several stays one row.
with students as (
    select * from {{ ref('dim_students') }}
),

guardians as (
    select school_id, student_id, string_agg(full_name, '; ' order by guardian_id) as names
    from {{ ref('dim_guardians') }}
    group by school_id, student_id
),

offences as (
    select
        discipline.school_id,
        discipline.student_id,
        count(*)::int as offence_count,
        string_agg(discipline.offence, '; ' order by discipline.incident_date, discipline.incident_id) as offences,
        string_agg(
            coalesce(discipline.action_taken, 'None'), '; '
            order by discipline.incident_date, discipline.incident_id
        ) as actions,
        string_agg(
            coalesce(teachers.full_name, discipline.teacher_id, 'None'), '; '
            order by discipline.incident_date, discipline.incident_id
        ) as teachers
    from {{ ref('fct_discipline') }} as discipline
    left join {{ ref('dim_teachers') }} as teachers
        on teachers.school_id = discipline.school_id and teachers.teacher_id = discipline.teacher_id
    group by discipline.school_id, discipline.student_id
)

select
    students.school_id,
    students.student_id,
    students.full_name as student_name,
    case
        when coalesce(students.graduation_date < current_date, students.leaving_year is not null) then 'Alumni'
        else students.grade_level
    end as student_class,
    case
        when coalesce(students.graduation_date < current_date, students.leaving_year is not null)
            then students.leaving_year || ' Alumni'
        else 'Current Student'
    end as student_status,
    students.stream as department,
    students.gender,
    students.health_status as health_condition,
    case when students.has_bus_pickup then 'Yes' when not students.has_bus_pickup then 'No' end as bus_pickup,
    case when students.has_bus_dropoff then 'Yes' when not students.has_bus_dropoff then 'No' end as bus_dropoff,
    guardians.names as student_parent,
    case
        when students.activities_count > 0 then 'Active' when students.activities_count = 0 then 'Not active'
    end as student_activity_status,
    students.extracurricular_activities as student_extracurricular_activity,
    coalesce(offences.offence_count, 0) as offence_count,
    coalesce(offences.offences, 'None') as student_offence,
    coalesce(offences.actions, 'None') as disciplinary_action_taken,
    coalesce(offences.teachers, 'None') as disciplinary_teacher,
    students.profile_image
from students
left join guardians on guardians.school_id = students.school_id and guardians.student_id = students.student_id
left join offences on offences.school_id = students.school_id and offences.student_id = students.student_id
