{{ config(tags=['whole']) }}
-- The totals that differences keep up to date are what the tables add up to. Should this ever fail, a build from
-- scratch (transform with full) puts it right.
with expected as (
    {{ totals_select('assessments', ref('fct_assessments')) }}
),

found as (
    select {{ totals_columns('assessments') }} from {{ ref('int_assessment_totals') }}
)

(select * from expected except select * from found)
union all
(select * from found except select * from expected)
