"""The live picture as JSON, and the five answers that dashboards know, against sums known by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from backend import live_pictures
from backend.app import create_app
from backend.live_pictures import LivePictures
from elt.disclosure import smallest_group
from elt.errors import DatabaseUnavailable
from elt.settings import Settings
from elt.warehouse import Connection, connect
from tests.live_figures import Given, add_responses, add_source, clear, present_hour

MINIMUM = smallest_group("pisa_minimum_sample")
FIVE = ("/submissions", "/tmins", "/escs", "/eeb", "/sot")
PICTURE = "/api/v1/live/pisa"


@pytest.fixture
def figures(connection: Connection) -> None:
    """Albania with twice the minimum, Argentina with just enough, Brazil with one response too few."""
    for country in ("ALB", "ARG", "BRA"):
        add_source(connection, country.lower(), country)
    half = [Given(escs=0.12345, tmins=90, belong=0.5, durecec=3)] * MINIMUM
    other = [Given(escs=-0.2, tmins=119, belong=0.00019, durecec=2)] * (MINIMUM - 1)
    add_responses(connection, "alb", "ALB", [*half, *other, Given(tmins=119)])
    add_responses(connection, "arg", "ARG", [Given(escs=-1.0, tmins=1500, belong=-0.25, durecec=1)] * MINIMUM)
    add_responses(
        connection, "bra", "BRA", [Given(escs=2.0, tmins=6000, belong=1, durecec=0)] * (MINIMUM - 1)
    )


@pytest.fixture
def client(api: Flask, figures: None) -> FlaskClient:
    """A stranger's."""
    return api.test_client()


def test_submissions_are_counted(client: FlaskClient) -> None:
    assert client.get("/submissions").json == {"count": 4 * MINIMUM - 1}
    assert client.get("/submissions?countries=ARG,BRA").json == {"count": 2 * MINIMUM - 1}


def test_learning_hours_are_not_cut_to_whole_hours_before_the_mean(client: FlaskClient) -> None:
    # 90 and 119 minutes are 1.5 and 1.98 hours, the mean 1.74; cut they were 1 and 1.
    assert client.get("/tmins").json == {
        "datasets": [{"country": "ARG", "hours": 25.0}, {"country": "ALB", "hours": 1.74}],
        "minimum_sample": MINIMUM,
    }


def test_scores_keep_their_decimals(client: FlaskClient) -> None:
    alb = round((0.12345 * MINIMUM - 0.2 * (MINIMUM - 1)) / (2 * MINIMUM - 1), 4)
    assert client.get("/escs").json == {
        "datasets": [{"id": "ALB", "value": alb}, {"id": "ARG", "value": -1.0}],
        "minimum_sample": MINIMUM,
    }
    assert alb != round(alb, 1)


def test_bubbles_come_with_most_responses_first_and_four_decimals(client: FlaskClient) -> None:
    count = 2 * MINIMUM - 1
    x = round((3 * MINIMUM + 2 * (MINIMUM - 1)) / count, 2)
    y = round((0.5 * MINIMUM + 0.00019 * (MINIMUM - 1)) / count, 4)
    assert client.get("/eeb").json == {
        "datasets": [
            {"id": "ALB", "data": [{"x": x, "y": y, "submissions": count}]},
            {"id": "ARG", "data": [{"x": 1.0, "y": -0.25, "submissions": MINIMUM}]},
        ],
        "minimum_sample": MINIMUM,
    }


def test_countries_with_too_few_responses_have_no_figures_but_are_counted(
    client: FlaskClient, connection: Connection
) -> None:
    assert "BRA" not in client.get("/tmins").text + client.get("/escs").text + client.get("/eeb").text
    assert client.get("/submissions?countries=BRA").json == {"count": MINIMUM - 1}
    add_responses(connection, "bra", "BRA", [Given(escs=2.0)])
    assert client.get("/escs?countries=BRA").json is not None
    eventually(lambda: client.get("/escs?countries=BRA").json["datasets"] == [{"id": "BRA", "value": 2.0}])  # type: ignore[index]
    assert client.get("/tmins?countries=BRA").json["datasets"] == []  # type: ignore[index]


