"""What the summary shows: figures of the students whom the person who asks may see, counted in students.

Each student is read once and counted once, however many results, offences or predictions they have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from elt.serving.students import in_built_marts
from elt.warehouse import Connection

BIN_COUNT = 20
"""Into how many equal parts the scale of scores, 0 to 100, is cut; the last one holds 100 as well."""

_OF_LATEST_TERM = sql.SQL(
    """
    select *, latest_average_score as average_score, latest_attendance_pct as attendance_pct
    from served.mart_student_summary
    """
)
# A full join, because PostgreSQL does not know how many rows views leave, and a full join is never made by
# looking through all terms for each student. (`is not null` would make an inner one of it.)
_OF_A_TERM = sql.SQL(
    """
    select school_id, student_id, terms.grade_level, terms.average_score, terms.attendance_pct,
        enrollment_status, gender, has_activity, offences, pass_mark, is_at_risk, risk_method,
        is_jamb_pass_likely, jamb_method, is_sat_pass_likely, sat_method, is_wassce_pass_likely, wassce_method
    from served.mart_student_summary
    full join (
        select school_id, student_id, grade_level, average_score, attendance_pct
        from served.mart_student_terms where school_year = %(school_year)s and term = %(term)s
    ) as terms using (school_id, student_id)
    where coalesce(enrollment_status, '') <> '' and coalesce(average_score, -1) >= 0
    """
)
# Students are read once, and added up in cells of those who are alike; all else adds up cells.
_FIGURES = sql.SQL(
    """
with cells as materialized (
    select school_id, grade_level, enrollment_status, gender, has_activity, offences,
        least(width_bucket(average_score, 0, 100, %(bins)s), %(bins)s) as bin,
        max(pass_mark) as pass_mark,
        count(*) as students,
        count(average_score) as with_results,
        sum(average_score) as score_sum,
        count(*) filter (where average_score >= pass_mark) as passed,
        count(attendance_pct) as with_attendance,
        sum(attendance_pct) as attendance_sum,
        count(is_at_risk) as risk_known,
        count(*) filter (where is_at_risk) as at_risk,
        bool_or(risk_method = 'rule') as is_risk_by_rule,
        count(is_jamb_pass_likely) as jamb_known,
        count(*) filter (where is_jamb_pass_likely) as jamb_likely,
        bool_or(jamb_method = 'rule') as is_jamb_by_rule,
        count(is_sat_pass_likely) as sat_known,
        count(*) filter (where is_sat_pass_likely) as sat_likely,
        bool_or(sat_method = 'rule') as is_sat_by_rule,
        count(is_wassce_pass_likely) as wassce_known,
        count(*) filter (where is_wassce_pass_likely) as wassce_likely,
        bool_or(wassce_method = 'rule') as is_wassce_by_rule
    from ({results}) as results
    group by school_id, grade_level, enrollment_status, gender, has_activity, offences, bin
),
chosen as (
    select * from cells
    where (%(school_id)s::text is null or school_id = %(school_id)s)
        and (%(grade_level)s::text is null or grade_level = %(grade_level)s)
        and (%(status)s::text is null or enrollment_status = %(status)s)
),
groups as (
    select
        case
            when grouping(school_id) = 0 then 'school'
            when grouping(grade_level) = 0 then 'class'
            when grouping(gender) = 0 then 'gender'
            when grouping(has_activity) = 0 then 'activity'
            else 'whole'
        end as part,
        coalesce(school_id, grade_level, gender, has_activity::text) as name,
        max(pass_mark) as pass_mark,
        coalesce(sum(students), 0) as students,
        coalesce(sum(with_results), 0) as with_results,
        sum(score_sum) / nullif(sum(with_results), 0) as average_score,
        coalesce(sum(passed), 0) as passed,
        coalesce(sum(with_attendance), 0) as with_attendance,
        sum(attendance_sum) / nullif(sum(with_attendance), 0) as attendance_pct,
        coalesce(sum(risk_known), 0) as risk_known,
        coalesce(sum(at_risk), 0) as at_risk,
        coalesce(bool_or(is_risk_by_rule), false) as is_risk_by_rule,
        coalesce(sum(jamb_known), 0) as jamb_known,
        coalesce(sum(jamb_likely), 0) as jamb_likely,
        coalesce(bool_or(is_jamb_by_rule), false) as is_jamb_by_rule,
        coalesce(sum(sat_known), 0) as sat_known,
        coalesce(sum(sat_likely), 0) as sat_likely,
        coalesce(bool_or(is_sat_by_rule), false) as is_sat_by_rule,
        coalesce(sum(wassce_known), 0) as wassce_known,
        coalesce(sum(wassce_likely), 0) as wassce_likely,
        coalesce(bool_or(is_wassce_by_rule), false) as is_wassce_by_rule
    from chosen
    group by grouping sets ((), (school_id), (grade_level), (gender), (has_activity))
),
kinds as (
    select 'offence' as part, kind as name, sum(students) as students
    from chosen left join lateral jsonb_array_elements_text(chosen.offences) as kind on true
    group by kind
),
bins as (
    select 'bin' as part, bin as name, sum(students) as students
    from chosen where bin is not null group by bin
),
choices as (
    select distinct 'choice' as part, school_id, grade_level from cells
)
select to_jsonb(groups) as found from groups
union all select to_jsonb(kinds) from kinds
union all select to_jsonb(bins) from bins
union all select to_jsonb(choices) from choices
"""
)
# The classes as they were, of all terms; those of the choice are counted.
_TERMS = """
select school_year, term, term_order,
    sum(student_count) filter (where is_chosen) as students,
    sum(student_count * average_score) filter (where is_chosen) / sum(student_count) filter (where is_chosen)
        as average_score,
    sum(student_count * attendance_pct) filter (where is_chosen)
        / sum(student_count) filter (where is_chosen and attendance_pct is not null) as attendance_pct,
    sum(passed_average_count) filter (where is_chosen) as passed
