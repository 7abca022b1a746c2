{{ config(materialized='view') }}

-- Every line counts, so there is no newest row to choose, and raw holds exactly the rows of live uploads.
select
    school_id,
    gender,
    race_ethnicity,
    parental_level_of_education,
    lunch,
    test_preparation_course,
    math_score,
    reading_score,
    writing_score,
    _upload_id,
    _line
from {{ source('raw', 'student_performance') }}
