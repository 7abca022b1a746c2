-- The newest prediction of each student who is in the records.
with students as (
    select school_id, student_id, grade_level, stream from {{ ref('mart_student_overview') }}
),

models as (
    select model_id, version from {{ source('ml', 'models') }}
)

select
    students.school_id,
    students.student_id,
    students.grade_level,
    students.stream,
    predictions.as_of_date,
    predictions.method,
    predictions.probability,
    predictions.score,
    predictions.is_at_risk,
    predictions.reasons,
    predictions.recommendations,
    models.version as model_version,
    predictions.scored_at,
    (
        rank() over (
            partition by students.school_id
            order by predictions.is_at_risk desc, predictions.score desc
        )
    )::int as school_rank
from students
-- Predictions are only ever appended: one look into the index per student, however many there are.
inner join lateral (
    select *
    from {{ source('ml', 'predictions') }} as predictions
    where
        predictions.target = 'at_risk'
        and predictions.school_id = students.school_id
        and predictions.student_id = students.student_id
    order by predictions.prediction_id desc
    limit 1
) as predictions on true
left join models on models.model_id = predictions.model_id