from (
    select *,
        (%(school_id)s::text is null or school_id = %(school_id)s)
        and (%(grade_level)s::text is null or grade_level = %(grade_level)s) as is_chosen
    from served.mart_class_summary
) as classes
group by school_year, term, term_order
order by school_year, term_order
"""
_SUBJECTS = """
select subject, sum(student_count) as students, sum(passed_count) as passed,
    sum(student_count * average_score) / sum(student_count) as average_score
from (
    select *,
        rank() over (partition by school_id, grade_level order by school_year desc, term_order desc) as age
    from served.mart_subject_performance
    where (%(school_id)s::text is null or school_id = %(school_id)s)
        and (%(grade_level)s::text is null or grade_level = %(grade_level)s)
) as subjects
where case when %(term)s::text is null then age = 1
    else school_year = %(school_year)s and term = %(term)s end
group by subject
order by subject
"""


@dataclass(frozen=True, slots=True)
class SummaryFilter:
    """Which students; None: all. `status` is a value of `enrollment_status`.

    Without `school_year` and `term`, which come together, results are those of each student's latest term.
    """

    school_id: str | None = None
    grade_level: str | None = None
    status: str | None = None
    school_year: str | None = None
    term: str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of the students of a choice, in groups that are measured alike.

    `groups` by what divides them: `school`, `class`, `gender`, `activity`; of each, rows with `name` (None:
    not known) and the measures that `whole` has for all of them. `offences`: students by kind, each kind once
    a student; None: none on record. `bins`: students by average score. `terms`: all that there are, oldest
    first; `students` None where nobody of the choice was there. `schools` and `grades`: those there are.
    """

    whole: Mapping[str, Any]
    groups: Mapping[str, Sequence[Mapping[str, Any]]]
    offences: Mapping[str | None, int]
    bins: Mapping[int, int]
    terms: Sequence[Mapping[str, Any]]
    subjects: Sequence[Mapping[str, Any]]
    schools: Sequence[str]
    grades: Sequence[str]


def read_summary(session: Connection, wanted: SummaryFilter) -> Summary:
    """Count the students whom the session may see.

    Raises:
        NotFound: no run has built the marts yet.
    """
    sent = {
        "school_id": wanted.school_id, "grade_level": wanted.grade_level, "status": wanted.status,
        "school_year": wanted.school_year, "term": wanted.term, "bins": BIN_COUNT,
    }  # fmt: skip
    figures = _FIGURES.format(results=_OF_LATEST_TERM if wanted.term is None else _OF_A_TERM)
    with in_built_marts():
        found = [row["found"] for row in session.execute(figures, sent)]
        terms = session.execute(_TERMS, sent).fetchall()
        subjects = session.execute(_SUBJECTS, sent).fetchall()

    def part(name: str) -> list[dict[str, Any]]:
        return [row for row in found if row["part"] == name]

    choices = part("choice")
    return Summary(
        whole=part("whole")[0],
        groups={
            name: sorted(part(name), key=lambda row: (row["name"] is None, row["name"]))
            for name in ("school", "class", "gender", "activity")
        },
        offences={row["name"]: row["students"] for row in part("offence")},
        bins={row["name"]: row["students"] for row in part("bin")},
        terms=terms,
        subjects=subjects,
        schools=sorted({row["school_id"] for row in choices}),
        grades=sorted({row["grade_level"] for row in choices if row["grade_level"]}),
    )
