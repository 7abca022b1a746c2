-- The newest prediction of each student who is there, by the latest term of the student's grade. Who has left, or
-- whose history was withdrawn, keeps predictions in the ledger but is nobody to help now.
with students as (
    select
        overview.school_id,
        overview.student_id,
        overview.grade_level,
        overview.stream,
        terms.as_of_date
    from {{ ref('mart_student_overview') }} as overview
    inner join {{ ref('int_current_terms') }} as terms
        on terms.school_id = overview.school_id and terms.student_id = overview.student_id
),

models as (
    select model_id, version from {{ source('ml', 'models') }}
),

-- Whether earlier lists were right about the student.
earlier as (
    select
        school_id,
        student_id,
        (count(*) filter (where verdict = 'right'))::int as earlier_right,
        (count(*) filter (where verdict = 'wrong'))::int as earlier_wrong,
        (count(*) filter (where verdict = 'missed'))::int as earlier_missed
    from {{ ref('mart_student_flags') }}
    group by school_id, student_id
)

select
    students.school_id,
    students.student_id,
    students.grade_level,
    students.stream,
    predictions.as_of_date,
    predictions.method,
    predictions.probability,
    predictions.score,
    predictions.is_at_risk,
    predictions.reasons,
    predictions.recommendations,
    predictions.helps,
    coalesce(earlier.earlier_right, 0) as earlier_right,
    coalesce(earlier.earlier_wrong, 0) as earlier_wrong,
    coalesce(earlier.earlier_missed, 0) as earlier_missed,
    models.version as model_version,
    predictions.scored_at,
    (
        rank() over (
            partition by students.school_id
            order by predictions.is_at_risk desc, predictions.score desc
        )
    )::int as school_rank
from students
-- Predictions are only ever appended: one look into the index per student, however many there are.
inner join lateral (
    select *
    from {{ source('ml', 'predictions') }} as predictions
    where
        predictions.target = 'at_risk'
        and predictions.school_id = students.school_id
        and predictions.student_id = students.student_id
    order by predictions.prediction_id desc
    limit 1
) as predictions on predictions.as_of_date = students.as_of_date
left join models on models.model_id = predictions.model_id
left join earlier on earlier.school_id = students.school_id and earlier.student_id = students.student_id
