{{ config(materialized='incremental', incremental_strategy='append', tags=['kept']) }}

-- Made empty; see macros/totals.sql.
select
    null::text as school_id,
    null::text as school_year,
    null::text as grade_level,
    null::text as term,
    null::text as subject,
    null::text as teacher_id,
    null::numeric as students,
    null::numeric as teacher_students,
    null::numeric as passes,
    null::numeric as total_sum,
    null::numeric as total_square_sum,
    null::numeric as test_count,
    null::numeric as test_sum,
    null::numeric as exam_count,
    null::numeric as exam_sum,
    null::numeric as attendance_count,
    null::numeric as attendance_sum
where false
