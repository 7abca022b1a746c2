-- The school year follows from the student's present class: a pupil is in it now, a former student left the last class
-- in the year that the class of former students is named by. Each class below was one year earlier.
with student_courses as (
    select * from {{ ref('stg_rosariosis_students_courses') }}
),

students as (
    select * from {{ ref('stg_rosariosis_students') }}
),

courses as (
    select * from {{ ref('stg_rosariosis_courses') }}
),

classes as (
    select * from {{ ref('stg_rosariosis_classes') }}
),

attendance as (
    select * from {{ ref('stg_rosariosis_attendance_day') }} where is_deleted is not true
),

last_grade as (
    select max(grade_order) as grade_order from {{ ref('grade_levels') }}
),

placed as (
    select
        student_courses.row_key,
        student_courses.school_id,
        student_courses.student_id,
        student_courses.student_course_id,
        courses.subject,
        courses.teacher_id,
        courses.department,
        coalesce(taken_in.grade_level, taught_in.grade_level) as grade_level,
        coalesce(taken_in.grade_order, taught_in.grade_order) as grade_order,
        case
            when present.grade_level is not null
                then present.start_year - (present.grade_order - coalesce(taken_in.grade_order, taught_in.grade_order))
            else
                present.leaving_year - 1
                - (last_grade.grade_order - coalesce(taken_in.grade_order, taught_in.grade_order))
        end as start_year,
        attendance.minutes_present,
        attendance.total_minutes,
        student_courses._upload_id,
        student_courses._line
    from student_courses
    inner join students
        on students.school_id = student_courses.school_id and students.student_id = student_courses.student_id
    inner join courses
        on courses.school_id = student_courses.school_id and courses.course_id = student_courses.course_id
    inner join classes as present
        on present.school_id = students.school_id and present.class_id = students.grade_level_id
    left join classes as taken_in
        on taken_in.school_id = student_courses.school_id and taken_in.class_id = student_courses.grade_level_id
    left join classes as taught_in
        on taught_in.school_id = courses.school_id and taught_in.class_id = courses.class_id
    left join attendance
        on attendance.school_id = student_courses.school_id
        and attendance.student_course_id = student_courses.student_course_id
    cross join last_grade
    where student_courses.is_deleted is not true and students.is_deleted is not true
)

select
    placed.row_key,
    placed.school_id,
    placed.student_id,
    placed.student_course_id,
    {{ school_year_name('placed.start_year') }} as school_year,
    placed.grade_level,
    placed.grade_order,
    placed.subject,
    placed.teacher_id,
    placed.department,
    placed.minutes_present,
    placed.total_minutes,
    round(100.0 * placed.minutes_present / nullif(placed.total_minutes, 0), 2) as attendance_pct,
    placed._upload_id,
    placed._line
from placed
where placed.start_year is not null and placed.subject is not null
