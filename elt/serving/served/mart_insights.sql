-- For analysts. An effect, or a mean per group, tells of the smallest group, so all groups must be large enough.
select
    mart.dataset,
    mart.factor,
    mart.outcome,
    case when shown.is_shown then mart.sample_size end as sample_size,
    mart.group_count,
    null::integer as smallest_group,
    case when shown.is_shown then mart.group_means end as group_means,
    mart.measure,
    case when shown.is_shown then mart.effect end as effect,
    case when shown.is_shown then mart.low end as low,
    case when shown.is_shown then mart.high end as high,
    mart.comparison_count,
    case when shown.is_shown then mart.adjusted_low end as adjusted_low,
    case when shown.is_shown then mart.adjusted_high end as adjusted_high,
    mart.negligible_below,
    case when shown.is_shown then mart.is_effect_found end as is_effect_found,
    case when shown.is_shown then mart.strength end as strength,
    case when shown.is_shown then mart.verdict else 'not shown: too few in a group' end as verdict
from marts.mart_insights as mart
cross join lateral (
    select least(mart.sample_size, mart.smallest_group) >= minimum_group as is_shown
    from staging.disclosure_rules
    where rule = 'small_group'
) as shown
