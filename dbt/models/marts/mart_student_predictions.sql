-- Exams to come, of the students who were there at the end of the school's latest term: of each target (and subject)
-- the newest prediction. The probability is that of not passing.
with latest as (
    select school_id, max(as_of_date) as as_of_date
    from {{ ref('mart_student_features') }}
    group by school_id
),

newest as (
    select distinct on (predictions.target, predictions.school_id, predictions.student_id, predictions.subject)
        predictions.*
    from {{ source('ml', 'predictions') }} as predictions
    inner join latest
        on latest.school_id = predictions.school_id and latest.as_of_date = predictions.as_of_date
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
left join {{ source('ml', 'models') }} as models on models.model_id = newest.model_id
where not exists (
    select 1 from {{ source('ml', 'outcomes') }} as outcomes
    where
        outcomes.target = newest.target
        and outcomes.school_id = newest.school_id
        and outcomes.student_id = newest.student_id
        and outcomes.subject = newest.subject
        and outcomes.as_of_date = newest.as_of_date
)
