{{ config(materialized='view') }}

-- An exam board sends results without students, over lines of the school's that name them. Whose number it is
-- is still what the newest line that says it says.
with newest as (
{{
    newest_rows(
        'exam_results',
        key=['school_id', 'exam', 'exam_year', 'exam_number', 'subject'],
        columns=[
            'school_id', 'exam', 'exam_year', 'exam_number', 'subject', 'grade', 'score', 'student_id',
            'is_deleted',
        ],
    )
}}
),

named as (
    select distinct on (row_key)
        {{ row_key(['school_id', 'exam', 'exam_year', 'exam_number', 'subject'], 'raw_rows') }} as row_key,
        raw_rows.student_id
    from {{ source('raw', 'exam_results') }} as raw_rows
    inner join {{ source('ops', 'uploads') }} as uploads on uploads.upload_id = raw_rows._upload_id
    inner join {{ source('ops', 'upload_versions') }} as versions
        on versions.upload_id = uploads.upload_id and versions.version = uploads.live_version
    where raw_rows.student_id is not null
    order by row_key, versions.ranked_at desc, raw_rows._line desc, raw_rows._upload_id desc
)

select
    newest.row_key,
    newest.school_id,
    newest.exam,
    newest.exam_year,
    newest.exam_number,
    newest.subject,
    newest.grade,
    newest.score,
    coalesce(newest.student_id, named.student_id) as student_id,
    newest.is_deleted,
    newest._upload_id,
    newest._line,
    newest._ranked_at
from newest
left join named on named.row_key = newest.row_key
