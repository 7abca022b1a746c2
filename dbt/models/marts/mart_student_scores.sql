with performance as (
    select * from {{ ref('stg_student_performance') }}
),

scored as (
    select *, math_score + reading_score + writing_score as total_score from performance
),

categories as (
    select category, minimum_average, category_order from {{ ref('performance_categories') }}
)

select
    scored._upload_id as upload_id,
    scored._line as line,
    scored.school_id,
    scored.gender,
    scored.race_ethnicity,
    scored.parental_level_of_education,
    scored.lunch,
    scored.test_preparation_course,
    scored.math_score,
    scored.reading_score,
    scored.writing_score,
    scored.total_score,
    round(scored.total_score / 3.0, 2) as average_score,
    categories.category as performance_category,
    categories.category_order
from scored
-- Whole numbers decide: 90 is reached with 270 points, and no rounding reaches it.
inner join lateral (
    select category, category_order
    from categories
    where scored.total_score >= 3 * categories.minimum_average
    order by categories.minimum_average desc
    limit 1
) as categories on true
