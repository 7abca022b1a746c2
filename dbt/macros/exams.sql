{#
When the result of an exam sat in some year counts as known: the end of the exam's month (seed exam_months), and a lag
(seed known_after). Files say the year of an exam, never its day.
#}
{% macro exam_known_at(exam_year, exam) -%}
    (
        select
            (make_date({{ exam_year }}, months.month, 1) + interval '1 month')::date - 1 + lags.lag_days
        from {{ ref('exam_months') }} as months
        inner join {{ ref('known_after') }} as lags on lags.fact = lower(months.exam) || '_results'
        where months.exam = '{{ exam }}'
    )
{%- endmacro %}


{# Names of subjects in lower case, as schools say them, beside those of the exam subjects that they are. #}
{% macro core_subject_names() -%}
    select lower(core.exam_subject) as name, core.exam_subject
    from {{ ref('core_subjects') }} as core
    union
    select lower(names.subject), core.exam_subject
    from {{ ref('core_subjects') }} as core
    inner join {{ ref('exam_subjects') }} as names on lower(names.exam_subject) = lower(core.exam_subject)
{%- endmacro %}
