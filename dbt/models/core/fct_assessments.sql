{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        meta={
            'changed_list': 'stg_academic_history__changed',
            'totals': {'spec': 'assessments', 'log': 'int_assessment_changes'},
        },
        indexes=[
            {
                'columns': ['school_id', 'student_id', 'school_year', 'grade_level', 'subject', 'term'],
                'unique': true,
            },
        ],
    )
}}
-- depends_on: {{ ref('int_assessment_changes') }}

{%- set columns = [
    'row_key', 'school_id', 'student_id', 'school_year', 'is_year_derived', 'grade_level', 'grade_order', 'subject',
    'term', 'teacher_id', 'test_score', 'exam_score', 'total_score', 'attendance_pct', 'jamb_score',
    'has_passed_core_subjects',
] %}

with history as (
    select
        history.row_key,
        history.school_id,
        history.student_id,
        history.academic_year,
        history.grade_level,
        history.subject,
        history.term,
        history.teacher_id,
        history.test_score::numeric as test_score,
        history.exam_score::numeric as exam_score,
        history.total_score::numeric as total_score,
        history.attendance::numeric as attendance_pct,
        history.jamb_score,
        history.passed_core_subjects = 'Yes' as has_passed_core_subjects,
        history._ranked_at,
        grades.grade_order,
        terms.term_order
    from {{ ref('stg_academic_history') }} as history
    inner join {{ ref('grade_levels') }} as grades on grades.grade_level = history.grade_level
    inner join {{ ref('terms') }} as terms on terms.term = history.term
    where {{ on_list(ref('stg_academic_history__changed'), 'history') }}
),

pass_mark as (
    select pass_mark from {{ ref('pass_marks') }} where measure = 'subject'
),

-- Files without an academic year: the last term of the student's highest grade was under way, or just over,
-- when it was first handed in. Hence its school year, and one year less for each grade below.
last_undated_terms as (
    select distinct on (history.school_id, history.student_id)
        history.school_id,
        history.student_id,
        history.grade_order,
        history.term,
        (
            min(history._ranked_at) over (
                partition by history.school_id, history.student_id, history.grade_order, history.term_order
            ) at time zone 'UTC'
        )::date as handed_in_on
    from history
    where history.academic_year is null
    order by history.school_id, history.student_id, history.grade_order desc, history.term_order desc
),

anchors as (
    select
        last_terms.school_id,
        last_terms.student_id,
        last_terms.grade_order,
        {{ start_year_of_day('last_terms.handed_in_on') }} - (
            {{ term_day('terms', start_year_of_day('last_terms.handed_in_on'), 'start') }}
            > last_terms.handed_in_on
        )::int as start_year
    from last_undated_terms as last_terms
    inner join {{ ref('terms') }} as terms on terms.term = last_terms.term
),

dated as (
    select history.*, history.academic_year as school_year, false as is_year_derived
    from history
    where history.academic_year is not null
),

derived as (
    select
        history.*,
        {{ school_year_name('anchors.start_year - (anchors.grade_order - history.grade_order)') }} as school_year,
        true as is_year_derived
    from history
    inner join anchors
        on anchors.school_id = history.school_id and anchors.student_id = history.student_id
    where history.academic_year is null
),

-- RosarioSIS: points of a term's tests and examination, which are results once the examination is marked.
student_courses as (
    {{
        rosariosis_courses(
            on_list(ref('stg_academic_history__changed'), 'student_courses') if builds_changes() else none
        )
    }}
),

term_points as (
    select
        student_courses.row_key,
        periods.term,
        round(sum(grades.points) filter (where not periods.is_exam), 2) as test_score,
        round(sum(grades.points) filter (where periods.is_exam), 2) as exam_score,
        round(sum(grades.points), 2) as total_score
    from student_courses
    inner join {{ ref('stg_rosariosis_student_assessment_grades') }} as grades
        on grades.school_id = student_courses.school_id
        and grades.student_course_id = student_courses.student_course_id
    inner join {{ ref('stg_rosariosis_marking_periods') }} as periods
        on periods.school_id = grades.school_id and periods.marking_period_id = grades.marking_period_id
    where grades.is_deleted is not true
    group by student_courses.row_key, periods.term
    having count(grades.points) filter (where periods.is_exam) > 0
),

-- A course taken twice in a class counts once, as it was taken last. What a file says of the same result stands
-- before it.
rosariosis as (
    select distinct on (
        courses.school_id, courses.student_id, courses.school_year, courses.grade_level, courses.subject, points.term
    )
        courses.row_key,
        courses.school_id,
        courses.student_id,
        courses.school_year,
        courses.grade_level,
        courses.grade_order,
        courses.subject,
        points.term,
        courses.teacher_id,
        points.test_score,
        points.exam_score,
        points.total_score,
        courses.attendance_pct
    from term_points as points
    inner join student_courses as courses on courses.row_key = points.row_key
    where not exists (
        select 1 from history
        where
            history.school_id = courses.school_id
            and history.student_id = courses.student_id
            and history.grade_level = courses.grade_level
            and history.subject = courses.subject
            and history.term = points.term
    )
    order by
        courses.school_id, courses.student_id, courses.school_year, courses.grade_level, courses.subject, points.term,
        courses.student_course_id desc
),

-- A row that names its year stands before one whose year comes out the same.
assessments as (
    select {{ columns | join(', ') }} from dated
    union all
    select {{ columns | join(', ') }}
    from derived
    where not exists (
        select 1 from dated
        where
            dated.school_id = derived.school_id
            and dated.student_id = derived.student_id
            and dated.school_year = derived.school_year
            and dated.grade_level = derived.grade_level
            and dated.subject = derived.subject
            and dated.term = derived.term
    )
    union all
    select
        row_key, school_id, student_id, school_year, true, grade_level, grade_order, subject, term, teacher_id,
        test_score, exam_score, total_score, attendance_pct, null, null
    from rosariosis
)

select
    assessments.row_key,
    assessments.school_id,
    assessments.student_id,
    assessments.school_year,
    assessments.is_year_derived,
    assessments.grade_level,
    assessments.subject,
    assessments.term,
    assessments.teacher_id,
    assessments.test_score,
    assessments.exam_score,
    assessments.total_score,
    assessments.attendance_pct,
    assessments.total_score >= pass_mark.pass_mark as is_pass,
    assessments.teacher_id is not null and row_number() over (
        partition by
            assessments.school_id,
            assessments.student_id,
            assessments.school_year,
            assessments.term,
            assessments.teacher_id
        order by assessments.grade_order, assessments.subject
    ) = 1 as counts_for_teacher,
    assessments.jamb_score,
    assessments.has_passed_core_subjects
from assessments
cross join pass_mark
