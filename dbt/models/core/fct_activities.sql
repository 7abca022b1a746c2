-- RosarioSIS keeps the present activity of a student, of former students the last one.
with rosariosis as (
    select
        activities.school_id,
        activities.student_id,
        {{ school_year_name('coalesce(activities.start_year, classes.leaving_year - 1, classes.start_year)') }}
            as school_year,
        activities.activity,
        activities.is_active
    from {{ ref('stg_rosariosis_activities') }} as activities
    inner join {{ ref('stg_rosariosis_students') }} as students
        on students.school_id = activities.school_id and students.student_id = activities.student_id
    left join {{ ref('stg_rosariosis_classes') }} as classes
        on classes.school_id = students.school_id and classes.class_id = students.grade_level_id
    where students.is_deleted is not true
)

select
    school_id,
    student_id,
    academic_year as school_year,
    activity,
    activity_status = 'Active' as is_active
from {{ ref('stg_activities') }}
union all
-- What a file says stands before RosarioSIS.
select rosariosis.*
from rosariosis
where
    rosariosis.school_year is not null
    and rosariosis.activity is not null
    and not exists (
        select 1 from {{ ref('stg_activities') }} as known
        where
            known.school_id = rosariosis.school_id
            and known.student_id = rosariosis.student_id
            and known.academic_year = rosariosis.school_year
            and known.activity = rosariosis.activity
    )
