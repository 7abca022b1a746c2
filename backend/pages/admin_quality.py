"""Data quality over time: what was rejected or warned of, by rule, dataset and sender; what is still open."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, render_template
from flask_babel import format_date
from flask_babel import gettext as _

from backend.access import allow, principal
from backend.operations import parse_query
from backend.pages.charts import Chart, Figure, Series, answer_csv
from backend.schemas.admin_pages import QualityAddress
from backend.services import services
from backend.texts import number
from elt.clock import school_day
from elt.contracts import load_contracts
from elt.serving.quality import (
    Counts,
    Quality,
    QualityFilter,
    list_senders,
    monday_of,
    read_quality,
    read_unknown_keys,
)
from elt.uploads.ledger import list_uploads_to_correct

quality_pages = Blueprint("quality_pages", __name__)

_SHOWN_RULES = 20
_SHOWN_FILES = 100


@quality_pages.get("/admin/quality")
@allow("quality:read")
def show_quality() -> Response | str:
    """Of the caller's school, or of all."""
    query = parse_query(QualityAddress, is_form=True)
    school_id, time_zone = principal().school_id, services().settings.time_zone
    today = school_day(services().settings)
    since = monday_of(today, query.weeks - 1)
    wanted = QualityFilter(since, time_zone, school_id, query.dataset, query.uploader)
    with services().connection() as connection:
        quality = read_quality(connection, wanted, today)
        senders = list_senders(connection, school_id)
        to_correct = list_uploads_to_correct(
            connection,
            school_id=school_id,
            dataset=query.dataset,
            uploader=query.uploader,
            limit=_SHOWN_FILES,
        )
    names = {sender: name or sender for sender, name in senders.items()}
    charts = [_weeks(quality), _rules(quality), _datasets(quality), _senders(quality, names)]
    if query.csv is not None:
        return answer_csv(charts, query.csv)
    unknown = []
    if school_id is None:
        with services().reader(principal()) as session:
            unknown = read_unknown_keys(session)
    return render_template(
        "quality.html",
        query=query,
        contracts=sorted(load_contracts()),
        senders=names,
        tiles=_tiles(quality.total, to_correct.rows),
        charts=charts,
        open_uploads=to_correct.newest,
        more_open=to_correct.files - len(to_correct.newest),
        names=names,
        unknown=[each for each in unknown if query.dataset in (None, each.dataset)],
        is_bound=school_id is not None,
    )


def _tiles(total: Counts, still_open: int) -> list[Figure]:
    share = (
        _("%(share)s %% of the rows", share=number(100 * total.rejected / total.read, 2))
        if total.read
        else ""
    )
    return [
        Figure(
            _("Rows read"), number(total.read), _("Rows of all files that were handed in in these weeks.")
        ),
        Figure(
            _("Rejected"), number(total.rejected), _("Rows that broke a rule and were not loaded."), share
        ),
        Figure(
            _("Warnings"), number(total.warnings), _("Findings about rows that were loaded all the same.")
        ),
        Figure(_("Files refused"), number(total.refused), _("Files of which nothing could be loaded.")),
        Figure(
            _("Still open"),
            number(still_open),
            _("Rejected rows of loaded files that no correction has brought yet, whenever they came."),
        ),
    ]


def _series() -> list[Series]:
    return [Series(_("Rejected rows")), Series(_("Warnings"))]


def _weeks(quality: Quality) -> Chart:
    return Chart(
        "weeks", "line", _("By week"),
        _("Rejected rows and warnings of the files that were handed in in the week."),
        _("Week from"), _series(),
        [
            (format_date(week, "d MMM y"), (counts.rejected, counts.warnings))
            for week, counts in sorted(quality.weeks.items())
        ],
    )  # fmt: skip


def _rules(quality: Quality) -> Chart:
    return Chart(
        "rules", "bars", _("By rule"),
        _("Rows that broke each rule; a row that broke two counts at both. The %(number)s most frequent.",
          number=_SHOWN_RULES),
        _("Rule"), _series(),
        [
            (each.rule.replace("_", " "), (each.rejected, each.warnings))
            for each in quality.rules[:_SHOWN_RULES]
        ],
    )  # fmt: skip


def _datasets(quality: Quality) -> Chart:
    named = {name: name.replace("_", " ") for name in quality.datasets}
    return _ranked("datasets", _("By dataset"), _("Dataset"), quality.datasets, named)


def _senders(quality: Quality, names: Mapping[str, str]) -> Chart:
    return _ranked("senders", _("By who handed in"), _("Handed in by"), quality.uploaders, names)


def _ranked(
    chart: str, title: str, of: str, counted: Mapping[str, Counts], names: Mapping[str, str]
) -> Chart:
    ranked = sorted(counted.items(), key=lambda each: (-each[1].rejected, -each[1].warnings, each[0]))
    return Chart(
        chart, "bars", title, _("Rejected rows and warnings, the most first."), of, _series(),
        [(names.get(key, key), (counts.rejected, counts.warnings)) for key, counts in ranked],
    )  # fmt: skip
