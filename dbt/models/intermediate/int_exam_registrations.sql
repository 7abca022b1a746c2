-- A file of results says whose number it is where its lines name the student. RosarioSIS knows the numbers of its
-- students, who sit the exams in the year in which they leave the last class, or will leave it.
with last_grade as (
    select max(grade_order) as grade_order from {{ ref('grade_levels') }}
),

rosariosis as (
    select
        numbers.school_id,
        numbers.student_id,
        numbers.exam,
        coalesce(
            classes.leaving_year, classes.start_year + 1 + last_grade.grade_order - classes.grade_order
        ) as exam_year,
        numbers.exam_number
    from {{ ref('stg_rosariosis_exam_numbers') }} as numbers
    inner join {{ ref('stg_rosariosis_students') }} as students
        on students.school_id = numbers.school_id and students.student_id = numbers.student_id
    inner join {{ ref('stg_rosariosis_classes') }} as classes
        on classes.school_id = students.school_id and classes.class_id = students.grade_level_id
    cross join last_grade
    where students.is_deleted is not true
)

select
    school_id,
    student_id,
    exam,
    exam_year,
    exam_number
from {{ ref('stg_exam_results') }}
where student_id is not null and is_deleted is not true
union
select
    school_id,
    student_id,
    exam,
    exam_year,
    exam_number
from rosariosis
where exam_year is not null and exam_number is not null
