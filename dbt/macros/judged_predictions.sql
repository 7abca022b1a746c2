{# What was foretold at each time, of several predictions for one day the newest, and what came of it.
   `verdict`: right (was on the list, and the risk came), wrong (was on the list, and it did not), missed (it came
   unforeseen), cleared; null while nothing is known. #}
{% macro judged_predictions(condition) %}
    select
        newest.*,
        outcomes.came,
        outcomes.value as came_value,
        outcomes.known_at as outcome_known_at,
        case
            when outcomes.came and newest.is_at_risk then 'right'
            when outcomes.came then 'missed'
            when not outcomes.came and newest.is_at_risk then 'wrong'
            when not outcomes.came then 'cleared'
        end as verdict
    from (
        select distinct on (target, school_id, student_id, subject, as_of_date) *
        from {{ source('ml', 'predictions') }} as predictions
        where
            {{ condition }}
            -- What is said after the result is hindsight, however it came to be said.
            and not exists (
                select 1 from {{ source('ml', 'outcomes') }} as known
                where
                    known.target = predictions.target
                    and known.school_id = predictions.school_id
                    and known.student_id = predictions.student_id
                    and known.subject = predictions.subject
                    and known.as_of_date = predictions.as_of_date
                    and known.recorded_at <= predictions.scored_at
            )
        order by target, school_id, student_id, subject, as_of_date, prediction_id desc
    ) as newest
    left join lateral (
        select came, value, known_at
        from {{ source('ml', 'outcomes') }} as found
        where
            found.target = newest.target
            and found.school_id = newest.school_id
            and found.student_id = newest.student_id
            and found.subject = newest.subject
            and found.as_of_date = newest.as_of_date
        order by found.outcome_id desc
        limit 1
    ) as outcomes on true
{% endmacro %}
