"""Examination boards' results over HTTP, from the boards' API as it is: pages, faults, changes, years."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from elt.errors import SourceFault, SourceUnavailable
from tests.exam_board import SCHOOL, ExamBoard
from tests.integration.sources_world import Rows, SourceWorld, source_world

__all__ = ["source_world"]

Configure = Callable[..., None]
YEAR_2019 = [(2019, f"{SCHOOL}{n:03}", "Mathematics", "B3") for n in range(1, 8)]


@pytest.fixture
def board(make_exam_board: Callable[..., ExamBoard], source_world: SourceWorld) -> ExamBoard:
    """A board without results yet, and a source that reads it."""
    board = make_exam_board()
    configure(source_world, board)
    return board


def configure(world: SourceWorld, board: ExamBoard, **described: object) -> None:
    world.configure(
        "exams",
        board.url,
        kind="exam_results",
        parameters={"school_exam_id": SCHOOL, "ceeb_code": SCHOOL},
        private_network=True,
        **described,
    )


def live(world: SourceWorld) -> Rows:
    return world.live("exam_results", "exam", "exam_year", "exam_number", "subject", "grade", "score")


def test_every_year_that_the_board_has_is_read_and_numbers_that_return_stay_apart(
    source_world: SourceWorld, board: ExamBoard
) -> None:
    board.publish_waec(*YEAR_2019, (2021, f"{SCHOOL}001", "Mathematics", "F9"))
    board.publish_sat((2020, "S1", 980), (2021, "S1", 1210))
    assert source_world.sync("exams").changed == 10
    rows = live(source_world)
    assert ("SAT", 2020, "S1", "Overall", None, 980) in rows
    assert [row[1:3] + row[4:5] for row in rows if row[2] == f"{SCHOOL}001"] == [
        (2019, f"{SCHOOL}001", "B3"),
        (2021, f"{SCHOOL}001", "F9"),
    ]
    assert source_world.sync("exams").uploads == []


def test_results_that_change_or_are_withdrawn_follow(source_world: SourceWorld, board: ExamBoard) -> None:
    board.publish_waec(*YEAR_2019)
    source_world.sync("exams")
    board.publish_waec(*YEAR_2019[2:], (2019, YEAR_2019[0][1], "Mathematics", "A1"))
    report = source_world.sync("exams")
    assert (report.changed, report.removed) == (1, 1)
    assert [row[4] for row in live(source_world)] == ["A1"] + ["B3"] * 5


def test_pages_are_read_to_the_end(
    source_world: SourceWorld, board: ExamBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.publish_waec(*((2019, f"{n:07}", "English", "C4") for n in range(1203)))
    source_world.sync("exams")
    assert len(live(source_world)) == 1203


@pytest.mark.parametrize("kind", ["too_many_requests", "unavailable", "cut", "slow"])
def test_what_can_pass_is_asked_again(source_world: SourceWorld, board: ExamBoard, kind: str) -> None:
    board.publish_waec(*YEAR_2019)
    board.fail(kind, times=2, seconds=0)  # type: ignore[arg-type]
    source_world.sync("exams")
    assert len(live(source_world)) == 7


def test_a_total_that_grows_between_pages_starts_again_from_the_first(
    source_world: SourceWorld, board: ExamBoard
) -> None:
    board.publish_waec(*((2000, f"{n:07}", "English", "C4") for n in range(1100)))
    board.fail("growing")  # the first page does not know the last record yet
    source_world.sync("exams")
    assert len({row[2] for row in live(source_world)}) == 1100


def test_a_board_that_is_away_fails_by_name_and_takes_nothing_out(
    source_world: SourceWorld, board: ExamBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.publish_waec(*YEAR_2019)
    board.publish_sat((2020, "S1", 980))
    source_world.sync("exams")
    monkeypatch.setattr("elt.sources.http._ATTEMPTS", 2)
    board.fail("unavailable", times=1000)
    with pytest.raises(SourceUnavailable, match=r"Source exams: .* answers 503"):
        source_world.read("exams")
    board.faults.clear()
    assert source_world.sync("exams").uploads == []
    assert len(live(source_world)) == 8


def test_a_key_is_sent_and_a_wrong_one_is_said_without_being_shown(
    source_world: SourceWorld, make_exam_board: Callable[..., ExamBoard], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = make_exam_board(api_key="right-key-for-tests")
    board.publish_sat((2020, "S1", 980))
    configure(source_world, board, key="EXAM_KEY_FOR_TESTS")
    monkeypatch.setenv("EXAM_KEY_FOR_TESTS", "wrong-key-for-tests")
    with pytest.raises(SourceFault, match="answers 401: the key is missing or wrong") as caught:
        source_world.read("exams")
    assert "wrong-key" not in caught.value.detail
    monkeypatch.setenv("EXAM_KEY_FOR_TESTS", "right-key-for-tests")
    assert source_world.sync("exams").changed == 1


def test_an_address_inside_our_own_network_is_called_only_when_that_is_said(
    source_world: SourceWorld, board: ExamBoard
) -> None:
    source_world.configure(
        "exams", board.url, kind="exam_results", parameters={"school_exam_id": 1, "ceeb_code": 1}
    )
    with pytest.raises(SourceFault, match="inside our own network"):
        source_world.read("exams")


def test_a_parameter_that_is_missing_is_named(source_world: SourceWorld, board: ExamBoard) -> None:
    source_world.configure("exams", board.url, kind="exam_results", private_network=True)
    with pytest.raises(SourceFault, match="needs the parameter school_exam_id; set it under `parameters`"):
        source_world.read("exams")


def test_all_results_gone_are_not_believed_until_a_person_says_so(
    source_world: SourceWorld, board: ExamBoard
) -> None:
    board.publish_waec(*((2019, f"{n:07}", "English", "C4") for n in range(300)))
    source_world.sync("exams")
    board.publish_waec()
    with pytest.raises(SourceFault, match="300 of the 300 rows of /get-waec-records are gone"):
        source_world.read("exams")
    assert source_world.sync("exams", accept_removals=True).removed == 300
    assert live(source_world) == []


def test_an_api_that_ignores_paging_gives_each_record_once(
    source_world: SourceWorld, board: ExamBoard
) -> None:
    """As the first system's did: its skip and limit did nothing."""
    from flask import Flask, jsonify, request

    from demo.exam_server import serve_in_background

    app = Flask("unpaged")

    @app.get("/results")
    def results() -> object:
        if request.args["exam_year"] != "2020":
            return jsonify(detail="none"), 404
        data = [{"exam_year": 2020, "number": f"{n}", "points": 900 + n} for n in range(60)]
        return jsonify(status="success", records=len(data), data=data)

    with serve_in_background(app) as url:
        source_world.configure(
            "unpaged", url, private_network=True,
            kind={
                "title": "A board that gives all at once",
                "requests": [
                    {
                        "path": "/results", "dataset": "exam_results", "year": "exam_year",
                        "years_from": 2019, "paging": {"offset": "skip", "size": "limit", "rows": 20},
                        "columns": {"exam_number": "number", "score": "points"},
                        "constants": {"exam": "SAT", "subject": "Overall"},
                    }
                ],
            },
        )  # fmt: skip
        assert source_world.sync("unpaged").changed == 60
    assert len(live(source_world)) == 60
