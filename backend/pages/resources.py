"""What schools teach with: rooms, equipment, teachers; by school and school year."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from flask import Blueprint, Response, render_template
from flask_babel import gettext as _
from flask_babel import lazy_gettext

from backend.access import allow, principal
from backend.auditing import note_for_audit
from backend.operations import parse_query
from backend.pages.charts import Chart, Figure, Series, answer_csv
from backend.schemas.figures import ResourcesAddress
from backend.services import services
from elt.serving.resources import Resources, read_resources

resources_pages = Blueprint("resources_pages", __name__)

_MOST_SCHOOLS = 6
"""So many can be told apart by their colours in one chart."""

_LOAD_EDGES = (0.5, 0.75, 1.0, 1.25, 1.5)
"""Where the bars of the load ratio begin and end."""


class _Measure(NamedTuple):
    column: str
    title: Any  # texts, said in the reader's language when they are shown
    definition: Any
    decimals: int = 1


_EQUIPMENT = (
    _Measure(
        "students_per_classroom",
        lazy_gettext("Students per classroom"),
        lazy_gettext("Students of the school year divided by its classrooms."),
    ),
    _Measure(
        "students_per_laboratory",
        lazy_gettext("Students per laboratory"),
        lazy_gettext("Students of the school year divided by its laboratories."),
    ),
    _Measure(
        "students_per_computer",
        lazy_gettext("Students per computer"),
        lazy_gettext("Students of the school year divided by its computers."),
    ),
    _Measure(
        "students_per_toilet",
        lazy_gettext("Students per toilet"),
        lazy_gettext("Students of the school year divided by its toilets."),
    ),
    _Measure(
        "library_books_per_student",
        lazy_gettext("Library books per student"),
        lazy_gettext("Books of the library divided by the students of the school year."),
        2,
    ),
    _Measure(
        "electricity_hours",
        lazy_gettext("Electricity, hours a day"),
        lazy_gettext("As the school reports it."),
    ),
    _Measure("water_hours", lazy_gettext("Water, hours a day"), lazy_gettext("As the school reports it.")),
)


@resources_pages.get("/resources")
@allow("resources:read")
def show_resources() -> Response | str:
    """The filters stand in the address, so that a view can be shared."""
    asked = parse_query(ResourcesAddress, is_form=True)
    note_for_audit(school_id=asked.school_id, school_year=asked.school_year)
    with services().reader(principal()) as session:
        found = read_resources(session, asked.school_id, asked.school_year)
    equipment = [_equipment(measure, found) for measure in _EQUIPMENT]
    teachers = [_loads(found), *_periods(found)] if found.loads else []
    subjects = _subjects(found)
    if asked.csv is not None:
        return answer_csv([*equipment, *teachers, *subjects], asked.csv)
    return render_template(
        "resources.html",
        asked=asked,
        found=found,
        equipment=equipment,
        figures=_single(equipment),
        teachers=teachers,
        subjects=subjects,
        most_schools=_MOST_SCHOOLS,
    )


def _schools(rows: Iterable[dict[str, Any]]) -> list[str]:
    return sorted({row["school_id"] for row in rows})


def _by_school(
    chart: Callable[[Sequence[Series], list[tuple[str, list[float | None]]]], Chart],
    rows: Sequence[dict[str, Any]],
    of: str,
    column: str,
    decimals: int,
) -> Chart:
    """A row for each value of `of`, a series for each school."""
    schools = _schools(rows)
    values = {(row[of], row["school_id"]): row[column] for row in rows}
    labels = list(dict.fromkeys(sorted(row[of] for row in rows)))
    return chart(
        [Series(school, decimals=decimals) for school in schools],
        [(label, [values.get((label, school)) for school in schools]) for label in labels],
    )


def _equipment(measure: _Measure, found: Resources) -> Chart:
    """Years one after another where there are several; else, or of many schools, the schools of one year."""
    rows = [row for row in found.equipment if row[measure.column] is not None]
    years = {row["school_year"] for row in rows}
    if len(years) > 1 and len(_schools(rows)) <= _MOST_SCHOOLS:
        return _by_school(
            lambda series, lines: Chart(
                measure.column, "line", measure.title, measure.definition, _("School year"), series, lines
            ),
            rows,
            "school_year",
            measure.column,
            measure.decimals,
        )
    return Chart(
        measure.column,
        "bars",
        measure.title,
        f"{measure.definition} {found.school_year or ''}".strip(),
        _("School"),
        [Series(str(measure.title), decimals=measure.decimals)],
        [
            (row["school_id"], (row[measure.column],))
            for row in rows
            if row["school_year"] == found.school_year
        ],
    )


def _single(equipment: Sequence[Chart]) -> list[Figure]:
    """Of one school in one year each is a figure, and nothing to draw; else empty."""
    if any(len(chart.rows) > 1 or len(chart.series) > 1 for chart in equipment):
        return []
    return [
        Figure(str(chart.title), chart.series[0].text(chart.rows[0][1][0]), str(chart.definition))
        for chart in equipment
        if chart.rows
    ]


def _loads(found: Resources) -> Chart:
    """How many teachers carry how much, by results and by the timetable."""
    ranges = list(zip((0.0, *_LOAD_EDGES), (*_LOAD_EDGES, None), strict=True))

    def count(column: str, least: float, below: float | None) -> int:
        values = [row[column] for row in found.loads if row[column] is not None]
        return sum(least <= value and (below is None or value < below) for value in values)

    return Chart(
        "loads",
        "columns",
        _("Load of teachers"),
        _(
            "How many teachers carry how much in the newest term of %(year)s: their students, or the minutes "
            "of their timetable, divided by the mean of their school. 1 is an ordinary load.",
            year=found.school_year,
        ),
        _("Load"),
        [Series(_("Teachers, by students")), Series(_("Teachers, by timetable"))],
        [
            (
                _range(least, below),
                (count("load_ratio", least, below), count("timetable_load_ratio", least, below)),
            )
            for least, below in ranges
        ],
    )


def _range(least: float, below: float | None) -> str:
    if below is None:
        return str(_("%(least)s and more", least=least))
    if not least:
        return str(_("below %(below)s", below=below))
    return str(_("%(least)s to %(below)s", least=least, below=below))


def _periods(found: Resources) -> list[Chart]:
    """Each teacher of one school beside its mean; nothing where there is no timetable, or several schools."""
    rows = [row for row in found.loads if row["periods_per_week"] is not None]
    if len(_schools(rows)) != 1:
        return []
    rows.sort(key=lambda row: -row["periods_per_week"])
    return [
        Chart(
            "periods",
            "bars",
            _("Periods a week"),
            _(
                "Lessons in the week's timetable of the newest term of %(year)s, beside the mean of the "
                "school's teachers. A lesson of several classes together counts once.",
                year=found.school_year,
            ),
            _("Teacher"),
            [Series(_("Periods")), Series(_("Mean of the school"), decimals=1)],
            [
                (
                    ", ".join(filter(None, (row["teacher_id"], row["subject_specialization"]))),
                    (row["periods_per_week"], round(row["mean_periods_per_week"], 2)),
                )
                for row in rows
            ],
        )
    ]


def _subjects(found: Resources) -> list[Chart]:
    """Students per teacher where they may be seen, and per class; nothing of more schools than colours."""
    if not 0 < len(_schools(found.staffing)) <= _MOST_SCHOOLS:
        return []
    per_teacher = _by_subject(
        found,
        "students_per_teacher",
        _("Students per teacher, by subject"),
        _(
            "Students with results in the subject divided by the teachers who gave marks in it, in the "
            "newest term of %(year)s.",
            year=found.school_year,
        ),
    )
    per_class = _by_subject(
        found,
        "students_per_class",
        _("Students per class, by subject"),
        _(
            "Students with results in the subject divided by the grades in which it is taught, in the newest "
            "term of %(year)s.",
            year=found.school_year,
        ),
    )
    return [chart for chart in (per_teacher, per_class) if chart.rows]


def _by_subject(found: Resources, column: str, title: str, definition: str) -> Chart:
    rows = [row for row in found.staffing if row[column] is not None]
    return _by_school(
        lambda series, lines: Chart(column, "bars", title, definition, _("Subject"), series, lines),
        rows,
        "subject",
        column,
        1,
    )
