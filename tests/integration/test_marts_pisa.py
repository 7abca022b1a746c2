"""Responses of PISA from uploads and country databases to `mart_pisa_countries`, counted by pandas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import psycopg
import pytest
from flask.testing import FlaskClient

from cli.demo_countries import Wanted, read_collectors, set_up, take_away
from demo.pisa_submissions import Shares, submit
from elt.disclosure import smallest_group
from elt.live.once import follow_once
from elt.live.opening import live_sources
from elt.live.picture import CountryFigures, read_picture
from elt.serving.provenance import provenance
from elt.settings import Settings
from elt.transforming.transform import TransformResult, transform
from elt.warehouse import Connection
from tests.conftest import MakeTemplate, PostgresServer, Sender
from tests.integration.sources_world import SourceWorld, source_world

__all__ = ["source_world"]

HEADER = "CNT,ID,ESCS,TMINS,BELONG,DURECEC,W_FSTUWT,Time Submitted\n"
MINIMUM = smallest_group("pisa_minimum_sample")
MEASURES = ("escs", "tmins", "belong", "durecec")
Build = Callable[[], TransformResult]


def lines(country: str, count: int, *, weights: int = 0, escs: int | None = None) -> str:
    """Responses with numbers from 1 on; the first ones have weights, the first ones an index."""
    return "".join(
        f"{country},{number},{number / 8 if escs is None or number <= escs else 'NA'},{number * 10},,"
        f"{number % 4},{number if number <= weights else ''},"
        f"2018-04-01T{number // 60:02}:{number % 60:02}:00Z\n"
        for number in range(1, count + 1)
    )


RESPONSES = (
    HEADER
    + lines("ALB", MINIMUM, weights=MINIMUM, escs=MINIMUM - 1)
    + lines("ARG", MINIMUM + 1, weights=MINIMUM)
    + lines("AUS", MINIMUM + 2)
    + lines("NA", 1, weights=1)
)


@pytest.fixture(scope="module")
def pisa_template(make_template: MakeTemplate, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with the marts of these responses."""
    from tests.small_school import build_school

    return make_template(
        "pisa_template",
        tmp_path_factory.mktemp("school"),
        lambda url, home: build_school(url, home, {"pisa_responses": RESPONSES}),
    )


@pytest.fixture
def template(pisa_template: str) -> str:
    return pisa_template


@pytest.fixture
def build(settings: Settings) -> Build:
    return lambda: transform(settings, uuid4())


def countries(connection: Connection, school: str = "main") -> dict[str, dict[str, Any]]:
    found = connection.execute("select * from marts.mart_pisa_countries where school_id = %s", (school,))
    return {row["country_code"]: row for row in found}


def test_means_are_weighted_where_all_responses_have_a_weight(connection: Connection) -> None:
    found = countries(connection)
    assert [(code, row["country_name"], row["response_count"]) for code, row in sorted(found.items())] == [
        ("ALB", "Albania", MINIMUM),
        ("ARG", "Argentina", MINIMUM + 1),
        ("AUS", "Australia", MINIMUM + 2),
        ("NA", "Namibia", 1),
    ]
    assert {code: row["is_weighted"] for code, row in found.items()} == {
        "ALB": True, "ARG": False, "AUS": False, "NA": True,
    }  # fmt: skip
    numbers = range(1, MINIMUM + 1)
    albania = found["ALB"]
    assert albania["tmins_mean"] == Decimal(sum(numbers) * 10) / MINIMUM
    weighted = Decimal(sum(n * n for n in numbers) * 10) / sum(numbers)
    assert albania["tmins_weighted_mean"] == round(weighted, 6)
    assert albania["weight_sum"] == sum(numbers)
    assert {
        found[code][name] for code in ("ARG", "AUS") for name in ("tmins_weighted_mean", "weight_sum")
    } == {None}
    assert found["ARG"]["tmins_mean"] == Decimal(sum(range(1, MINIMUM + 2)) * 10) / (MINIMUM + 1)
    assert albania["last_submitted_at"] == datetime(2018, 4, 1, 0, MINIMUM, tzinfo=UTC)


def test_no_mean_is_about_fewer_responses_than_the_minimum(connection: Connection) -> None:
    found = countries(connection)
    albania, namibia = found["ALB"], found["NA"]
    assert (albania["escs_count"], albania["escs_mean"], albania["escs_weighted_mean"]) == (
        MINIMUM - 1, None, None,
    )  # fmt: skip
    assert albania["durecec_mean"] is not None
    assert {namibia[f"{name}_mean"] for name in MEASURES} == {None}
    assert {row["minimum_sample"] for row in found.values()} == {MINIMUM}
    # No response has it at all.
    assert {
        (row["belong_count"], row["belong_mean"], row["durecec_and_belong_count"]) for row in found.values()
    } == {(0, None, 0)}


def test_analysts_see_the_mart_and_administrators_the_lines_behind_it(
    connection: Connection, client_of: Callable[..., FlaskClient]
) -> None:
    shown = client_of("analyst").get("/api/v1/marts/mart_pisa_countries?country_code=AUS").json
    assert [(row["response_count"], row["is_weighted"]) for row in shown] == [(MINIMUM + 2, False)]
    behind = provenance(
        connection, "mart_pisa_countries", {"school_id": "main", "country_code": "ALB"}, "tmins_mean"
    )
    assert behind.total == MINIMUM
    assert sum(line.values["tmins"] for line in behind.lines) == Decimal(behind.value) * MINIMUM


