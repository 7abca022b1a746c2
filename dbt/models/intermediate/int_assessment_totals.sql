{{
    config(
        materialized='incremental',
        incremental_strategy='add_differences',
        meta={'spec': 'assessments', 'log': 'int_assessment_changes'},
        indexes=[
            {
                'columns': ['school_id', 'school_year', 'grade_level', 'term', 'subject', 'teacher_id'],
                'unique': true,
            },
            {'columns': ['school_id', 'teacher_id']},
        ],
    )
}}
-- depends_on: {{ ref('fct_assessments') }} {{ ref('int_assessment_changes') }}

{% if builds_changes() %}
{{ netted_log('assessments', ref('int_assessment_changes')) }}
{% else %}
{{ totals_select('assessments', ref('fct_assessments')) }}
{% endif %}
