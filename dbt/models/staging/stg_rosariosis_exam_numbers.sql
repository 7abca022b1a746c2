{{ config(materialized='view') }}

select
    school_id,
    student_id,
    'SAT' as exam,
    sat_registration_number as exam_number,
    _upload_id,
    _line
from ({{ newest_kept_rows('student_sat_reg_numbers', ['student_id']) }}) as sat_numbers
union all
select
    school_id,
    student_id,
    'WASSCE',
    waec_registration_number,
    _upload_id,
    _line
from ({{ newest_kept_rows('student_waec_reg_numbers', ['student_id']) }}) as waec_numbers
