select grade_level, grade_order, stage from {{ ref('grade_levels') }}
