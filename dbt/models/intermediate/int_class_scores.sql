{{
    config(
        materialized='incremental',
        incremental_strategy='add_differences',
        meta={'spec': 'class_scores', 'log': 'int_class_score_changes', 'fresh_column': 'class_rank'},
        indexes=[
            {
                'columns': ['school_id', 'school_year', 'grade_level', 'term', 'average_score'],
                'unique': true,
            },
        ],
    )
}}
-- depends_on: {{ ref('int_student_terms') }} {{ ref('int_class_score_changes') }}

{% if builds_changes() %}
with differences as (
    {{ netted_log('class_scores', ref('int_class_score_changes')) }}
)

select differences.*, null::numeric as class_rank
from differences
{% else %}
with totals as (
    {{ totals_select('class_scores', ref('int_student_terms')) }}
)

select
    totals.*,
    (
        1 + sum(students) over (
            partition by school_id, school_year, grade_level, term
            order by average_score desc
        ) - students
    )::numeric as class_rank
from totals
{% endif %}
