{# The datasets that fill models here. A test compares them with the staging models. #}
{% macro datasets() -%}
    {{ return([
        'students', 'teachers', 'guardians', 'academic_history', 'survey_responses', 'student_performance',
        'attendance', 'discipline', 'activities', 'school_resources', 'timetables', 'exam_results',
        'pisa_responses'
    ]) }}
{%- endmacro %}
