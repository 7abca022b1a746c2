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
)

select
    loads.school_id,
    loads.teacher_id,
    loads.school_year,
    loads.term,
    terms.term_order,
    teachers.teacher_id is not null as is_known_teacher,
    teachers.years_of_experience,
    teachers.qualification,
    teachers.teaching_level,
    teachers.subject_specialization,
    loads.classes::int as class_count,
    loads.subjects::int as subject_count,
    loads.grades::int as grade_count,
    loads.students::int as student_count,
    loads.assessments::int as assessment_count,
    round(loads.assessments / loads.classes, 2) as students_per_class,
    round(loads.students / school_terms.students_per_teacher, 4) as load_ratio,
    round(loads.total_sum / loads.assessments, 2) as average_score,
    round(loads.passes / loads.assessments, 4) as pass_rate
from loads
inner join terms on terms.term = loads.term
inner join school_terms
    on school_terms.school_id = loads.school_id
    and school_terms.school_year = loads.school_year
    and school_terms.term = loads.term
left join teachers
    on teachers.school_id = loads.school_id and teachers.teacher_id = loads.teacher_id
