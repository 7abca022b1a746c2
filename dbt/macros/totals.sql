{#
Totals: sums over a big table by a small key, kept up to date by differences instead of by reading the table
again. Classes, subjects and teachers are made of thousands of rows of which a run changes a few; what they
show (counts, means, deviations) follows from sums, and sums of exact numbers can be corrected exactly.

The table below writes -old +new sums of the rows it changes into a log, in its own transaction
(strategy changed_keys). The totals add the log to themselves and empty it, in theirs (strategy
add_differences). So each difference is counted once, wherever a build is killed. The test
assert_totals_fit compares both with the tables whenever everything is tested.
#}

{% macro totals_spec(name) -%}
    {%- set specs = {
        'assessments': {
            'keys': {
                'school_id': 'school_id',
                'school_year': 'school_year',
                'grade_level': 'grade_level',
                'term': 'term',
                'subject': 'subject',
                'teacher_id': "coalesce(teacher_id, '')",
            },
            'sums': {
                'students': '1',
                'teacher_students': 'counts_for_teacher::int',
                'passes': 'is_pass::int',
                'total_sum': 'total_score',
                'total_square_sum': 'total_score * total_score',
                'test_count': '(test_score is not null)::int',
                'test_sum': 'coalesce(test_score, 0)',
                'exam_count': '(exam_score is not null)::int',
                'exam_sum': 'coalesce(exam_score, 0)',
                'attendance_count': '(attendance_pct is not null)::int',
                'attendance_sum': 'coalesce(attendance_pct, 0)',
            },
        },
        'class_scores': {
            'keys': {
                'school_id': 'school_id',
                'school_year': 'school_year',
                'grade_level': 'grade_level',
                'term': 'term',
                'average_score': 'average_score',
            },
            'sums': {
                'students': '1',
                'subjects': 'subject_count',
                'failures': 'failure_count',
                'failing_students': '(failure_count > 0)::int',
                'attendance_count': '(attendance_pct is not null)::int',
                'attendance_sum': 'coalesce(attendance_pct, 0.00)',
                'chronically_absent_students': 'coalesce(is_chronically_absent, false)::int',
            },
        },
    } -%}
    {{ return(specs[name]) }}
{%- endmacro %}


{% macro totals_columns(spec_name) -%}
    {%- set spec = totals_spec(spec_name) -%}
    {{ (spec['keys'].keys() | list + spec['sums'].keys() | list) | join(', ') }}
{%- endmacro %}


{# Sums by key over a table, or over those of its rows that are on a list. #}
{% macro totals_select(spec_name, table, sign=1, list=none, list_columns=[]) -%}
    {%- set spec = totals_spec(spec_name) -%}
    select
        {% for name, expression in spec['keys'].items() %}{{ expression }} as {{ name }},
        {% endfor %}
        {%- for name, expression in spec['sums'].items() -%}
        ({{ sign }} * sum({{ expression }}))::numeric as {{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from {{ table }}
    {%- if list is not none %}
    where ({{ list_columns | join(', ') }}) in (select {{ list_columns | join(', ') }} from {{ list }})
    {%- endif %}
    group by {% for expression in spec['keys'].values() %}{{ expression }}{{ ', ' if not loop.last }}{% endfor %}
{%- endmacro %}


{# The differences waiting in a log, netted; what came out as before is left out. #}
{% macro netted_log(spec_name, log) -%}
    {%- set spec = totals_spec(spec_name) -%}
    select
        {% for name in spec['keys'] %}{{ name }}, {% endfor %}
        {% for name in spec['sums'] %}sum({{ name }}) as {{ name }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ log }}
    group by {{ spec['keys'].keys() | join(', ') }}
    having {% for name in spec['sums'] %}sum({{ name }}) <> 0{{ ' or ' if not loop.last }}{% endfor %}
{%- endmacro %}


{#
The incremental strategy `add_differences` of totals tables. meta: spec, log; fresh_column: a column that is set
to null in every row that changed, for a hook to work out anew.
#}
{% macro get_incremental_add_differences_sql(arg_dict) %}
    {%- set target_table = arg_dict['target_relation'] -%}
    {%- set differences = arg_dict['temp_relation'] -%}
    {%- set meta = config.get('meta', {}) -%}
    {%- set spec = totals_spec(meta['spec']) -%}
    {%- set fresh = meta.get('fresh_column') -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}

    {% if is_rebuilding() %}
    {{ do_over(target_table, differences, columns) }}
    {% else %}
    insert into {{ target_table }} as totals ({{ totals_columns(meta['spec']) }})
    select {{ totals_columns(meta['spec']) }} from {{ differences }}
    on conflict ({{ spec['keys'].keys() | join(', ') }}) do update set
        {% for name in spec['sums'] %}{{ name }} = totals.{{ name }} + excluded.{{ name }}{{ ', ' if not loop.last }}{% endfor %}
        {% if fresh %}, {{ fresh }} = null{% endif %};
    {{ rank_classes(target_table) if fresh }}
    delete from {{ target_table }} as totals
    using {{ differences }} as differences
    where totals.students = 0
        {% for name in spec['keys'] %}and totals.{{ name }} = differences.{{ name }} {% endfor %};
    {{ analyze_where_grown(target_table, differences) }}
    {% endif %}
    truncate {{ ref(meta['log']) }};
{% endmacro %}


{# Ranks anew the classes in which a score came, went or changed its number of students. #}
{% macro rank_classes(table) -%}
    with classes as (
        select distinct school_id, school_year, grade_level, term from {{ table }} where class_rank is null
    ),

    ranked as (
        select
            scores.school_id,
            scores.school_year,
            scores.grade_level,
            scores.term,
            scores.average_score,
            1 + sum(scores.students) over (
                partition by scores.school_id, scores.school_year, scores.grade_level, scores.term
                order by scores.average_score desc
            ) - scores.students as class_rank
        from {{ table }} as scores
        inner join classes
            on
                classes.school_id = scores.school_id
                and classes.school_year = scores.school_year
                and classes.grade_level = scores.grade_level
                and classes.term = scores.term
    )

    update {{ table }} as scores
    set class_rank = ranked.class_rank
    from ranked
    where
        ranked.school_id = scores.school_id
        and ranked.school_year = scores.school_year
        and ranked.grade_level = scores.grade_level
        and ranked.term = scores.term
        and ranked.average_score = scores.average_score
        and ranked.class_rank is distinct from scores.class_rank;
{%- endmacro %}
