{{ config(materialized='incremental', incremental_strategy='append', tags=['kept']) }}

-- Made empty; see macros/totals.sql.
select
    null::text as school_id,
    null::text as school_year,
    null::text as grade_level,
    null::text as term,
    null::numeric as average_score,
    null::numeric as students,
    null::numeric as subjects,
    null::numeric as failures,
    null::numeric as failing_students,
    null::numeric as attendance_count,
    null::numeric as attendance_sum,
    null::numeric as chronically_absent_students
where false
