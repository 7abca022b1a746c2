-- For analysts. A subject's students are the sum of its classes, so they are shown only where all of those are.
-- Teachers of a subject are fewer than any group that may be shown.
select
    mart.school_id,
    mart.school_year,
    mart.term,
    mart.term_order,
    mart.subject,
    case when classes.are_shown then mart.student_count end as student_count,
    mart.class_count,
    null::integer as teacher_count,
    case when classes.are_shown then mart.students_per_class end as students_per_class,
    null::numeric as students_per_teacher
from marts.mart_subject_staffing as mart
left join (
    select school_id, school_year, term, subject, bool_and(is_shown) as are_shown
    from intermediate.int_subject_disclosure
    group by school_id, school_year, term, subject
) as classes
    on classes.school_id = mart.school_id and classes.school_year = mart.school_year
    and classes.term = mart.term and classes.subject = mart.subject