def test_the_real_extract_has_the_means_that_pandas_finds(
    sender: Sender, build: Build, shared_data: Path
) -> None:
    path = shared_data / "pisa2018/student_subset_2018.csv"
    upload_id = sender.hand_in(path.read_bytes(), "pisa_responses", school_id="oecd")
    assert sender.upload(upload_id).status == "loaded"
    build()
    found = countries(sender.connection, "oecd")
    file = pd.read_csv(path, keep_default_na=False, na_values=["", "NA"])
    assert set(found) == set(file["country"])
    for country, own in file.groupby("country"):
        row, known = found[str(country)], own.dropna(subset="escs")
        assert row["response_count"] == len(own)
        assert row["escs_count"] == len(known)
        assert row["is_weighted"] is bool(own["stu_wgt"].notna().all())
        assert float(row["weight_sum"]) == pytest.approx(own["stu_wgt"].sum())
        weighted = (known["escs"] * known["stu_wgt"]).sum() / known["stu_wgt"].sum()
        assert float(row["escs_mean"]) == pytest.approx(known["escs"].mean(), abs=1e-6)
        assert float(row["escs_weighted_mean"]) == pytest.approx(weighted, abs=1e-6)
        assert {row[f"{name}_mean"] for name in ("tmins", "belong", "durecec")} == {None}
    assert countries(sender.connection)["ALB"]["response_count"] == MINIMUM


def test_unknown_countries_and_times_ahead_are_quarantined_with_the_reason(sender: Sender) -> None:
    ahead, hardly = (datetime.now(UTC) + timedelta(minutes=minutes) for minutes in (60, 2))
    bad = (
        "ZZZ,1,0.5,60,,1,2,\n,2,0.5,60,,1,2,\nBEL,3,0.5,many,,1,2,\n"
        f"BEL,4,0.5,60,,1,2,{ahead:%FT%TZ}\nBEL,5,0.5,60,,1,2,{hardly:%FT%TZ}\n"
    )
    upload_id = sender.hand_in(HEADER + bad + lines("BGR", 90), "pisa_responses")
    upload = sender.upload(upload_id)
    assert (upload.status, upload.current.counts.rejected, upload.current.counts.accepted) == (
        "loaded",
        4,
        91,
    )
    found = sender.connection.execute(
        "select line, column_name, rule from ops.row_issues where upload_id = %s order by line", (upload_id,)
    )
    assert [tuple(row.values()) for row in found] == [
        (2, "cnt", "enum"), (3, "cnt", "required"), (4, "tmins", "type"), (5, "time_submitted", "ahead"),
    ]  # fmt: skip


def test_live_and_warehouse_come_to_the_same(
    postgres_server: PostgresServer, source_world: SourceWorld, build: Build
) -> None:
    """The same databases, followed into `live` and read into the marts, while things happen in them."""
    codes, server = ["BRA", "CAN", "CHE"], postgres_server.cluster.url(postgres_server.superuser_password)
    settings = source_world.settings
    try:
        set_up(settings, server, Wanted(codes, columns=12, responses=80, seed=3), lambda _: None)
        addresses = read_collectors(settings)
        for seed in (1, 2):
            shares = Shares(late=0.1, updates=0.3, deletes=0.1, bad=0.1)
            asyncio.run(submit(addresses, 60, 1.5, seed, lambda _: None, shares))
            for source in live_sources(settings):
                assert follow_once(settings, source.name).rows > 0
                source_world.sync(source.name)
            build()
            picture = {each.country: each for each in read_picture(source_world.connection).countries}
            marts = countries(source_world.connection)
            for code in codes:
                compare(picture[code], marts[code], counted(addresses[code]))
    finally:
        take_away(settings, server)


def compare(live: CountryFigures, mart: dict[str, Any], expected: dict[str, float]) -> None:
    """Both are what the country's database comes to."""
    assert live.responses == mart["response_count"] == expected["responses"]
    assert live.both == mart["durecec_and_belong_count"]
    assert live.lesson_hours is not None
    means = {
        "escs": live.escs, "tmins": live.lesson_hours * 60, "belong": live.belong, "durecec": live.durecec,
    }  # fmt: skip
    for name, mean in means.items():
        assert mean == pytest.approx(expected[name]), name
        assert float(mart[f"{name}_mean"]) == pytest.approx(expected[name], abs=1e-6), name
    assert mart["is_weighted"] is True


def counted(address: str) -> dict[str, float]:
    """What a country's database comes to, without the rows whose minutes are words."""
    with psycopg.connect(address) as connection:
        rows = connection.execute(
            "select escs, nullif(tmins, 'NA'), belong, durecec from responses where tmins <> 'many'"
        ).fetchall()
    frame = pd.DataFrame(rows, columns=list(MEASURES)).astype(float)
    return {"responses": len(frame), **frame.mean().to_dict()}
