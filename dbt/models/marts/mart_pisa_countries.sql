{% set measures = ['escs', 'tmins', 'belong', 'durecec'] -%}
with responses as (
    select * from {{ ref('fct_pisa_responses') }}
),

countries as (
    select * from {{ ref('pisa_countries') }}
),

rules as (
    select minimum_group
    from {{ ref('disclosure_rules') }}
    where rule = 'pisa_minimum_sample'
),

-- A weighted mean over some of the responses would be of nobody, so all of a country must have a weight.
summed as (
    select
        school_id,
        country_code,
        count(*)::int as response_count,
        max(submitted_at) as last_submitted_at,
        coalesce(bool_and(student_weight is not null) and sum(student_weight) > 0, false) as is_weighted,
        sum(student_weight) as weight_sum,
        {% for measure in measures %}
        count({{ measure }})::int as {{ measure }}_count,
        sum({{ measure }}) as {{ measure }}_sum,
        sum({{ measure }} * student_weight) as {{ measure }}_weighted_sum,
        sum(student_weight) filter (where {{ measure }} is not null) as {{ measure }}_weight_sum,
        {% endfor %}
        (count(*) filter (where durecec is not null and belong is not null))::int as durecec_and_belong_count
    from responses
    group by school_id, country_code
)

select
    summed.school_id,
    summed.country_code,
    countries.country_name,
    summed.response_count,
    summed.last_submitted_at,
    rules.minimum_group as minimum_sample,
    summed.is_weighted,
    case when summed.is_weighted then round(summed.weight_sum, 6) end as weight_sum,
    {% for measure in measures %}
    summed.{{ measure }}_count,
    case
        when summed.{{ measure }}_count >= rules.minimum_group
            then round(summed.{{ measure }}_sum / summed.{{ measure }}_count, 6)
    end as {{ measure }}_mean,
    case
        when summed.is_weighted and summed.{{ measure }}_count >= rules.minimum_group
            then round(summed.{{ measure }}_weighted_sum / nullif(summed.{{ measure }}_weight_sum, 0), 6)
    end as {{ measure }}_weighted_mean,
    {% endfor %}
    summed.durecec_and_belong_count
from summed
cross join rules
left join countries on countries.country_code = summed.country_code
