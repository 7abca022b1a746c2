with resources as (
    select * from {{ ref('fct_resources') }}
),

counted as (
    select
        school_id,
        school_year,
        count(*)::int as resources,
        (count(*) filter (where condition = 'Poor'))::int as poor_resources,
        max(quantity) filter (where resource = 'Classrooms')::int as classrooms,
        max(quantity) filter (where resource = 'Laboratories')::int as laboratories,
        max(quantity) filter (where resource = 'Libraries')::int as libraries,
        max(quantity) filter (where resource = 'Library Books')::int as library_books,
        max(quantity) filter (where resource = 'Computers')::int as computers,
        max(quantity) filter (where resource = 'Toilets')::int as toilets,
        max(quantity) filter (where resource = 'Electricity') as electricity_hours,
        max(quantity) filter (where resource = 'Water') as water_hours
    from resources
    group by school_id, school_year
),

students as (
    select school_id, school_year, count(distinct student_id)::int as students
    from {{ ref('int_student_terms') }}
    group by school_id, school_year
),

teachers as (
    select school_id, school_year, count(distinct teacher_id)::int as teachers
    from {{ ref('mart_teacher_load') }}
    group by school_id, school_year
)

select
    counted.school_id,
    counted.school_year,
    students.students as student_count,
    teachers.teachers as teacher_count,
    round(students.students::numeric / teachers.teachers, 2) as students_per_teacher,
    counted.classrooms as classroom_count,
    round(students.students::numeric / nullif(counted.classrooms, 0), 2) as students_per_classroom,
    counted.laboratories as laboratory_count,
    round(students.students::numeric / nullif(counted.laboratories, 0), 2) as students_per_laboratory,
    counted.libraries as library_count,
    counted.library_books as library_book_count,
    round(counted.library_books::numeric / students.students, 2) as library_books_per_student,
    counted.computers as computer_count,
    round(students.students::numeric / nullif(counted.computers, 0), 2) as students_per_computer,
    counted.toilets as toilet_count,
    round(students.students::numeric / nullif(counted.toilets, 0), 2) as students_per_toilet,
    counted.electricity_hours,
    counted.water_hours,
    counted.resources as resource_count,
    counted.poor_resources as poor_resource_count
from counted
left join students
    on students.school_id = counted.school_id and students.school_year = counted.school_year
left join teachers
    on teachers.school_id = counted.school_id and teachers.school_year = counted.school_year
