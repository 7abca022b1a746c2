-- What was said about each student at each time, and whether it was right.
with judged as (
    {{ judged_predictions("target = 'at_risk'") }}
)

select
    judged.school_id,
    judged.student_id,
    judged.as_of_date,
    judged.method,
    judged.probability,
    judged.score,
    judged.is_at_risk,
    judged.reasons,
    judged.recommendations,
    judged.helps,
    models.version as model_version,
    judged.scored_at,
    judged.came,
    judged.verdict,
    judged.outcome_known_at
from judged
left join {{ source('ml', 'models') }} as models on models.model_id = judged.model_id
