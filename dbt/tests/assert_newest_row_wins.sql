{{ config(tags=['whole']) }}
-- Staging holds the newest raw row of every key, and no key that raw does not hold.
{% for dataset, key in [
    ('students', ['school_id', 'student_id']),
    ('teachers', ['school_id', 'teacher_id']),
    ('guardians', ['school_id', 'parent_id', 'student_id']),
    ('academic_history', ['school_id', 'student_id', 'academic_year', 'grade_level', 'subject', 'term']),
    ('attendance', ['school_id', 'student_id', 'attendance_date']),
    ('pisa_responses', ['school_id', 'cnt', 'id']),
    ('rosariosis_students', ['school_id', 'student_id']),
    ('rosariosis_students_courses', ['school_id', 'student_course_id']),
    ('rosariosis_attendance_day', ['school_id', 'student_course_id']),
    ('rosariosis_student_assessment_grades', ['school_id', 'student_course_id', 'marking_period_id']),
] %}
select coalesce(newest.row_key, staging.row_key) as row_key
from (
    select distinct on (row_key) row_key, _upload_id, _line
    from (
        select {{ row_key(key, 'raw_rows') }} as row_key, raw_rows._upload_id, raw_rows._line, versions.ranked_at
        from {{ source('raw', dataset) }} as raw_rows
        inner join {{ source('ops', 'uploads') }} as uploads on uploads.upload_id = raw_rows._upload_id
        inner join {{ source('ops', 'upload_versions') }} as versions
            on versions.upload_id = uploads.upload_id and versions.version = uploads.live_version
    ) as ranked
    order by row_key, ranked_at desc, _line desc, _upload_id desc
) as newest
full join {{ ref('stg_' ~ dataset) }} as staging on staging.row_key = newest.row_key
where (newest._upload_id, newest._line) is distinct from (staging._upload_id, staging._line)
{{ 'union all' if not loop.last }}
{% endfor %}
