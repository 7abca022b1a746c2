-- A view, as one new result moves the average of a whole class. Of a class that is too small to be shown to others there
-- is no average: beside one's own result it would tell those of few.
with results as (
    select * from {{ ref('fct_assessments') }}
),

terms as (
    select term, term_order from {{ ref('terms') }}
),

subject_mark as (
    select pass_mark from {{ ref('pass_marks') }} where measure = 'subject'
),

classes as (
    select
        totals.school_id,
        totals.school_year,
        totals.grade_level,
        totals.term,
        totals.subject,
        round(sum(totals.total_sum) / sum(totals.students), 2) as average_score
    from {{ ref('int_assessment_totals') }} as totals
    group by totals.school_id, totals.school_year, totals.grade_level, totals.term, totals.subject
),

shown_classes as (
    select classes.*
    from classes
    inner join {{ ref('int_subject_disclosure') }} as disclosure
        on disclosure.school_id = classes.school_id
        and disclosure.school_year = classes.school_year
        and disclosure.grade_level = classes.grade_level
        and disclosure.term = classes.term
        and disclosure.subject = classes.subject
    where disclosure.is_shown
)

select
    results.school_id,
    results.student_id,
    results.school_year,
    results.term,
    terms.term_order,
    results.grade_level,
    results.subject,
    results.test_score,
    results.exam_score,
    results.total_score,
    results.attendance_pct,
    subject_mark.pass_mark,
    results.is_pass,
    shown_classes.average_score as class_average_score
from results
inner join terms on terms.term = results.term
cross join subject_mark
left join shown_classes
    on shown_classes.school_id = results.school_id
    and shown_classes.school_year = results.school_year
    and shown_classes.grade_level = results.grade_level
    and shown_classes.term = results.term
    and shown_classes.subject = results.subject
