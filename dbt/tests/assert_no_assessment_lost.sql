{{ config(tags=['whole']) }}
-- Every key of staging is a fact, except a row whose derived year is named by another row of the same result.
select history.row_key
from {{ ref('stg_academic_history') }} as history
left join {{ ref('fct_assessments') }} as facts on facts.row_key = history.row_key
where
    facts.row_key is null
    and not (
        history.academic_year is null
        and exists (
            select 1 from {{ ref('fct_assessments') }} as dated
            where
                dated.school_id = history.school_id
                and dated.student_id = history.student_id
                and dated.grade_level = history.grade_level
                and dated.subject = history.subject
                and dated.term = history.term
                and not dated.is_year_derived
        )
    )
