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
