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
                    {{ is_same_question('known', 'predictions') }}
                    and known.recorded_at <= predictions.scored_at
            )
        order by target, school_id, student_id, subject, as_of_date, prediction_id desc
    ) as newest
    left join lateral (
        select came, value, known_at
        from {{ source('ml', 'outcomes') }} as found
        where {{ is_same_question('found', 'newest') }}
        order by found.outcome_id desc
        limit 1
    ) as outcomes on true
{% endmacro %}


{# True where lines of ml.predictions and ml.outcomes are about the same risk of the same student at the same time. #}
{% macro is_same_question(one, other) -%}
    {% for column in ('target', 'school_id', 'student_id', 'subject', 'as_of_date') -%}
        {{ one }}.{{ column }} = {{ other }}.{{ column }}{{ ' and ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
