{{
    config(
        materialized='incremental',
        incremental_strategy='changed_keys',
        indexes=[{'columns': ['dataset', 'factor', 'outcome'], 'unique': true}],
    )
}}

-- kind: pair (yes or no: Cohen's d), group (words: eta squared), number (correlation).
with students as (
    select
        'academic_history' as dataset,
        factors.factor,
        factors.kind,
        factors.level,
        factors.x,
        outcomes.outcome,
        outcomes.y
    from {{ ref('mart_student_overview') }} as overview
    cross join lateral (
        values
        ('health_status', 'group', overview.health_status, null::numeric),
        ('disorder', 'pair', overview.has_disorder::text, null),
        ('boarding', 'pair', overview.is_boarding::text, null),
        ('activities', 'pair', (overview.activities_count > 0)::text, null),
        ('stream', 'group', overview.stream, null),
        ('guardian_engagement', 'group', overview.guardian_engagement, null),
        ('guardian_education', 'group', overview.guardian_education, null),
        ('guardian_financial_status', 'group', overview.guardian_financial_status, null),
        ('teacher_experience', 'number', null, overview.teacher_experience_mean)
    ) as factors (factor, kind, level, x)
    cross join lateral (
        values
        ('average_score', overview.average_score),
        ('attendance_pct', overview.attendance_pct)
    ) as outcomes (outcome, y)
),

respondents as (
    select
        'survey_responses' as dataset,
        factors.factor,
        factors.kind,
        factors.level,
        factors.x,
        outcomes.outcome,
        outcomes.y
    from {{ ref('fct_survey_responses') }} as responses
    cross join lateral (
        values
        ('study_habits', 'group', responses.study_habits, null::numeric),
        ('weekly_reading_hours', 'number', null, responses.weekly_reading_hours),
        ('attendance', 'number', null, responses.attendance_points::numeric),
        ('private_tutors', 'pair', responses.has_private_tutors::text, null),
        ('mentor', 'pair', responses.has_mentor::text, null),
        ('school_library', 'pair', responses.has_school_library::text, null),
        ('library_visits', 'group', responses.library_visit, null),
        ('digital_methods', 'pair', responses.has_digital_methods::text, null),
        ('online_platform', 'pair', responses.has_online_platform::text, null),
        ('supportive_home', 'pair', responses.has_supportive_home::text, null),
        ('parental_engagement', 'group', responses.parental_engagement_in_school_life, null),
        ('qualified_teachers', 'pair', responses.has_qualified_teachers::text, null),
        ('exam_anxiety', 'group', responses.anxiety_before_exam, null),
        ('understands_english', 'pair', responses.understands_english::text, null),
        ('practice_exams', 'pair', responses.has_practice_exams::text, null),
        ('learning_environment', 'group', responses.learning_environment, null),
        ('financial_status', 'group', responses.financial_status, null)
    ) as factors (factor, kind, level, x)
    cross join lateral (
        values
        ('past_jamb_score', responses.past_jamb_score::numeric),
        ('credit_pass', responses.has_credit_pass::int::numeric)
    ) as outcomes (outcome, y)
),

measured as (
    select * from students where y is not null and (level is not null or x is not null)
    union all
    select * from respondents where y is not null and (level is not null or x is not null)
),

levels as (
    select
        dataset,
        factor,
        kind,
        outcome,
        level,
        count(*)::numeric as n,
        sum(y) as y_sum,
        sum(y * y) as y_square_sum,
        sum(x) as x_sum,
        sum(x * x) as x_square_sum,
        sum(x * y) as xy_sum
    from measured
    group by dataset, factor, kind, outcome, level
),

sums as (
    select
        dataset,
        factor,
        kind,
        outcome,
        count(*)::numeric as k,
        sum(n) as n,
        min(n) as smallest_n,
        max(n) filter (where level = 'true') as n_true,
        max(n) filter (where level = 'false') as n_false,
        max(y_sum / n) filter (where level = 'true') as mean_true,
        max(y_sum / n) filter (where level = 'false') as mean_false,
        sum(y_square_sum) - sum(y_sum) * sum(y_sum) / sum(n) as total_squares,
        sum(y_square_sum - y_sum * y_sum / n) as within_squares,
        sum(x_square_sum) - sum(x_sum) * sum(x_sum) / sum(n) as x_squares,
        sum(xy_sum) - sum(x_sum) * sum(y_sum) / sum(n) as xy_products,
        string_agg(level || ' ' || round(y_sum / n, 2), ', ' order by level) as group_means
    from levels
    group by dataset, factor, kind, outcome
),

effects as (
    select
        sums.*,
        case kind when 'pair' then 'd' when 'group' then 'eta_squared' else 'r' end as measure,
        case
            when n < 10 or total_squares <= 0 then null
            when kind = 'number' and x_squares > 0 then xy_products / sqrt(x_squares * total_squares)
            when kind = 'pair' and k = 2 and smallest_n > 1 and within_squares > 0
                then (mean_true - mean_false) / sqrt(within_squares / (n - 2))
            when kind = 'group' and k > 1 and n > k and within_squares > 0
                then 1 - within_squares / total_squares
        end as effect
    from sums
),

quantiles as (
    select
        count(effect)::int as comparison_count,
        {{ upper_normal_quantile('0.025') }} as z,
        {{ upper_normal_quantile('0.025 / greatest(count(effect), 1)') }} as adjusted_z
    from effects
),

intervals as (
    select
        effects.*,
        quantiles.comparison_count,
        {% for name, z in [('', 'quantiles.z'), ('adjusted_', 'quantiles.adjusted_z')] %}
        {% for edge, sign in [('low', -1), ('high', 1)] %}
        round((case
            when effects.effect is null then null
            when effects.kind = 'pair' then {{ bound_of_d('effects.effect', 'effects.n_true', 'effects.n_false', z, sign) }}
            when effects.kind = 'number' then {{ bound_of_r('effects.effect', 'effects.n', z, sign) }}
            else {{ bound_of_eta_squared('effects.effect', 'effects.n', 'effects.k', z, sign) }}
        end)::numeric, 4) as {{ name }}{{ edge }}{{ ',' if not (loop.last and name) }}
        {% endfor %}
        {% endfor %}
    from effects
    cross join quantiles
),

judged as (
    select
        intervals.*,
        sizes.small_from,
        sizes.medium_from,
        sizes.large_from,
        case
            when intervals.effect is null then null
            when intervals.adjusted_low <= 0 and intervals.adjusted_high >= 0 then false
            else least(abs(intervals.adjusted_low), abs(intervals.adjusted_high)) >= sizes.small_from
        end as is_effect_found
    from intervals
    inner join {{ ref('effect_sizes') }} as sizes on sizes.measure = intervals.measure
),

worded as (
    select
        judged.*,
        case
            when abs(effect) >= large_from then 'large'
            when abs(effect) >= medium_from then 'medium'
            when abs(effect) >= small_from then 'small'
            else 'negligible'
        end as strength
    from judged
)

select
    dataset,
    factor,
    outcome,
    n::int as sample_size,
    case when kind <> 'number' then k::int end as group_count,
    case when kind <> 'number' then smallest_n::int end as smallest_group,
    group_means,
    measure,
    round(effect, 4) as effect,
    low,
    high,
    comparison_count,
    adjusted_low,
    adjusted_high,
    small_from as negligible_below,
    coalesce(is_effect_found, false) as is_effect_found,
    case when is_effect_found then strength else 'none' end as strength,
    case
        when effect is null then 'not enough data'
        when is_effect_found then strength || ' effect: ' || measure || ' ' || round(effect, 2)
            || ', 95 % interval ' || round(low, 2) || ' to ' || round(high, 2)
        else 'no effect found: ' || measure || ' ' || round(effect, 2)
            || ', 95 % interval ' || round(low, 2) || ' to ' || round(high, 2)
    end as verdict
from worded
