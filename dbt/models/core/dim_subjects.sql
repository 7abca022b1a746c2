with totals as (
    select school_id, subject, grade_level, students from {{ ref('int_assessment_totals') }}
),

grades as (
    select grade_level, stage from {{ ref('grade_levels') }}
)

select
    totals.school_id,
    totals.subject,
    bool_or(grades.stage = 'Junior') as is_taught_in_junior,
    bool_or(grades.stage = 'Senior') as is_taught_in_senior,
    sum(totals.students)::bigint as assessments
from totals
inner join grades on grades.grade_level = totals.grade_level
group by totals.school_id, totals.subject
