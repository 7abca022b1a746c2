-- A view over the student's terms and the ranks of the class. Kept apart because one new student moves the rank
-- of a whole class: a table with the rank in it would have to write the class again. The ranks are joined as the
-- table that they are, with a unique key: PostgreSQL leaves out the join where nobody asks for a rank, which it
-- does not do for a common table expression that is used twice.
with terms as (
    select * from {{ ref('int_student_terms') }}
)

select
    terms.school_id,
    terms.student_id,
    terms.school_year,
    terms.term,
    terms.term_order,
    terms.term_number,
    terms.as_of_date,
    terms.grade_level,
    terms.subject_count,
    terms.average_score,
    terms.lowest_score,
    terms.highest_score,
    terms.score_deviation,
    terms.attendance_pct,
    terms.is_chronically_absent,
    terms.subject_count - terms.failure_count as passed_count,
    terms.failure_count,
    ranks.class_rank::int as class_rank,
    (previous_ranks.class_rank - ranks.class_rank)::int as rank_change,
    terms.previous_average_score,
    terms.score_change,
    terms.attendance_change,
    terms.score_slope,
    terms.trend
from terms
left join {{ ref('int_class_scores') }} as ranks
    on ranks.school_id = terms.school_id
    and ranks.school_year = terms.school_year
    and ranks.grade_level = terms.grade_level
    and ranks.term = terms.term
    and ranks.average_score = terms.average_score
left join {{ ref('int_class_scores') }} as previous_ranks
    on previous_ranks.school_id = terms.school_id
    and previous_ranks.school_year = terms.previous_school_year
    and previous_ranks.grade_level = terms.previous_grade_level
    and previous_ranks.term = terms.previous_term
    and previous_ranks.average_score = terms.previous_average_score
