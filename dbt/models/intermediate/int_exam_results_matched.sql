-- A number that several students have is nobody's: to guess would give one the other's results. Results and
-- registrations are laid under each other and looked at number by number: of views the planner does not know how many
-- rows they have, takes them for few, and would read all registrations again for each result.
with numbers as (
    select
        row_key,
        school_id,
        exam,
        exam_year,
        exam_number,
        subject,
        grade,
        score,
        _upload_id,
        _line,
        null as owner,
        true as is_result
    from {{ ref('stg_exam_results') }}
    where is_deleted is not true
    union all
    select
        null,
        school_id,
        exam,
        exam_year,
        exam_number,
        null,
        null,
        null,
        null,
        null,
        student_id,
        false
    from {{ ref('int_exam_registrations') }}
),

owned as (
    select
        numbers.*,
        min(owner) over candidates as first_owner,
        max(owner) over candidates as last_owner
    from numbers
    window candidates as (partition by school_id, exam, exam_year, exam_number)
)

select
    row_key,
    school_id,
    exam,
    exam_year,
    exam_number,
    subject,
    grade,
    score,
    _upload_id,
    _line,
    case when first_owner = last_owner then first_owner end as student_id,
    case
        when first_owner is null then 'no_student'
        when first_owner <> last_owner then 'several_students'
    end as mismatch
from owned
where is_result
