{{ config(materialized='view') }}

select
    school_id,
    course_id,
    btrim(title) as subject,
    short_name as course_short_name,
    grade_level as class_id,
    teacher_id,
    coalesce(nullif(btrim(department), ''), 'General') as department,
    -- Lessons of a term of 16 weeks.
    credit_hours * 16 * 60 as term_minutes,
    _upload_id,
    _line
from ({{ newest_kept_rows('courses', ['course_id']) }}) as courses
