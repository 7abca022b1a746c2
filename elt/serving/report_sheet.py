"""A report as a sheet: what its page and its PDF show, figure by figure and word by word the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

_STUDENTS_ON_A_PAGE = 7
_REASONS = 4
_STEPS = 4
_NOTHING = "–"


class Translate(Protocol):
    """Says an English text in the reader's language, with values for its placeholders."""

    def __call__(self, text: str, **values: Any) -> str:
        """The text."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A score as a bar of 100, beside the class (None: not shown). `text` is what it says."""

    text: str
    value: float
    beside: float | None = None


Cell = str | Bar


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure, what it counts, and what stands below it."""

    label: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below a title; `numbers` are the places of columns of figures, `wide` those of text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: Sequence[int] = ()
    wide: Sequence[int] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Points:
    """Lines below a title."""

    title: str
    lines: Sequence[str]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A report: `parts` one below the other, `points` side by side."""

    title: str
    lead: str
    tiles: Sequence[Tile]
    tables: Sequence[Table]
    points: Sequence[Points] = field(default_factory=tuple)
    foot: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """The reader's language, and how a day is written in it."""

    translate: Translate
    day: Callable[[date | str | None], str]


def in_english(text: str, **values: Any) -> str:
    """The text as it stands."""
    return text % values if values else text


def english_day(day: date | str | None) -> str:
    """A day, as 29 November 2026."""
    if not day:
        return _NOTHING
    found = date.fromisoformat(day) if isinstance(day, str) else day
    return f"{found.day} {found:%B %Y}"


ENGLISH = Words(in_english, english_day)


def student_sheet(report: Mapping[str, Any], words: Words = ENGLISH) -> Sheet:
    """The sheet of `elt.serving.report.read_student_report`."""
    _ = words.translate
    latest = report["latest"] or {}
    tables = [_student_subjects(report, _), _terms_of_student(report, _)]
    if report["done"] is not None:
        tables.append(_what_was_done(report["done"], words))
    return Sheet(
        title=report["full_name"] or report["student_id"],
        lead=_joined(
            _("Number %(number)s", number=report["student_id"]), _class_of(report),
            _("School %(school)s", school=report["school_id"]), _term(latest, _) if latest else "",
        ),
        tiles=[
            Tile(_("Average"), _figure(latest.get("average_score")), _("of 100, all subjects of the term")),
            Tile(_("Attendance"), _percent(latest.get("attendance_pct")), _("of the lessons of the term")),
            Tile(_("Trend"), _trend(latest.get("trend"), _), _course(latest, _)),
            _next_term(report["risk"], words),
        ],
        tables=[table for table in tables if table.rows],
        points=_about_next_term(report["risk"], _),
        foot=_foot(_),
    )  # fmt: skip


def class_sheet(report: Mapping[str, Any], words: Words = ENGLISH) -> Sheet:
    """The sheet of `elt.serving.report.read_class_report`."""
    _ = words.translate
    latest, worklist = report["latest"], report["worklist"]
    tables = [_worklist(report, words), _class_subjects(report, _), _terms_of_class(report, _)]
    return Sheet(
        title=_("Class %(name)s", name=report["grade_level"]),
        lead=_joined(_("School %(school)s", school=report["school_id"]), _term(latest, _)),
        tiles=[
            Tile(_("Students"), str(latest["student_count"]), _("with results in the term")),
            Tile(_("Average"), _figure(latest["average_score"]), _("of 100, over the students")),
            Tile(_("Attendance"), _percent(latest["attendance_pct"]), _("of the lessons of the term")),
            Tile(_("Need help"), str(len(worklist)), _("students at risk next term")),
        ],
        tables=[table for table in tables if table.rows],
        foot=_foot(_),
    )


def _student_subjects(report: Mapping[str, Any], _: Translate) -> Table:
    return Table(
        _("Results by subject"),
        [_("Subject"), _("Score"), _("Class"), "", _("Passed"), _("Attendance")],
        [
            [
                row["subject"], _figure(row["total_score"]), _figure(row["class_average_score"]),
                _bar(row["total_score"], row["class_average_score"]), _yes(row["is_pass"], _),
                _percent(row["attendance_pct"]),
            ]
            for row in report["subjects"]
        ],
        numbers=(1, 2, 5),
        note=_("Bar: the student's score of 100; the line in it: the average of the class, if it is shown."),
    )  # fmt: skip


def _terms_of_student(report: Mapping[str, Any], _: Translate) -> Table:
    return Table(
        _("Term by term"),
        [_("Term"), _("Average"), "", _("Attendance"), _("Subjects failed")],
        [
            [
                _term(term, _), _figure(term["average_score"]), _bar(term["average_score"]),
                _percent(term["attendance_pct"]), str(term["failure_count"]),
            ]
            for term in report["terms"]
        ],
        numbers=(1, 3, 4),
    )  # fmt: skip


def _what_was_done(lines: Sequence[Mapping[str, Any]], words: Words) -> Table:
    _ = words.translate
    return Table(
        _("What was done"),
        [_("Day"), _("What"), _("By")],
        [[words.day(line["done_on"]), line["action"], line["name"] or _("a program")] for line in lines],
        wide=(1,),
    )