def test_hours_are_in_the_order_of_time_with_dates_and_zeros(api: Flask, connection: Connection) -> None:
    add_source(connection, "alb", "ALB")
    add_source(connection, "all", None)
    hour = present_hour()
    ages = [0, 0, 1, 5, 23, 24, 25]  # 24 hours ago has the clock of now, and is no part of it
    answers = [Given(submitted_at=hour - timedelta(hours=age)) for age in ages]
    add_responses(connection, "alb", "ALB", answers)
    add_responses(connection, "all", "ARG", [Given(submitted_at=hour - timedelta(hours=1))])
    client = api.test_client()
    counts = {0: 2, 1: 2, 5: 1, 23: 1}
    [line] = client.get("/sot").json["datasets"]  # type: ignore[index]
    assert line["id"] == "Submissions"
    assert line["data"] == [
        {"x": f"{hour - timedelta(hours=age):%Y-%m-%dT%H:00Z}", "y": counts.get(age, 0)}
        for age in range(23, -1, -1)
    ]
    [of_argentina] = client.get("/sot?countries=ARG").json["datasets"]  # type: ignore[index]
    assert [point["y"] for point in of_argentina["data"]] == [0] * 22 + [1, 0]


def test_a_country_that_several_sources_have_is_one(api: Flask, connection: Connection) -> None:
    for source in ("north", "south"):
        add_source(connection, source, None)
        add_responses(connection, source, "ALB", [Given(tmins=60 if source == "north" else 90)] * MINIMUM)
    assert api.test_client().get("/tmins").json["datasets"] == [{"country": "ALB", "hours": 1.25}]  # type: ignore[index]


@pytest.mark.parametrize("path", ["/tmins", "/escs", "/eeb"])
def test_countries_are_chosen_in_either_case(client: FlaskClient, path: str) -> None:
    chosen = client.get(f"{path}?countries=arg").json
    assert chosen is not None
    assert [found.get("country") or found.get("id") for found in chosen["datasets"]] == ["ARG"]
    assert client.get(f"{path}?countries=ARG").json == chosen


def test_a_country_that_is_nowhere_is_named_and_stops_nothing(client: FlaskClient) -> None:
    found = client.get("/escs?countries=ARG,XYZ,BRA").json
    assert found is not None
    assert [country["id"] for country in found["datasets"]] == ["ARG"]
    assert found["unknown_countries"] == ["XYZ"]  # Brazil is known, and small
    assert client.get("/submissions?countries=XYZ").json == {"count": 0, "unknown_countries": ["XYZ"]}


@pytest.mark.parametrize("sent", ["countries=", "countries=ALB;ARG", "countries=ALB,", "country=ALB"])
def test_what_is_no_list_of_codes_is_refused_with_a_reason(client: FlaskClient, sent: str) -> None:
    answer = client.get(f"/tmins?{sent}")
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")


def test_without_any_response_the_forms_are_the_same(api: Flask) -> None:
    client = api.test_client()
    assert client.get("/submissions").json == {"count": 0}
    for path in ("/tmins", "/escs", "/eeb"):
        assert client.get(path).json == {"datasets": [], "minimum_sample": MINIMUM}
    [line] = client.get("/sot").json["datasets"]  # type: ignore[index]
    assert [point["y"] for point in line["data"]] == [0] * 24


@pytest.mark.parametrize("path", FIVE)
def test_any_site_may_read_the_five_and_keep_them_for_a_second(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Origin": "https://dashboard.example.org"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["Cache-Control"] == "public, max-age=1"
    assert client.head(path).status_code == 200
    assert client.post(path).status_code == 405


def test_no_other_answer_may_be_read_by_other_sites(client: FlaskClient, researcher: FlaskClient) -> None:
    for found in (client.get("/healthz"), researcher.get(PICTURE), client.get(PICTURE)):
        assert "Access-Control-Allow-Origin" not in found.headers


def test_a_database_that_is_away_is_a_problem_and_no_answer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_pictures, "_FAILURE_SECONDS", 3600.0)  # waited for once
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://nobody@127.0.0.1:1/none")})
    app = create_app(away)
    for path in FIVE:
        answer = app.test_client().get(path)
        assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    app.extensions["laurel"].close()


