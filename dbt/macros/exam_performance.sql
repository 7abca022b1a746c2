{#
What a mart shows of an exam with one score: a row per result, and the student beside it. `results` is a CTE of the
caller with school_id, student_id, exam_year, exam_number, score and the dataset that it came with; `exam` the measure of the seed pass_marks.
#}
{% macro exam_performance(results, exam) -%}
    select
        results.school_id,
        results.student_id,
        '{{ exam | upper }}' as exam,
        results.exam_year as {{ exam }}_exam_year,
        results.exam_number as registration_number,
        results.score as {{ exam }}_score,
        results.dataset,
        case when results.score >= pass_marks.pass_mark then 'Pass' else 'Fail' end as {{ exam }}_performance,
        profiles.student_name,
        profiles.student_class,
        profiles.student_status,
        profiles.department,
        profiles.gender,
        profiles.health_condition,
        profiles.student_parent,
        overview.guardian_education as parent_education,
        profiles.student_activity_status,
        profiles.student_extracurricular_activity,
        minutes.present as average_student_minutes_attendance,
        minutes.expected as average_expected_student_attendance,
        overview.attendance_pct,
        round(scores.average, 1) as average_student_score,
        case
            when scores.average >= school_marks.pass_mark then 'Pass' when scores.average is not null then 'Fail'
        end as student_school_performance,
        profiles.offence_count,
        profiles.student_offence,
        profiles.disciplinary_action_taken,
        profiles.disciplinary_teacher,
        profiles.profile_image
    from {{ results }} as results
    inner join {{ ref('pass_marks') }} as pass_marks on pass_marks.measure = '{{ exam }}'
    inner join {{ ref('pass_marks') }} as school_marks on school_marks.measure = 'term_average'
    left join {{ ref('int_student_profiles') }} as profiles
        on profiles.school_id = results.school_id and profiles.student_id = results.student_id
    left join {{ ref('mart_student_overview') }} as overview
        on overview.school_id = results.school_id and overview.student_id = results.student_id
    -- The mean itself, not its rounding, decides.
    left join lateral (
        select avg(assessments.total_score) as average
        from {{ ref('fct_assessments') }} as assessments
        where assessments.school_id = results.school_id and assessments.student_id = results.student_id
    ) as scores on true
    left join lateral (
        select
            round(avg(courses.minutes_present), 1) as present,
            round(avg(courses.total_minutes), 1) as expected
        from {{ ref('int_rosariosis_courses') }} as courses
        where courses.school_id = results.school_id and courses.student_id = results.student_id
    ) as minutes on true
{%- endmacro %}
