"""The models: which version speaks and why, how well it did on students it had not seen, and for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from flask import Blueprint, Response, render_template
from flask_babel import gettext as _

from backend.access import allow, may, principal
from backend.operations import parse_query
from backend.pages.charts import Chart, Figure, Series, Unit, answer_csv
from backend.routes import models as api
from backend.schemas.admin_pages import ModelAddress
from backend.schemas.risk import ModelVersion
from backend.services import services
from backend.texts import day
from elt.errors import NotFound
from elt.serving.prediction_record import JudgedDay, read_prediction_record

model_pages = Blueprint("model_pages", __name__)

_PERCENT: Unit = " %"


@model_pages.get("/models")
@allow("models:read")
def show_models() -> str:
    """Each target with the version that speaks, or why none does."""
    return render_template("models.html", models=api.list_models().items)


@model_pages.get("/models/<name>")
@allow("models:read")
def show_model(name: str) -> Response | str:
    """One version: what the gate said, how well it did, for whom; and the record of earlier lists."""
    query = parse_query(ModelAddress, is_form=True)
    model = api.describe_model(name)
    version = next((each for each in model.versions if query.version in (None, each.version)), None)
    if version is None:
        raise NotFound(f"There is no version {query.version} of the model {name[:80]!r}.")
    record = _record(name)
    charts = [
        *_performance(version.metrics.get("held_out", {})),
        *_earlier(version.metrics),
        *_groups(version.metrics),
    ]
    charts += _judged(record)
    if query.csv is not None:
        return answer_csv(charts, query.csv)
    return render_template(
        "model.html",
        model=model,
        version=version,
        gate=version.gate or {},
        gaps=version.metrics.get("gaps", []),
        tiles=_tiles(version),
        charts=charts,
        record=record,
    )


def _record(name: str) -> list[JudgedDay]:
    if not may("marts:read"):
        return []
    with services().reader(principal()) as session:
        return read_prediction_record(session, name)


def _tiles(version: ModelVersion) -> list[Figure]:
    held_out = version.metrics.get("held_out")
    if not held_out:
        return []
    of_rows = _("of %(number)s rows held out", number=f"{held_out['rows']:,}")
    intervals = held_out.get("intervals", {})
    return [
        Figure(
            _("Ranking (AUC)"),
            _percent(held_out["model"]["auc"]),
            _("How often somebody to whom it came stands above somebody else; 50 % is chance."),
            _between(intervals.get("auc")),
        ),
        Figure(
            _("Right at the top"),
            _percent(held_out["model"]["precision_at_k"]["expected"]),
            _("Of the %(number)s at the top of the list, those to whom it came.", number=held_out["k"]),
            _("plain rule %(share)s", share=_percent(held_out["rule"]["precision_at_k"]["expected"])),
        ),
        Figure(
            _("Claims and facts apart"),
            _percent(held_out["calibration_error"]),
            _("Claimed and observed shares differ by so much on average (ECE)."),
            of_rows,
        ),
        Figure(
            _("Right overall"),
            _percent(held_out["accuracy"]),
            _("Right about so many, where one in two is the border."),
            of_rows,
        ),
    ]


def _performance(held_out: Mapping[str, Any]) -> list[Chart]:
    charts = []
    if curve := held_out.get("calibration_curve"):
        charts.append(_calibration(curve))
    if along := held_out.get("list"):
        charts.append(_along(along))
    return charts


def _calibration(curve: Sequence[Mapping[str, Any]]) -> Chart:
    return Chart(
        "calibration",
        "line",
        _("Claims against what came"),
        _(
            "Students it had not seen, in parts from the lowest claim to the highest: the chance that it "
            "claimed, and the share to whom it came. The closer the lines, the more can a claim be believed."
        ),
        _("Part"),
        [Series(_("Claimed"), _PERCENT, 1), Series(_("Came"), _PERCENT, 1)],
        [
            (str(place), (_hundred(each["claimed"]), _hundred(each["came"])))
            for place, each in enumerate(curve, start=1)
        ],
    )


def _along(along: Mapping[str, Any]) -> Chart:
    return Chart(
        "list",
        "line",
        _("Along the list from its top"),
        _(
            "If so many of the students are looked at: the share of these to whom it came (right), and the "
            "share looked at of all to whom it came (found); by the model and by the plain rule."
        ),
        _("Looked at"),
        [
            Series(_("Right"), _PERCENT, 1),
            Series(_("Found"), _PERCENT, 1),
            Series(_("Right, rule"), _PERCENT, 1),
            Series(_("Found, rule"), _PERCENT, 1),
        ],
        [
            (
                _percent(model["listed"]),
                tuple(_hundred(each[name]) for each in (model, rule) for name in ("precision", "recall")),
            )
            for model, rule in zip(along["model"], along["rule"], strict=True)
        ],
    )


def _earlier(metrics: Mapping[str, Any]) -> list[Chart]:
    cohorts = sorted(metrics.get("backtest", []), key=lambda each: str(each["as_of_date"]))
    chart = Chart(
        "earlier",
        "line",
        _("On earlier cohorts"),
        _("The same method, each cohort judged by what came before it: how often it ranks right (AUC)."),
        _("From"),
        [Series(_("Model"), _PERCENT, 1), Series(_("Plain rule"), _PERCENT, 1)],
        [
            (day(each["as_of_date"]), tuple(_hundred(each[who]["auc"]) for who in ("model", "rule")))
            for each in cohorts
        ],
    )
    return [chart] if chart.rows else []


def _groups(metrics: Mapping[str, Any]) -> list[Chart]:
    """One chart for each way in which students are told apart, where at least two groups are large enough."""
    charts = []
    for column, groups in groupby(metrics.get("groups", []), key=lambda group: str(group["column"])):
        found = [(each["group"], each["figures"]["recall"]) for each in groups if "recall" in each["figures"]]
        if len(found) > 1:
            charts.append(_found_by(column, found))
    return charts


def _found_by(column: str, found: Sequence[tuple[str, Mapping[str, float]]]) -> Chart:
    return Chart(
        f"found_by_{column}",
        "interval",
        _("Found, by %(column)s", column=column.removesuffix("_id").replace("_", " ")),
        _("Of those to whom it came, the share that stood on the list, and between what luck allows."),
        _("Group"),
        [Series(name, _PERCENT, 1) for name in (_("Found"), _("At least"), _("At most"))],
        [(name, tuple(_hundred(figure[end]) for end in ("value", "low", "high"))) for name, figure in found],
    )


def _judged(record: Sequence[JudgedDay]) -> list[Chart]:
    chart = Chart(
        "record",
        "line",
        _("What became of earlier lists"),
        _(
            "Lists that were shown, once the results had come: the share of those listed to whom it came "
            "(right), and the share listed of those to whom it came (found)."
        ),
        _("List of"),
        [Series(_("Right"), _PERCENT, 1), Series(_("Found"), _PERCENT, 1)],
        [
            (day(each.as_of_date), (_hundred(each.precision), _hundred(each.recall)))
            for each in reversed(record)
            if each.judged
        ],
    )
    return [chart] if chart.rows else []


def _hundred(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _between(interval: Mapping[str, float] | None) -> str:
    if not interval:
        return ""
    return str(
        _("between %(low)s and %(high)s", low=_percent(interval["low"]), high=_percent(interval["high"]))
    )
