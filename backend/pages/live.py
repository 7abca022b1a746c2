"""The live page: rendered whole from the picture as it is now; `static/live.js` keeps it so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from flask import Blueprint, Response, make_response, render_template, url_for
from flask_babel import format_datetime
from flask_babel import gettext as _

from backend.access import allow
from backend.live_choice import Choice
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.pages.charts import Chart, Series, answer_csv
from backend.schemas.figures import LiveAddress
from backend.schemas.live import CountriesQuery
from backend.services import services
from elt.live.country_names import country_names
from elt.live.picture import CountryFigures, HourCount, Picture

live_pages = Blueprint("live_pages", __name__)

_STALE_SECONDS = 30
"""From this age on figures are called stale; sources that are followed are heard of every few seconds."""

_FIRST_CHIPS = 3
_DIGITS = 4  # of a mean as data; tables show two
_HOUR = "d MMM HH:mm"
_HOUR_KEY = "%Y-%m-%dT%H:%MZ"  # as `GET /sot` names an hour


@live_pages.get("/live")
@allow("live:read")
def show_live() -> Response:
    """`countries=ALB,ARG` in the address chooses; every chip is a link to the choice with it, or without."""
    asked = parse_query(LiveAddress, is_form=True)
    choice = Choice(CountriesQuery(countries=asked.countries))
    charts = _charts(choice)
    if asked.csv is not None:
        return answer_csv(list(charts.values()), asked.csv)
    most = max((country.responses for country in choice.countries), default=0)
    page = render_template(
        "live.html",
        choice=choice,
        charts=charts,
        chips=_chips(choice),
        first_chips=_FIRST_CHIPS,
        everything=this_view(countries=None),
        names=country_names(),
        rows=[(country, most, _read_at(choice.picture, country.country)) for country in choice.countries],
        now=datetime.now(UTC),
        stale_seconds=_STALE_SECONDS,
        time_zone=services().settings.time_zone,
        hours_address=url_for("live_public.show_submissions_over_time", countries=",".join(choice.codes)),
    )
    return make_response(page)


def _chips(choice: Choice) -> list[tuple[str, bool, str]]:
    """Code, whether it is chosen, and the address of the choice with or without it; the chosen ones first."""
    codes = sorted(choice.known, key=lambda code: (code not in choice.codes, code))
    return [
        (code, code in choice.codes, this_view(countries=",".join(_toggled(choice.codes, code)) or None))
        for code in codes
    ]


def _toggled(codes: list[str], code: str) -> list[str]:
    return [other for other in codes if other != code] if code in codes else [*codes, code]


def _charts(choice: Choice) -> dict[str, Chart]:
    """By their place in the page."""
    countries = sorted(choice.countries, key=lambda found: found.country)
    least = choice.picture.minimum_sample
    hours = choice.picture.hours_of(choice.codes) if choice.codes else choice.picture.hours
    return {
        "bubbles": _bubbles(countries, least),
        "over_time": _over_time(hours),
        "lesson_hours": _lesson_hours(countries, least),
        "status": _status(countries, least),
    }


def _bubbles(countries: list[CountryFigures], least: int) -> Chart:
    def values(found: CountryFigures) -> tuple[float | None, ...]:
        if found.both < least:
            return None, None, found.both
        return _rounded(found.durecec), _rounded(found.belong), found.both

    return _of_countries(
        Chart(
            "bubbles",
            "bubbles",
            _("Early education and sense of belonging"),
            _(
                "Mean years of early childhood education across, mean sense of belonging up (0: that of the "
                "OECD). A bubble is as large as there are responses with both; – where fewer than %(least)s.",
                least=least,
            ),
            _("Country"),
            [
                Series(_("Early education, years"), decimals=2),
                Series(_("Sense of belonging"), decimals=2),
                Series(_("Responses with both")),
            ],
        ),
        sorted(countries, key=lambda found: -found.both),
        values,
    )


def _lesson_hours(countries: list[CountryFigures], least: int) -> Chart:
    ordered = sorted(countries, key=lambda found: -_rounded_or_least(found.lesson_hours))
    return _of_countries(
        Chart(
            "lesson_hours",
            "bars",
            _("Learning hours per week by country"),
            _(
                "Mean hours of lessons a week, highest first; – where fewer than %(least)s say so.",
                least=least,
            ),
            _("Country"),
            [Series(_("Hours a week"), decimals=2)],
        ),
        ordered,
        lambda found: (_rounded(found.lesson_hours),),
    )


def _status(countries: list[CountryFigures], least: int) -> Chart:
    return _of_countries(
        Chart(
            "status",
            "map",
            _("Economic, social and cultural score"),
            _(
                "Mean of the index of parents' schooling, their work and what there is at home (0: the mean "
                "of the OECD); – where fewer than %(least)s say so. The smallest countries are on no map.",
                least=least,
            ),
            _("Country"),
            [Series(_("Score"), decimals=2)],
        ),
        countries,
        lambda found: (_rounded(found.escs),),
    )


def _over_time(hours: tuple[HourCount, ...]) -> Chart:
    return Chart(
        "over_time",
        "area",
        _("Submissions over time"),
        _("Responses submitted in each of the last 24 hours, the present one last."),
        _("Hour that begins at"),
        [Series(_("Submissions"))],
        [(_hour(each.hour), (each.responses,)) for each in hours],
        keys=[each.hour.astimezone(UTC).strftime(_HOUR_KEY) for each in hours],
    )


def _of_countries(
    chart: Chart,
    countries: list[CountryFigures],
    values: Callable[[CountryFigures], tuple[float | None, ...]],
) -> Chart:
    names = country_names()
    return replace(
        chart,
        rows=[(names.get(found.country, found.country), values(found)) for found in countries],
        keys=[found.country for found in countries],
    )


def _hour(begin: datetime) -> str:
    return str(format_datetime(begin.astimezone(UTC).replace(tzinfo=None), _HOUR))


def _rounded(mean: float | None) -> float | None:
    return None if mean is None else round(mean, _DIGITS)


def _rounded_or_least(mean: float | None) -> float:
    return float("-inf") if mean is None else round(mean, _DIGITS)


def _read_at(picture: Picture, country: str) -> datetime | None:
    """Since when the country's figures may be old: by its own sources, else by those of several countries."""
    own = [source.read_at for source in picture.sources if source.country == country]
    times = own or [source.read_at for source in picture.sources if source.country is None]
    known = [time for time in times if time is not None]
    return min(known) if known and len(known) == len(times) else None
