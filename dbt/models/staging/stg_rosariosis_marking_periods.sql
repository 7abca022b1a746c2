{{ config(materialized='view') }}

-- The term and what is assessed are read from the periods' own names, whatever their numbers.
with periods as (
    {{ newest_kept_rows('marking_periods', ['marking_period_id']) }}
),

terms as (
    select term from {{ ref('terms') }}
)

select
    periods.school_id,
    periods.marking_period_id,
    terms.term,
    periods.title as assessment,
    periods.title ~* '\mexam' as is_exam,
    periods.points as maximum_points,
    periods._upload_id,
    periods._line
from periods
inner join terms on position(lower(terms.term) in lower(concat_ws(' ', periods.mp_type, periods.title))) > 0
