with totals as (
    select * from {{ ref('int_assessment_totals') }} where teacher_id <> ''
),

terms as (
    select term, term_order from {{ ref('terms') }}
),

teachers as (
    select school_id, teacher_id, years_of_experience, qualification, teaching_level, subject_specialization
    from {{ ref('dim_teachers') }}
),

loads as (
    select
        school_id,
        teacher_id,
        school_year,
        term,
        count(*) as classes,
        count(distinct subject) as subjects,
        count(distinct grade_level) as grades,
        sum(students) as assessments,
        sum(teacher_students) as students,
        sum(passes) as passes,
        sum(total_sum) as total_sum
    from totals
    group by school_id, teacher_id, school_year, term
),

school_terms as (
    select school_id, school_year, term, avg(students) as students_per_teacher
    from loads
    group by school_id, school_year, term
),

timetables as (
    select
        school_id,
        teacher_id,
        school_year,
        term,
        period_count,
        minutes,
        avg(minutes) over (partition by school_id, school_year, term) as minutes_per_teacher
    from {{ ref('int_teacher_timetables') }}
),

-- Who stands in a timetable has a load before the first results of the term.
carried as (
    select
        school_id,
        teacher_id,
        school_year,
        term,
        loads.classes,
        loads.subjects,
        loads.grades,
        loads.students,
        loads.assessments,
        loads.passes,
        loads.total_sum,
        timetables.period_count,
        timetables.minutes,
        timetables.minutes_per_teacher
    from loads
    full join timetables using (school_id, teacher_id, school_year, term)
)

select
    carried.school_id,
    carried.teacher_id,
    carried.school_year,
    carried.term,
    terms.term_order,
    teachers.teacher_id is not null as is_known_teacher,
    teachers.years_of_experience,
    teachers.qualification,
    teachers.teaching_level,
    teachers.subject_specialization,
    coalesce(carried.classes, 0)::int as class_count,
    coalesce(carried.subjects, 0)::int as subject_count,
    coalesce(carried.grades, 0)::int as grade_count,
    coalesce(carried.students, 0)::int as student_count,
    coalesce(carried.assessments, 0)::int as assessment_count,
    round(carried.assessments / carried.classes, 2) as students_per_class,
    round(carried.students / school_terms.students_per_teacher, 4) as load_ratio,
    round(carried.total_sum / carried.assessments, 2) as average_score,
    round(carried.passes / carried.assessments, 4) as pass_rate,
    carried.period_count as periods_per_week,
    carried.minutes as minutes_per_week,
    round(carried.minutes / carried.minutes_per_teacher, 4) as timetable_load_ratio
from carried
inner join terms on terms.term = carried.term
left join school_terms
    on school_terms.school_id = carried.school_id
    and school_terms.school_year = carried.school_year
    and school_terms.term = carried.term
left join teachers
    on teachers.school_id = carried.school_id and teachers.teacher_id = carried.teacher_id
