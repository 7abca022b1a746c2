-- How good earlier lists were, of every target, school and day: kept by counting, once the results had come.
with judged as (
    {{ judged_predictions("true") }}
)

select
    judged.school_id,
    judged.target,
    judged.as_of_date,
    judged.method,
    models.version as model_version,
    count(*)::int as predictions,
    count(judged.verdict)::int as judged,
    (count(*) filter (where judged.verdict = 'right'))::int as right_flags,
    (count(*) filter (where judged.verdict = 'wrong'))::int as wrong_flags,
    (count(*) filter (where judged.verdict = 'missed'))::int as missed,
    (count(*) filter (where judged.verdict = 'cleared'))::int as cleared,
    round(
        (count(*) filter (where judged.verdict = 'right'))::numeric
        / nullif(count(*) filter (where judged.verdict in ('right', 'wrong')), 0),
        4
    ) as precision,
    round(
        (count(*) filter (where judged.verdict = 'right'))::numeric
        / nullif(count(*) filter (where judged.verdict in ('right', 'missed')), 0),
        4
    ) as recall,
    round(avg((judged.probability - judged.came::int) ^ 2)::numeric, 4) as brier
from judged
left join {{ source('ml', 'models') }} as models on models.model_id = judged.model_id
group by judged.school_id, judged.target, judged.as_of_date, judged.method, models.version
