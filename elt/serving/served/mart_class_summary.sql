-- For analysts. The lowest and highest average are one student's each; how many averages pass could be told from the
-- other figures of a small class. Counts of assessments are the sums of the class's subjects, so they are shown only
-- where all of those are.
select
    mart.school_id,
    mart.school_year,
    mart.grade_level,
    mart.term,
    mart.term_order,
    case when class.is_shown then mart.student_count end as student_count,
    case when class.is_shown then mart.average_score end as average_score,
    case when class.is_shown then mart.score_deviation end as score_deviation,
    null::numeric as lowest_average,
    null::numeric as highest_average,
    case when class.is_attendance_shown then mart.attendance_pct end as attendance_pct,
    null::int as passed_average_count,
    case when class.are_failing_shown then mart.failing_student_count end as failing_student_count,
    case when class.are_absent_shown then mart.chronically_absent_count end as chronically_absent_count,
    case when class.is_shown and subjects.are_shown then mart.assessment_count end as assessment_count,
    case when class.are_failing_shown and subjects.are_passes_shown then mart.failure_count end as failure_count,
    case when class.are_failing_shown and subjects.are_passes_shown then mart.pass_rate end as pass_rate
from marts.mart_class_summary as mart
left join intermediate.int_class_disclosure as class
    on class.school_id = mart.school_id and class.school_year = mart.school_year
    and class.grade_level = mart.grade_level and class.term = mart.term
left join (
    select
        school_id, school_year, grade_level, term,
        bool_and(is_shown) as are_shown, bool_and(are_passes_shown) as are_passes_shown
    from intermediate.int_subject_disclosure
    group by school_id, school_year, grade_level, term
) as subjects
    on subjects.school_id = mart.school_id and subjects.school_year = mart.school_year
    and subjects.grade_level = mart.grade_level and subjects.term = mart.term