def test_the_picture_has_all_of_it(researcher: FlaskClient, figures: None, connection: Connection) -> None:
    connection.execute("update live.sources set problem = 'away', lag_seconds = null where source = 'arg'")
    answer = researcher.get(PICTURE)
    picture: dict[str, Any] = answer.json or {}
    assert (picture["version"], picture["responses"]) == (6, 4 * MINIMUM - 1)
    assert picture["minimum_sample"] == MINIMUM
    assert [country["country"] for country in picture["countries"]] == ["ALB", "ARG", "BRA"]
    assert picture["countries"][1] == {
        "country": "ARG", "responses": MINIMUM, "lesson_hours": 25.0, "escs": -1.0, "durecec": 1.0,
        "belong": -0.25, "both": MINIMUM,
    }  # fmt: skip
    means = ("lesson_hours", "escs", "durecec", "belong")
    assert [picture["countries"][2][name] for name in means] == [None] * 4
    assert (len(picture["hours"]), sum(hour["responses"] for hour in picture["hours"])) == (
        24,
        4 * MINIMUM - 1,
    )
    arg = next(source for source in picture["sources"] if source["source"] == "arg")
    assert {**arg, "read_at": None} == {
        "source": "arg", "country": "ARG", "way": "notify", "read_at": None, "lag_seconds": None,
        "problem": "away",
    }  # fmt: skip


def test_a_picture_that_is_known_is_not_sent_again(
    researcher: FlaskClient, figures: None, connection: Connection
) -> None:
    tag = researcher.get(PICTURE).headers["ETag"]
    again = researcher.get(PICTURE, headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    clear(connection)
    eventually(lambda: researcher.get(PICTURE, headers={"If-None-Match": tag}).status_code == 200)


def test_a_server_that_gives_no_connection_away_answers_with_the_picture_now(
    researcher: FlaskClient, figures: None
) -> None:
    answer = researcher.get(f"{PICTURE}/stream")
    assert answer.mimetype == "text/event-stream"
    assert answer.text.startswith("retry: ")
    assert "event: picture\nid: 6\ndata: {" in answer.text


def test_many_who_ask_at_once_cost_one_query(database_url: str, figures: None) -> None:
    borrowed = []

    @contextmanager
    def borrow() -> Iterator[Connection]:
        borrowed.append(1)
        with connect(database_url) as connection:
            yield connection

    pictures, together = LivePictures(borrow), threading.Barrier(12)

    def ask() -> int:
        together.wait(timeout=30)
        return pictures.current().version

    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask) for _ in range(12)]
        assert {future.result(timeout=60) for future in asked} == {6}
    assert sum(borrowed) == 1


def test_a_database_that_does_not_answer_one_holds_no_others_up() -> None:
    asked, answer = threading.Event(), threading.Event()

    @contextmanager
    def borrow() -> Iterator[Connection]:
        asked.set()
        answer.wait(timeout=60)
        raise DatabaseUnavailable("It is away.")
        yield

    pictures = LivePictures(borrow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(pictures.current)
        assert asked.wait(timeout=30)
        with pytest.raises(DatabaseUnavailable, match="somebody else"):
            pictures.current()
        answer.set()
        with pytest.raises(DatabaseUnavailable, match="It is away"):
            first.result(timeout=60)


def test_a_failure_is_told_to_all_who_ask_in_the_same_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_pictures, "_FAILURE_SECONDS", 3600.0)
    borrowed = []

    @contextmanager
    def borrow() -> Iterator[Connection]:
        borrowed.append(1)
        raise DatabaseUnavailable("It is away.")
        yield

    pictures = LivePictures(borrow)
    for _ in range(5):
        with pytest.raises(DatabaseUnavailable, match="It is away"):
            pictures.current()
    assert sum(borrowed) == 1


def test_metrics_tell_of_each_country_and_source(api: Flask, figures: None, connection: Connection) -> None:
    connection.execute("update live.sources set problem = 'away' where source = 'arg'")
    connection.execute(
        "insert into live.rejects (source, id, range_no, row_hash, issues) values ('alb', '7', 0, 0, '[]')"
    )
    shown = api.test_client().get("/metrics").text
    assert f'laurel_live_responses{{country="ARG"}} {MINIMUM}.0' in shown
    assert 'laurel_live_source_up{source="alb"} 1.0' in shown
    assert 'laurel_live_source_up{source="arg"} 0.0' in shown
    assert 'laurel_live_lag_seconds{source="alb"} 0.02' in shown
    assert 'laurel_live_rejects{source="alb"} 1.0' in shown
    assert 'laurel_live_age_seconds{source="bra"} ' in shown
    assert "laurel_live_viewers 0.0" in shown


def eventually(holds: Callable[[], bool]) -> None:
    """Pictures may be a quarter of a second old."""
    patience = threading.Event()
    for _ in range(600):
        if holds():
            return
        patience.wait(0.1)
    raise AssertionError("It did not come to hold.")
