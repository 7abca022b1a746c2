-- Exams to come, of the students who are there, by the latest term of their grade: of each target (and subject)
-- the newest prediction. The probability is that of not passing.
with newest as (
    select distinct on (predictions.target, predictions.school_id, predictions.student_id, predictions.subject)
        predictions.*,
        current_terms.school_year,
        current_terms.term
    from {{ source('ml', 'predictions') }} as predictions
    inner join {{ ref('int_current_terms') }} as current_terms
        on current_terms.school_id = predictions.school_id
        and current_terms.student_id = predictions.student_id
        and current_terms.as_of_date = predictions.as_of_date
    where predictions.target <> 'at_risk'
    order by
        predictions.target,
        predictions.school_id,
        predictions.student_id,
        predictions.subject,
        predictions.prediction_id desc
)

select
    newest.school_id,
    newest.student_id,
    newest.target,
    newest.subject,
    overview.grade_level,
    newest.as_of_date,
    newest.method,
    round((1 - newest.probability)::numeric, 4) as pass_probability,
    newest.value as expected_score,
    newest.value_low as score_from,
    newest.value_high as score_to,
    newest.is_at_risk,
    newest.reasons,
    newest.recommendations,
    newest.helps,
    models.version as model_version,
    newest.scored_at
from newest
-- Erased students have no overview; a prediction outlives nobody, nor the exam.
inner join {{ ref('mart_student_overview') }} as overview
    on overview.school_id = newest.school_id and overview.student_id = newest.student_id
-- A subject that was withdrawn, or is written otherwise by now, keeps its predictions in the ledger alone.
left join {{ ref('int_subject_features') }} as taken
    on taken.school_id = newest.school_id
    and taken.student_id = newest.student_id
    and taken.subject = newest.subject
    and taken.school_year = newest.school_year
    and taken.term = newest.term
left join {{ source('ml', 'models') }} as models on models.model_id = newest.model_id
where
    (newest.subject = '' or taken.subject is not null)
    and not exists (
        select 1 from {{ source('ml', 'outcomes') }} as outcomes
        where {{ is_same_question('outcomes', 'newest') }}
    )
