-- For analysts. Subjects are hidden for whole school years, so a change from the term before never gives a hidden
-- term away. Teachers of a subject are fewer than any group that may be shown.
select
    mart.school_id,
    mart.school_year,
    mart.term,
    mart.term_order,
    mart.grade_level,
    mart.subject,
    case when cell.is_shown then mart.student_count end as student_count,
    null::integer as teacher_count,
    case when cell.is_shown then mart.average_score end as average_score,
    case when cell.is_shown then mart.score_deviation end as score_deviation,
    case when cell.are_tests_shown then mart.average_test_score end as average_test_score,
    case when cell.are_exams_shown then mart.average_exam_score end as average_exam_score,
    case when cell.is_attendance_shown then mart.attendance_pct end as attendance_pct,
    case when cell.are_passes_shown then mart.passed_count end as passed_count,
    case when cell.are_passes_shown then mart.failure_count end as failure_count,
    case when cell.are_passes_shown then mart.pass_rate end as pass_rate,
    case when cell.is_shown then mart.score_change end as score_change
from marts.mart_subject_performance as mart
left join intermediate.int_subject_disclosure as cell
    on cell.school_id = mart.school_id and cell.school_year = mart.school_year
    and cell.grade_level = mart.grade_level and cell.term = mart.term and cell.subject = mart.subject
