"""What has to do with outcomes, how much, and what makes no difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, render_template
from flask_babel import gettext as _

from backend.access import allow, principal
from backend.operations import parse_query
from backend.pages.charts import Chart, Figure, Series, answer_csv
from backend.pages.insight_words import factor_words, means_of, outcome_words, sentence, state_of
from backend.schemas.figures import InsightsAddress
from backend.services import services
from elt.contracts import load_contracts
from elt.serving.insights import InsightFilter, read_insights

insights_pages = Blueprint("insights_pages", __name__)


@insights_pages.get("/insights")
@allow("insights:read")
def show_insights() -> Response | str:
    """The filters stand in the address, so that a view can be shared."""
    asked = parse_query(InsightsAddress, is_form=True)
    wanted = InsightFilter(asked.dataset, asked.outcome, asked.only_found)
    with services().reader(principal()) as session:
        known = read_insights(session)
    rows = [row for row in known if wanted.takes(row)]
    charts = _charts(rows, is_one_outcome=asked.outcome is not None)
    if asked.csv is not None:
        return answer_csv(charts, asked.csv)
    return render_template(
        "insights.html",
        asked=asked,
        is_anything_known=bool(known),
        datasets=_datasets(known, asked.dataset),
        outcomes=[(name, _begin(outcome_words(name))) for name in sorted({row["outcome"] for row in known})],
        comparison_count=max((row["comparison_count"] for row in known), default=0),
        figures=_figures(rows),
        charts=charts,
        findings=[(row, state_of(row), sentence(row), means_of(row)) for row in rows],
        labels={row["factor"]: _begin(factor_words(row["factor"])) for row in rows},
    )


def _datasets(known: Sequence[dict[str, Any]], chosen: str | None) -> list[tuple[str, str]]:
    titles = {name: contract.title for name, contract in load_contracts().items()}
    names = {row["dataset"] for row in known} | ({chosen} if chosen in titles else set())
    return [(name, titles.get(name, name)) for name in sorted(names)]


def _begin(words: str) -> str:
    return words[:1].upper() + words[1:]


def _figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    states = [state_of(row) for row in rows]
    return [
        Figure(
            _("Effects found"),
            str(states.count("found")),
            _("Comparisons where even the wide interval leaves out all negligible sizes."),
            _("of %(count)s comparisons", count=len(rows)),
        ),
        Figure(
            _("No effect found"),
            str(states.count("none")),
            _("Comparisons with enough data that show nothing which is sure to be more than negligible."),
        ),
        Figure(
            _("Not told"),
            str(states.count("little") + states.count("hidden")),
            _("Comparisons with too little data, or with a group of too few people to be shown."),
        ),
    ]


def _charts(rows: Sequence[dict[str, Any]], *, is_one_outcome: bool) -> list[Chart]:
    """One for each measure, because sizes of different measures cannot stand on one axis."""
    titles = {
        "d": (
            _("Yes or no"),
            _(
                "Difference between the two groups in standard deviations (Cohen's d). Above zero: those "
                "with it have more."
            ),
        ),
        "r": (
            _("Numbers"),
            _("Correlation (r), -1 to 1. Above zero: more of the one goes with more of the other."),
        ),
        "eta_squared": (
            _("Groups"),
            _("Share of the differences between students that goes with the group (eta squared), 0 to 1."),
        ),
    }
    charts = []
    for measure, (title, definition) in titles.items():
        shown = [row for row in rows if row["measure"] == measure and row["effect"] is not None]
        if shown:
            charts.append(_chart(measure, title, definition, shown, is_one_outcome=is_one_outcome))
    return charts


def _chart(
    measure: str, title: str, definition: str, rows: Sequence[dict[str, Any]], *, is_one_outcome: bool
) -> Chart:
    ends = ("effect", "low", "high", "adjusted_low", "adjusted_high")
    names = (
        _("Effect"),
        _("95 % from"),
        _("95 % to"),
        _("Corrected from"),
        _("Corrected to"),
    )
    return Chart(
        measure,
        "interval",
        title,
        f"{definition} "
        + _(
            "The thick line is the 95 % interval, the thin one that corrected for the number of "
            "comparisons; in the grey band effects are negligible."
        ),
        _("Comparison"),
        [Series(str(name), decimals=2) for name in names],
        [(_label(row, is_one_outcome=is_one_outcome), [row[end] for end in ends]) for row in rows],
        band=rows[0]["negligible_below"],
    )


def _label(row: dict[str, Any], *, is_one_outcome: bool) -> str:
    factor = _begin(factor_words(row["factor"]))
    return factor if is_one_outcome else f"{factor} → {outcome_words(row['outcome'])}"
