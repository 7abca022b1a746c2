-- What was said about each student at each time: of several predictions for one day the newest.
with latest as (
    select distinct on (school_id, student_id, as_of_date) *
    from {{ source('ml', 'predictions') }}
    where target = 'at_risk'
    order by school_id, student_id, as_of_date, prediction_id desc
)

select
    latest.school_id,
    latest.student_id,
    latest.as_of_date,
    latest.method,
    latest.probability,
    latest.score,
    latest.is_at_risk,
    latest.reasons,
    latest.recommendations,
    models.version as model_version,
    latest.scored_at
from latest
left join {{ source('ml', 'models') }} as models on models.model_id = latest.model_id
