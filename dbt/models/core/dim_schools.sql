with students as (
    select school_id, count(*) as students from {{ ref('dim_students') }} group by school_id
),

teachers as (
    select school_id, count(*) as teachers from {{ ref('dim_teachers') }} group by school_id
),

assessments as (
    select school_id, sum(students)::bigint as assessments, min(school_year) as first_school_year,
        max(school_year) as last_school_year
    from {{ ref('int_assessment_totals') }}
    group by school_id
)

select
    school_id,
    coalesce(students.students, 0) as students,
    coalesce(teachers.teachers, 0) as teachers,
    coalesce(assessments.assessments, 0) as assessments,
    assessments.first_school_year,
    assessments.last_school_year
from students
full join teachers using (school_id)
full join assessments using (school_id)
