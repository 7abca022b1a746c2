-- Of several guardians of a student, the highest word of each counts.
select
    school_id,
    student_id,
    count(*)::int as guardian_count,
    {{ best_of('engagement', ['High', 'Medium', 'Low']) }} as guardian_engagement,
    {{ best_of('education_level', ['Tertiary', 'Secondary', 'Primary']) }} as guardian_education,
    {{ best_of('financial_status', ['High Income', 'Middle Income', 'Low Income']) }} as guardian_financial_status
from {{ ref('dim_guardians') }}
group by school_id, student_id
