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
),

-- A subject that was withdrawn, or is written otherwise by now, keeps its predictions in the ledger alone.
taken as (
    select subjects.school_id, subjects.student_id, subjects.subject, terms.as_of_date
    from {{ ref('int_subject_features') }} as subjects
    inner join {{ ref('int_student_features') }} as terms
        on terms.school_id = subjects.school_id
        and terms.student_id = subjects.student_id
        and terms.school_year = subjects.school_year
        and terms.term = subjects.term
    inner join latest on latest.school_id = terms.school_id and latest.as_of_date = terms.as_of_date
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
left join taken
    on taken.school_id = newest.school_id
    and taken.student_id = newest.student_id
    and taken.subject = newest.subject
    and taken.as_of_date = newest.as_of_date
left join {{ source('ml', 'models') }} as models on models.model_id = newest.model_id
where
    (newest.subject = '' or taken.subject is not null)
    and not exists (
        select 1 from {{ source('ml', 'outcomes') }} as outcomes
        where
            outcomes.target = newest.target
            and outcomes.school_id = newest.school_id
            and outcomes.student_id = newest.student_id
            and outcomes.subject = newest.subject
            and outcomes.as_of_date = newest.as_of_date
    )
