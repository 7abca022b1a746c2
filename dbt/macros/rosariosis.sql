{#
Tables of RosarioSIS. The large ones are staged like files' datasets (`newest_rows`), with their tombstones, so that a
row that was deleted there stays deleted whatever is loaded later. The small ones are read from raw where they are
used; who is concerned when one of them changes is found by `list_students_of_small_tables`.
#}

{# The newest row per key of a small table, without rows that were deleted at the source. The key without school_id. #}
{% macro newest_kept_rows(table, key) -%}
    {%- set dataset = 'rosariosis_' ~ table -%}
    select newest.*
    from (
        select distinct on (raw_rows.school_id, {% for column in key %}raw_rows.{{ column }}{{ ', ' if not loop.last }}{% endfor %}) raw_rows.*
        from {{ source('raw', dataset) }} as raw_rows
        inner join {{ source('ops', 'uploads') }} as uploads on uploads.upload_id = raw_rows._upload_id
        inner join {{ source('ops', 'upload_versions') }} as versions
            on versions.upload_id = uploads.upload_id and versions.version = uploads.live_version
        order by
            raw_rows.school_id, {% for column in key %}raw_rows.{{ column }}, {% endfor %}
            versions.ranked_at desc, raw_rows._line desc, raw_rows._upload_id desc
    ) as newest
    where newest.is_deleted is not true
{%- endmacro %}


{#
Puts on the lists whom a change of a small table concerns. Runs after the staging of students' courses, in its
transaction. A row that was taken out of raw (its upload was withdrawn) no longer says whom it concerned; then
all students of RosarioSIS are built again.
#}
{% macro list_students_of_small_tables() -%}
    {%- if not builds_changes() -%}{{ return('') }}{%- endif -%}

    -- Results, whose class and year follow from the student's row, the course and the classes' names. Each part reads
    -- the large table only where its own tables changed.
    insert into {{ ref('stg_academic_history__changed') }} (school_id, student_id)
    select people.school_id, people.student_id
    from (
        select courses.school_id, courses.student_id
        from {{ this }} as courses
        inner join {{ ref('stg_students__changed') }} as changed
            on changed.school_id = courses.school_id and changed.student_id = courses.student_id
        union
        select courses.school_id, courses.student_id
        from {{ this }} as courses
        where
            (courses.school_id, courses.course_id) in (
                select waiting.school_id, waiting.course_id from ({{ waiting_rows('courses') }}) as waiting
            )
        union
        select courses.school_id, courses.student_id
        from {{ this }} as courses
        where
            courses.school_id in (
                {{ schools_of_waiting_rows(['marking_periods', 'school_gradelevels', 'schools']) }}
            )
        union
        select courses.school_id, courses.student_id
        from {{ this }} as courses
        where {{ has_waiting_removals(['courses', 'marking_periods', 'school_gradelevels', 'schools']) }}
    ) as people
    where people.student_id is not null
    on conflict do nothing;
    analyze {{ ref('stg_academic_history__changed') }};

    -- What is told of the students beside their results.
    insert into {{ ref('stg_students__changed') }} (school_id, student_id)
    select students.school_id, students.student_id
    from {{ ref('stg_rosariosis_students') }} as students
    where
        (students.school_id, students.student_id) in (
            select waiting.school_id, waiting.student_id from ({{ waiting_rows('eligibility') }}) as waiting
        )
        or (students.school_id, students.parent_id) in (
            select waiting.school_id, waiting.parent_id from ({{ waiting_rows('parent') }}) as waiting
        )
        or students.school_id in ({{ schools_of_waiting_rows(['eligibility_activities', 'school_gradelevels']) }})
        or {{ has_waiting_removals(['eligibility', 'eligibility_activities', 'parent', 'school_gradelevels']) }}
    on conflict do nothing;
    analyze {{ ref('stg_students__changed') }}
{%- endmacro %}


{# Rows of a small table that this build brings in. #}
{% macro waiting_rows(table) -%}
    select raw_rows.*
    from {{ source('raw', 'rosariosis_' ~ table) }} as raw_rows
    inner join {{ source('ops', 'loads') }} as loads on loads.upload_id = raw_rows._upload_id
    where {{ is_building('loads') }}
{%- endmacro %}


{# The schools that they belong to. #}
{% macro schools_of_waiting_rows(tables) -%}
    {% for table in tables %}
    select school_id from ({{ waiting_rows(table) }}) as {{ table }}
    {{ 'union' if not loop.last }}
    {% endfor %}
{%- endmacro %}


{# Whether this build takes rows of any of these tables out. #}
{% macro has_waiting_removals(tables) -%}
    exists (
        {% for table in tables %}
        select 1
        from {{ source('raw_changes', 'rosariosis_' ~ table ~ '__changed') }} as removed
        inner join {{ source('ops', 'loads') }} as loads on loads.load_id = removed.load_id
        where {{ is_building('loads') }}
        {{ 'union all' if not loop.last }}
        {% endfor %}
    )
{%- endmacro %}


{#
What students of RosarioSIS take or took; where a condition on `student_courses` is given, what keeps it. That is
chosen before anything is joined to it, because the planner takes the small tables for smaller still and would walk
through all courses of all students.

The school year follows from the student's present class: a pupil is in it now, a former student left the last class
in the year that the class of former students is named by. Each class below was one year earlier.
#}
{% macro rosariosis_courses(condition=none) -%}
    with student_courses as {{ 'materialized ' if condition }}(
        select * from {{ ref('stg_rosariosis_students_courses') }} as student_courses
        where student_courses.is_deleted is not true{{ ' and ' ~ condition if condition }}
    ),

    students as (
        select * from {{ ref('stg_rosariosis_students') }}
    ),

    courses as (
        select * from {{ ref('stg_rosariosis_courses') }}
    ),

    classes as (
        select * from {{ ref('stg_rosariosis_classes') }}
    ),

    attendance as (
        select * from {{ ref('stg_rosariosis_attendance_day') }} where is_deleted is not true
    ),

    last_grade as (
        select max(grade_order) as grade_order from {{ ref('grade_levels') }}
    ),

    placed as (
        select
            student_courses.row_key,
            student_courses.school_id,
            student_courses.student_id,
            student_courses.student_course_id,
            courses.subject,
            courses.teacher_id,
            courses.department,
            coalesce(taken_in.grade_level, taught_in.grade_level) as grade_level,
            coalesce(taken_in.grade_order, taught_in.grade_order) as grade_order,
            case
                when present.grade_level is not null
                    then present.start_year - (present.grade_order - coalesce(taken_in.grade_order, taught_in.grade_order))
                else
                    present.leaving_year - 1
                    - (last_grade.grade_order - coalesce(taken_in.grade_order, taught_in.grade_order))
            end as start_year,
            attendance.minutes_present,
            attendance.total_minutes,
            student_courses._upload_id,
            student_courses._line
        from student_courses
        inner join students
            on students.school_id = student_courses.school_id and students.student_id = student_courses.student_id
        inner join courses
            on courses.school_id = student_courses.school_id and courses.course_id = student_courses.course_id
        inner join classes as present
            on present.school_id = students.school_id and present.class_id = students.grade_level_id
        left join classes as taken_in
            on taken_in.school_id = student_courses.school_id and taken_in.class_id = student_courses.grade_level_id
        left join classes as taught_in
            on taught_in.school_id = courses.school_id and taught_in.class_id = courses.class_id
        left join attendance
            on attendance.school_id = student_courses.school_id
            and attendance.student_course_id = student_courses.student_course_id
        cross join last_grade
        where students.is_deleted is not true
    )

    select
        placed.row_key,
        placed.school_id,
        placed.student_id,
        placed.student_course_id,
        {{ school_year_name('placed.start_year') }} as school_year,
        placed.grade_level,
        placed.grade_order,
        placed.subject,
        placed.teacher_id,
        placed.department,
        placed.minutes_present,
        placed.total_minutes,
        round(100.0 * placed.minutes_present / nullif(placed.total_minutes, 0), 2) as attendance_pct,
        placed._upload_id,
        placed._line
    from placed
    where placed.start_year is not null and placed.subject is not null
{%- endmacro %}