def _worklist(report: Mapping[str, Any], words: Words) -> Table:
    _ = words.translate
    students = report["worklist"]
    left_out = len(students) - _STUDENTS_ON_A_PAGE
    head = [_("Student"), _("Chance"), _("Why"), _("What to do")]
    rows = [
        [
            f"{student['full_name'] or student['student_id']} ({student['student_id']})",
            chance(student, _),
            "; ".join(reasons(student)[:2]),
            "; ".join(step["text"] for step in student["recommendations"][:1]),
        ]
        for student in students[:_STUDENTS_ON_A_PAGE]
    ]
    if report["may_see_done"]:
        head.append(_("Last done"))
        for row, student in zip(rows, students, strict=False):
            done = student["done"]
            row.append(f"{done.action}, {words.day(done.done_on)}" if done else _NOTHING)
    note = _("Chance: of 100 students like this one so many fall below the pass mark next term.")
    if left_out > 0:
        note += " " + _("%(number)s more are on the page Who needs help.", number=left_out)
    return Table(_("Who needs help"), head, rows, wide=(0, *range(2, len(head))), note=note)


def _class_subjects(report: Mapping[str, Any], _: Translate) -> Table:
    return Table(
        _("Subjects"),
        [_("Subject"), _("Students"), _("Average"), "", _("Passed"), _("Attendance")],
        [
            [
                row["subject"], str(row["student_count"]), _figure(row["average_score"]),
                _bar(row["average_score"]), _share(row["pass_rate"]), _percent(row["attendance_pct"]),
            ]
            for row in report["subjects"]
        ],
        numbers=(1, 2, 4, 5),
    )  # fmt: skip


def _terms_of_class(report: Mapping[str, Any], _: Translate) -> Table:
    return Table(
        _("Term by term"),
        [_("Term"), _("Students"), _("Average"), "", _("Attendance"), _("Students who failed a subject")],
        [
            [
                _term(term, _), str(term["student_count"]), _figure(term["average_score"]),
                _bar(term["average_score"]), _percent(term["attendance_pct"]),
                str(term["failing_student_count"]),
            ]
            for term in report["terms"]
        ],
        numbers=(1, 2, 4, 5),
    )  # fmt: skip


def _next_term(risk: Mapping[str, Any] | None, words: Words) -> Tile:
    _ = words.translate
    if risk is None:
        return Tile(_("Next term"), _NOTHING, _("nothing is foretold"))
    if risk["method"] != "model":
        note = _("by the plain rule")
    else:
        note = _("students like this one fall below the pass mark")
    known = _("from what was known on %(day)s", day=words.day(risk["as_of_date"]))
    return Tile(_("Next term"), chance(risk, _), f"{note}, {known}")


def _about_next_term(risk: Mapping[str, Any] | None, _: Translate) -> list[Points]:
    if risk is None:
        return []
    parts = [
        Points(_("Why"), reasons(risk)[:_REASONS]),
        Points(_("What to do"), [step["text"] for step in risk["recommendations"] or []][:_STEPS]),
        Points(_("What would help"), [lever["text"] for lever in risk["helps"] or []][:_STEPS]),
    ]
    return [part for part in parts if part.lines]


def chance(prediction: Mapping[str, Any], _: Translate = in_english) -> str:
    """How many of 100 such students fall below; by the rule, whether this one is at risk."""
    if prediction["method"] != "model" or prediction["probability"] is None:
        return _("At risk") if prediction["is_at_risk"] else _("Not at risk")
    return of_100(prediction["probability"], _)


def of_100(probability: float | Decimal, _: Translate = in_english) -> str:
    """A probability as so many of 100; never none and never all, since no model knows that."""
    count = round(100 * float(probability))
    if count == 0:
        return _("Fewer than 1 of 100")
    return _("More than 99 of 100") if count == 100 else _("%(count)s of 100", count=count)


def reasons(prediction: Mapping[str, Any]) -> list[str]:
    """Reasons that raise the risk; of a student who is not at risk, also those that lower it."""
    raising = [reason for reason in prediction["reasons"] if reason.get("effect", 0) > 0]
    shown = raising if prediction["is_at_risk"] and raising else prediction["reasons"]
    return [reason["text"] for reason in shown]


def _class_of(report: Mapping[str, Any]) -> str:
    stream = report["stream"] if report["stream"] != "General" else None
    return " ".join(part for part in (report["grade_level"], stream) if part)


def _term(term: Mapping[str, Any], _: Translate) -> str:
    return f"{_(term['term'])} {term['school_year']}"


def _trend(trend: str | None, _: Translate) -> str:
    names = {"up": _("Up"), "down": _("Down"), "steady": _("Steady"), "new": _("New here")}
    return names.get(trend or "", _NOTHING)


def _course(latest: Mapping[str, Any], _: Translate) -> str:
    """What the trend is made of, and the last change, which may point the other way."""
    slope, change = latest.get("score_slope"), latest.get("score_change")
    if slope is None:
        return ""
    said = _("%(slope)s points a term over the last terms", slope=f"{float(slope):+.1f}")
    if change is None:
        return said
    return _("%(said)s; %(change)s since the term before", said=said, change=f"{float(change):+.1f}")


def _foot(_: Translate) -> str:
    return _("A prediction is no judgement: look at the student before you act on it.")


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _figure(value: float | Decimal | None) -> str:
    return _NOTHING if value is None else f"{float(value):.1f}"


def _percent(value: float | Decimal | None) -> str:
    return _NOTHING if value is None else f"{float(value):.1f} %"


def _share(value: float | Decimal | None) -> str:
    return _NOTHING if value is None else f"{100 * float(value):.0f} %"


def _yes(value: bool | None, _: Translate) -> str:
    return _NOTHING if value is None else _("Yes") if value else _("No")


def _bar(value: float | Decimal | None, beside: float | Decimal | None = None) -> Cell:
    if value is None:
        return ""
    return Bar(_figure(value), float(value), None if beside is None else float(beside))
