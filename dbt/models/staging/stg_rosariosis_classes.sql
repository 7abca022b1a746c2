{{ config(materialized='view') }}

-- A class is known by its short name or its name; a class of former students by the year in its name.
with classes as (
    {{ newest_kept_rows('school_gradelevels', ['id']) }}
),

schools as (
    {{ newest_kept_rows('schools', ['id']) }}
),

grades as (
    select grade_level, grade_order from {{ ref('grade_levels') }}
),

latest_years as (
    select school_id, max(syear)::int as start_year from schools group by school_id
)

select
    classes.school_id,
    classes.id as class_id,
    classes.short_name as class_short_name,
    classes.title as class_title,
    grades.grade_level,
    grades.grade_order,
    case
        when grades.grade_level is null
            then substring(concat_ws(' ', classes.title, classes.short_name) from '\m([12][0-9]{3})\M')::int
    end as leaving_year,
    coalesce(schools.syear::int, latest_years.start_year) as start_year,
    classes._upload_id,
    classes._line
from classes
left join grades
    on upper(grades.grade_level) in (
        upper(replace(classes.short_name, ' ', '')), upper(replace(classes.title, ' ', ''))
    )
left join schools on schools.school_id = classes.school_id and schools.id = classes.rosariosis_school_id
left join latest_years on latest_years.school_id = classes.school_id
