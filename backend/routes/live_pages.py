"""The live page: rendered whole from the picture as it is now; `static/live.js` keeps it so."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, Response, make_response, render_template, url_for

from backend.access import allow
from backend.live_choice import Choice
from backend.operations import parse_query
from backend.schemas.live import CountriesQuery
from elt.live.picture import Picture

live_pages = Blueprint("live_pages", __name__)

_STALE_SECONDS = 30
"""From this age on figures are called stale; sources that are followed are heard of every few seconds."""


@live_pages.get("/live")
@allow("live:read")
def show_live() -> Response:
    """`countries=ALB,ARG` in the address chooses; every chip is a link to the choice with it, or without."""
    choice = Choice(parse_query(CountriesQuery))
    most = max((country.responses for country in choice.countries), default=0)
    page = render_template(
        "live.html",
        choice=choice,
        chips=[(code, code in choice.codes, _address(_toggled(choice.codes, code))) for code in choice.known],
        everything=_address([]),
        rows=[(country, most, _read_at(choice.picture, country.country)) for country in choice.countries],
        now=datetime.now(UTC),
        stale_seconds=_STALE_SECONDS,
    )
    return make_response(page)


def _toggled(codes: list[str], code: str) -> list[str]:
    return [other for other in codes if other != code] if code in codes else [*codes, code]


def _address(codes: list[str]) -> str:
    path = url_for("live_pages.show_live")
    return f"{path}?countries={','.join(codes)}" if codes else path


def _read_at(picture: Picture, country: str) -> datetime | None:
    """Since when the country's figures may be old: by its own sources, else by those of several countries."""
    own = [source.read_at for source in picture.sources if source.country == country]
    times = own or [source.read_at for source in picture.sources if source.country is None]
    known = [time for time in times if time is not None]
    return min(known) if known and len(known) == len(times) else None
