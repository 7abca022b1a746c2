"""What was read of country databases becomes rows and running sums, exact in whatever order it comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg.rows import dict_row

from elt.live import CHANNEL
from elt.live.apply import Applied, Reading, apply, recount
from elt.live.changes import Changes, LiveRow
from elt.live.check import CheckedRows, RowChecker
from elt.warehouse import AsyncConnection, Connection

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
T = TypeVar("T")
Run = Callable[[Callable[[AsyncConnection], Awaitable[T]]], T]


@pytest.fixture
def run(database_url: str) -> Run[Any]:
    """Runs something with a connection of its own."""

    def run_with(work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async def connected() -> T:
            connection = await psycopg.AsyncConnection.connect(
                database_url, autocommit=True, row_factory=dict_row
            )
            async with connection:
                return await work(connection)

        return asyncio.run(connected())

    return run_with


@pytest.fixture(scope="module")
def checker() -> RowChecker:
    return RowChecker()


@pytest.fixture(autouse=True)
def _sources(connection: Connection) -> None:
    for source in ("alb", "arg"):
        connection.execute(
            "insert into live.sources (source, country, way) values (%s, %s, 'notify')",
            (source, source.upper()),
        )


def row(number: int, cnt: str | None = "ALB", *, hash_: int | None = None, **cells: str | None) -> LiveRow:
    values = {"escs": "0.1", "tmins": "1500", "belong": None, "durecec": "3", "w_fstuwt": None, "time": None}
    values |= cells
    texts = (cnt, str(number), *(values[name] for name in values))
    return LiveRow(
        str(number), number // 1000, hash(texts) >> 1 & (2**62 - 1) if hash_ is None else hash_, texts
    )


def read(
    connection: Connection, checker: RowChecker, source: str, rows: Iterable[LiveRow],
    *, gone: Iterable[int] = (), ranges: Iterable[int] = (), snapshot: str | None = None,
) -> Reading:  # fmt: skip
    rows = list(rows)
    found = connection.execute("select reading from live.sources where source = %s", (source,)).fetchone()
    assert found is not None
    ids = frozenset(each.id for each in rows) | frozenset(map(str, gone))
    changes = Changes(rows, ids, frozenset(ranges), snapshot)
    return Reading(source, found["reading"], changes, check(checker, source, rows))


def check(checker: RowChecker, source: str, rows: list[LiveRow]) -> CheckedRows:
    return checker.check({source: rows}, {source: source.upper()}, NOW)[source]


def sums(connection: Connection) -> dict[str, dict[str, Any]]:
    found = connection.execute("select * from live.countries").fetchall()
    return {each["source"]: each for each in found}


def test_sums_follow_new_changed_and_gone_rows(
    connection: Connection, run: Run[Applied], checker: RowChecker
) -> None:
    first = read(connection, checker, "alb", [row(1, escs="0.1"), row(2, escs="0.2", belong="-1.5")])
    assert run(lambda c: apply(c, [first])) == Applied(1, frozenset())
    found = sums(connection)["alb"]
    assert (found["responses"], found["escs_sum"], found["belong_n"], found["both_n"]) == (
        2,
        Decimal("0.3"),
        1,
        1,
    )

    second = read(connection, checker, "alb", [row(1, escs="0.4")], gone=[2])
    run(lambda c: apply(c, [second]))
    found = sums(connection)["alb"]
    assert (found["responses"], found["escs_sum"], found["belong_n"], found["both_n"]) == (
        1,
        Decimal("0.4"),
        0,
        0,
    )

    last = read(connection, checker, "alb", [], gone=[1])
    run(lambda c: apply(c, [last]))
    assert sums(connection) == {}
    assert connection.execute("select from live.hours").fetchall() == []


def test_what_is_as_it_was_changes_no_version(
    connection: Connection, run: Run[Applied], checker: RowChecker
) -> None:
    assert run(lambda c: apply(c, [read(connection, checker, "alb", [row(1)])])).version == 1
    assert run(lambda c: apply(c, [read(connection, checker, "alb", [row(1)])])).version is None


def test_a_range_that_was_read_whole_loses_what_is_not_in_it(
    connection: Connection, run: Run[Applied], checker: RowChecker
) -> None:
    rows = [row(1), row(999), row(1000), row(1, "XXX"), row(7, "XXX")]
    run(lambda c: apply(c, [read(connection, checker, "alb", rows)]))
    run(lambda c: apply(c, [read(connection, checker, "alb", [row(1)], ranges=[0], snapshot="1:1:")]))
    known = connection.execute("select id from live.responses order by id").fetchall()
    assert [each["id"] for each in known] == ["1", "1000"]
    assert connection.execute("select from live.rejects").fetchall() == []
    state = connection.execute("select snapshot, reading from live.sources where source = 'alb'").fetchone()
    assert state == {"snapshot": "1:1:", "reading": 2}


def test_a_row_that_moved_to_another_range_counts_once(
    connection: Connection, run: Run[Any], checker: RowChecker
) -> None:
    """As by a comparison after the key became a text, before the former range is looked at."""
    run(lambda c: apply(c, [read(connection, checker, "alb", [row(1), row(2), row(3)])]))
    moved = [replace(each, range_no=77) for each in (row(1), row(2, escs="0.5"), row(3, "XXX"))]
    compared = read(connection, checker, "alb", moved, ranges=[77])
    run(lambda c: apply(c, [replace(compared, changes=replace(compared.changes, ids=frozenset()))]))
    assert sums(connection)["alb"]["responses"] == 2
    assert sums(connection)["alb"]["escs_sum"] == Decimal("0.6")
    assert run(recount) == []


def test_only_a_snapshot_says_that_nothing_newer_is_there(
    connection: Connection, run: Run[Applied], checker: RowChecker
) -> None:
    seen = "select read_at is null as never, snapshot from live.sources where source = 'alb'"
    run(lambda c: apply(c, [read(connection, checker, "alb", [row(1)])]))
    assert connection.execute(seen).fetchone() == {"never": True, "snapshot": None}
    run(lambda c: apply(c, [read(connection, checker, "alb", [], snapshot="1:1:")]))
    assert connection.execute(seen).fetchone() == {"never": False, "snapshot": "1:1:"}


def test_a_reading_that_another_follower_was_faster_with_is_left_out(
    connection: Connection, run: Run[Applied], checker: RowChecker
) -> None:
    ours = read(connection, checker, "alb", [row(1, escs="9")])
    theirs = read(connection, checker, "alb", [row(1, escs="1")])
    other = read(connection, checker, "arg", [row(5, "ARG")])
    run(lambda c: apply(c, [theirs]))
    applied = run(lambda c: apply(c, [ours, other]))
    assert applied.late == {"alb"}
    assert sums(connection)["alb"]["escs_sum"] == 1
    assert sums(connection)["arg"]["responses"] == 1


def test_listeners_hear_the_version_once_it_is_there(
    connection: Connection, database_url: str, run: Run[Applied], checker: RowChecker
) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"listen {CHANNEL}")
        applied = run(lambda c: apply(c, [read(connection, checker, "alb", [row(1)])]))
        (heard,) = listener.notifies(timeout=90, stop_after=1)
        shown = listener.execute("select version from live.version").fetchone()
        assert (heard.payload, shown) == (str(applied.version), (applied.version,))


def test_rows_that_do_not_count_say_why_and_never_with_what(
    connection: Connection, run: Run[Applied], checker: RowChecker
) -> None:
    later = (NOW + timedelta(hours=1)).isoformat()
    rows = [
        row(1), row(2, None), row(3, "Albania"), row(4, "ARG"), row(5, escs="much"), row(6, time=later),
        row(7, escs="NA"), row(8, escs="0.5"), row(8, escs="0.4"),
    ]  # fmt: skip
    run(lambda c: apply(c, [read(connection, checker, "alb", rows)]))
    rejects = connection.execute("select id, issues from live.rejects order by id, place").fetchall()
    assert [(each["id"], each["issues"][0]["column"], each["issues"][0]["rule"]) for each in rejects] == [
        ("2", "cnt", "required"), ("3", "cnt", "enum"), ("4", "cnt", "other_country"),
        ("5", "escs", "type"), ("6", "time_submitted", "ahead"), ("8", "id", "repeated"),
    ]  # fmt: skip
    assert "much" not in repr(rejects)
    found = sums(connection)["alb"]
    assert (found["responses"], found["escs_n"], found["escs_sum"]) == (3, 2, Decimal("0.5"))


def test_ids_may_have_any_character(connection: Connection, run: Run[Applied], checker: RowChecker) -> None:
    ids = ['a"b\\c', "NULL", "{}", "", "é,\n"]
    rows = [replace(row(1, escs="much"), id=id) for id in ids]
    run(lambda c: apply(c, [read(connection, checker, "alb", rows)]))
    kept = connection.execute("select id from live.rejects").fetchall()
    assert sorted(each["id"] for each in kept) == sorted(ids)
    gone = read(connection, checker, "alb", [])
    gone = replace(gone, changes=replace(gone.changes, ids=frozenset(ids[:3])))
    run(lambda c: apply(c, [gone]))
    kept = connection.execute("select id from live.rejects").fetchall()
    assert sorted(each["id"] for each in kept) == sorted(ids[3:])


def test_of_a_repeated_id_the_same_row_counts_in_whatever_order_they_come(
    checker: RowChecker,
) -> None:
    rows = [row(8, escs="0.5"), row(8, escs="0.4"), row(8, escs="0.6"), row(8, escs="0.4")]
    chosen = set()
    for order in (rows, rows[::-1], rows[1:] + rows[:1]):
        checked = check(checker, "alb", order)
        chosen.add(tuple(each.cells for each in checked.accepted))
        assert [each.place for each in checked.rejected] == [1, 2, 3]
    assert len(chosen) == 1


def test_a_corrected_row_counts_and_a_spoilt_one_does_not_any_more(
    connection: Connection, run: Run[Any], checker: RowChecker
) -> None:
    run(lambda c: apply(c, [read(connection, checker, "alb", [row(1), row(2, escs="much")])]))
    run(lambda c: apply(c, [read(connection, checker, "alb", [row(1, escs="much"), row(2)])]))
    assert [each["id"] for each in connection.execute("select id from live.responses").fetchall()] == ["2"]
    assert [each["id"] for each in connection.execute("select id from live.rejects").fetchall()] == ["1"]
    assert run(recount) == []


def test_a_row_without_a_time_keeps_the_one_when_it_was_first_seen(
    connection: Connection, run: Run[Applied], checker: RowChecker
) -> None:
    run(lambda c: apply(c, [read(connection, checker, "alb", [row(1)])]))
    before = connection.execute("select submitted_at from live.responses").fetchone()
    run(lambda c: apply(c, [read(connection, checker, "alb", [row(1, escs="2")])]))
    assert connection.execute("select submitted_at from live.responses").fetchone() == before
    run(lambda c: apply(c, [read(connection, checker, "alb", [row(1, time="2018-04-12T09:30:00+00:00")])]))
    hours = connection.execute("select hour, responses from live.hours").fetchall()
    assert hours == [{"hour": datetime(2018, 4, 12, 9, tzinfo=UTC), "responses": 1}]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_any_sequence_the_sums_are_those_of_a_recount(
    connection: Connection, run: Run[Any], checker: RowChecker, seed: int
) -> None:
    """Some readings are applied twice, some not because another was faster, and some end a comparison."""
    dice = random.Random(seed)
    truth: dict[str, dict[int, LiveRow]] = {"alb": {}, "arg": {}}

    def change(source: str) -> set[int]:
        touched = set()
        for _ in range(dice.randrange(1, 12)):
            number = dice.randrange(40) * dice.choice([1, 100])
            touched.add(number)
            if dice.random() < 0.2:
                truth[source].pop(number, None)
                continue
            truth[source][number] = row(
                number, dice.choice([source.upper()] * 8 + [None, "ZZZ"]),
                escs=dice.choice(["0.1", "-2.3333", "NA", "x", None]), belong=dice.choice(["1.5", None]),
                durecec=dice.choice(["2", None]),
                time=dice.choice([None, "2026-11-12T10:00:00Z", "2018-01-01T00:00:00Z"]),
            )  # fmt: skip
        return touched

    async def sequence(c: AsyncConnection) -> None:
        for _ in range(40):
            readings = []
            for source in dice.sample(sorted(truth), dice.randrange(1, 3)):
                touched = change(source)
                if dice.random() < 0.3:
                    ranges = {number // 1000 for number in (*truth[source], *touched)} | set(range(5))
                    readings.append(read(connection, checker, source, truth[source].values(), ranges=ranges))
                    continue
                rows = [truth[source][number] for number in touched if number in truth[source]]
                readings.append(read(connection, checker, source, rows, gone=touched))
            await apply(c, readings)
            if dice.random() < 0.3:
                assert (await apply(c, readings)).late == {each.source for each in readings}
                again = [replace(each, reading=each.reading + 1) for each in readings]
                assert (await apply(c, again)).version is None

    run(sequence)
    assert run(recount) == []
    for source, rows in truth.items():
        expected = check(checker, source, list(rows.values()))
        known = connection.execute("select id from live.responses where source = %s", (source,)).fetchall()
        assert {each["id"] for each in known} == {each.id for each in expected.accepted}
        rejects = connection.execute("select id from live.rejects where source = %s", (source,)).fetchall()
        assert {each["id"] for each in rejects} == {each.row.id for each in expected.rejected}


def test_a_recount_finds_what_somebody_else_changed(
    connection: Connection, run: Run[Any], checker: RowChecker
) -> None:
    run(lambda c: apply(c, [read(connection, checker, "alb", [row(1), row(2)])]))
    assert run(recount) == []
    connection.execute("delete from live.responses where id = '1'")
    assert run(recount) == ["alb, ALB: the hours differ", "alb, ALB: the sums differ"]
