-- For analysts. What a school has is no figure of people; how many students and teachers share it is, and either
-- number follows from the other and their ratio.
select
    mart.school_id,
    mart.school_year,
    case when shown.are_students_shown then mart.student_count end as student_count,
    case when shown.are_teachers_shown then mart.teacher_count end as teacher_count,
    case when shown.are_students_shown and shown.are_teachers_shown then mart.students_per_teacher end
        as students_per_teacher,
    mart.classroom_count,
    case when shown.are_students_shown then mart.students_per_classroom end as students_per_classroom,
    mart.laboratory_count,
    case when shown.are_students_shown then mart.students_per_laboratory end as students_per_laboratory,
    mart.library_count,
    mart.library_book_count,
    case when shown.are_students_shown then mart.library_books_per_student end as library_books_per_student,
    mart.computer_count,
    case when shown.are_students_shown then mart.students_per_computer end as students_per_computer,
    mart.toilet_count,
    case when shown.are_students_shown then mart.students_per_toilet end as students_per_toilet,
    mart.electricity_hours,
    mart.water_hours,
    mart.resource_count,
    mart.poor_resource_count
from marts.mart_school_resources as mart
cross join lateral (
    select
        mart.student_count >= minimum_group as are_students_shown,
        mart.teacher_count >= minimum_group as are_teachers_shown
    from staging.disclosure_rules
    where rule = 'small_group'
) as shown
