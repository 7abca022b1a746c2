"""The live picture of the country databases, as it is and pushed; and the five answers that dashboards know.

The five have the form in which the systems before Laurel gave them, and anyone may read them from any site.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from flask import Blueprint, Response, request

from backend.access import allow, principal, secret_sha256
from backend.live_choice import Choice
from backend.live_frames import OPENING, picture_event, show
from backend.live_places import Pass
from backend.operations import JSON_TYPE, Answer, operation
from backend.schemas.live import (
    Bubble,
    BubbleOfCountry,
    Bubbles,
    CountriesQuery,
    HoursOfCountry,
    LearningHours,
    Line,
    LivePicture,
    PictureHeaders,
    Point,
    PublicAnswer,
    ScoreOfCountry,
    Scores,
    StreamHeaders,
    Submissions,
    SubmissionsOverTime,
)
from backend.services import services
from backend.socket_handover import can_take_over, handed_over, take_over

live = Blueprint("live", __name__)
live_public = Blueprint("live_public", __name__)

EVENT_STREAM = "text/event-stream"
_PUBLIC_SECONDS = 1
_MOST_DIGITS = 19  # of a bigint


@live.get("/live/pisa")
@allow("live:read")
@operation(
    "Show the live picture",
    {
        200: Answer("The figures now.", LivePicture, headers={"ETag": "Names this picture."}),
        304: Answer("As the picture that is known (`If-None-Match`)."),
    },
    description="Read by each server process four times a second at most, however many ask.",
    headers=PictureHeaders,
)
def show_live(headers: PictureHeaders) -> Response:
    """What the stream begins with."""
    text = LivePicture.model_validate(services().live_pictures.current()).model_dump_json()
    response = Response(text, content_type=JSON_TYPE)
    # Of the whole picture, not the version: how fresh the sources are changes without a new one.
    response.set_etag(hashlib.sha256(text.encode()).hexdigest()[:32])
    response.headers["Cache-Control"] = "private, no-cache"
    if headers.if_none_match:
        response.make_conditional(request)
    return response


@live.get("/live/pisa/stream")
@allow("live:read")
@operation(
    "Watch the live picture",
    {200: Answer("Events without an end.", media=(EVENT_STREAM,))},
    description=(
        "Server-sent events, for `EventSource`: first `picture`, the whole of it, then `change` with what is "
        "new, to be merged by country, hour and source; `stale` when nothing newer can be read. After a "
        "break the browser sends `Last-Event-ID` and is told only what is new. `docs/api.md` says more."
    ),
    headers=StreamHeaders,
    problems=(429, 503),
)
def stream_live(headers: StreamHeaders) -> Response:
    """The answer begins in gunicorn's thread and goes on in `LiveHub`."""
    if not can_take_over(request.environ):
        # Another server, TLS in gunicorn, HTTP/2: the picture now; browsers ask again by themselves.
        event = picture_event(show(services().live_pictures.current()))
        return Response(OPENING + event.plain, content_type=EVENT_STREAM)
    hub = services().live_hub
    place = hub.places.take(Pass(principal().id, secret_sha256()))
    environ, known_version = request.environ, _version(headers.last_event_id)

    def begin() -> Iterator[bytes]:
        yield OPENING  # makes gunicorn send the headers
        taken = take_over(environ)
        is_chunked = environ["SERVER_PROTOCOL"] == "HTTP/1.1"
        hub.adopt(taken, place, is_chunked=is_chunked, known_version=known_version)
        raise handed_over()

    response = Response(begin(), content_type=EVENT_STREAM)
    response.headers["X-Accel-Buffering"] = "no"  # nginx would gather events
    response.call_on_close(place.release)  # where it never came to begin
    return response


@live_public.after_request
def _let_any_site_read(response: Response) -> Response:
    """Errors too, so that a dashboard can say what is wrong."""
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


@live_public.get("/submissions")
@allow("live:public")
@operation(
    "Number of submissions", {200: Answer("All of them.", Submissions)}, query=CountriesQuery, problems=(503,)
)
def count_submissions(query: CountriesQuery) -> Response:
    """For a single figure."""
    choice = Choice(query)
    return _answer(choice, Submissions(count=sum(country.responses for country in choice.countries)))


@live_public.get("/tmins")
@allow("live:public")
@operation(
    "Learning hours per week",
    {200: Answer("Highest first.", LearningHours)},
    query=CountriesQuery,
    problems=(503,),
)
def show_learning_hours(query: CountriesQuery) -> Response:
    """For bars."""
    choice = Choice(query)
    bars = [
        HoursOfCountry(country=found.country, hours=round(found.lesson_hours, 2))
        for found in choice.countries
        if found.lesson_hours is not None
    ]
    bars.sort(key=lambda bar: -bar.hours)
    return _answer(choice, LearningHours(datasets=bars, minimum_sample=choice.picture.minimum_sample))


@live_public.get("/escs")
@allow("live:public")
@operation(
    "Economic, social and cultural score",
    {200: Answer("By code.", Scores)},
    query=CountriesQuery,
    problems=(503,),
)
def show_scores(query: CountriesQuery) -> Response:
    """For a map."""
    choice = Choice(query)
    scores = [
        ScoreOfCountry(id=found.country, value=round(found.escs, 4))
        for found in choice.countries
        if found.escs is not None
    ]
    return _answer(choice, Scores(datasets=scores, minimum_sample=choice.picture.minimum_sample))


@live_public.get("/eeb")
@allow("live:public")
@operation(
    "Early education and sense of belonging",
    {200: Answer("Most responses first.", Bubbles)},
    query=CountriesQuery,
    problems=(503,),
)
def show_bubbles(query: CountriesQuery) -> Response:
    """For bubbles."""
    choice = Choice(query)
    minimum = choice.picture.minimum_sample
    bubbles = [
        BubbleOfCountry(
            id=found.country,
            data=[Bubble(x=round(found.durecec, 2), y=round(found.belong, 4), submissions=found.both)],
        )
        for found in sorted(choice.countries, key=lambda found: -found.both)
        if found.both >= minimum and found.durecec is not None and found.belong is not None
    ]
    return _answer(choice, Bubbles(datasets=bubbles, minimum_sample=minimum))


@live_public.get("/sot")
@allow("live:public")
@operation(
    "Submissions over time",
    {200: Answer("The last 24 hours, in order.", SubmissionsOverTime)},
    query=CountriesQuery,
    problems=(503,),
)
def show_submissions_over_time(query: CountriesQuery) -> Response:
    """For a line."""
    choice = Choice(query)
    hours = choice.picture.hours
    if choice.codes:
        hours = choice.picture.hours_of(choice.codes)
    line = Line(data=[Point(x=f"{each.hour:%Y-%m-%dT%H:%MZ}", y=each.responses) for each in hours])
    return _answer(choice, SubmissionsOverTime(datasets=[line]))


def _answer(choice: Choice, answer: PublicAnswer) -> Response:
    """The answer, with the codes that are nowhere."""
    answer.unknown_countries = choice.unknown
    hidden = None if answer.unknown_countries else {"unknown_countries"}
    response = Response(answer.model_dump_json(exclude=hidden), content_type=JSON_TYPE)
    response.headers["Cache-Control"] = f"public, max-age={_PUBLIC_SECONDS}"
    return response


def _version(sent: str | None) -> int | None:
    """The version that a viewer says to have seen; None if it says nothing of sense."""
    if sent is None or len(sent) > _MOST_DIGITS or not (sent.isascii() and sent.isdecimal()):
        return None
    return int(sent)
