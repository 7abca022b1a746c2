"""The boards' API over HTTP: faults on the wire, the demo school's records, the command that serves them."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.school import write_demo_school
from tests.exam_board import SCHOOL, MakeExamBoard

KEY = "a-key-for-tests"
WAEC = f"/get-waec-records?school_exam_id={SCHOOL}&exam_year=2021"


def get(url: str, **options: object) -> httpx.Response:
    return httpx.get(url, trust_env=False, **{"timeout": 90, **options})  # type: ignore[arg-type]


def test_records_are_served_as_they_are_published(make_exam_board: MakeExamBoard) -> None:
    board = make_exam_board(api_key=KEY)
    headers = {"X-API-Key": KEY}
    assert get(board.url + WAEC).status_code == 401
    assert get(board.url + WAEC, headers=headers).status_code == 404
    board.publish_waec((2021, f"{SCHOOL}001", "English", "B2"), (2020, f"{SCHOOL}001", "English", "F9"))
    answer = get(board.url + WAEC, headers=headers).json()
    assert [each["subject_grade"] for each in answer["data"]] == ["B2"]


def test_a_cut_answer_breaks_off_on_the_wire_and_the_next_is_whole(make_exam_board: MakeExamBoard) -> None:
    board = make_exam_board()
    board.publish_waec((2021, f"{SCHOOL}001", "English", "B2"))
    board.fail("cut")
    with pytest.raises(httpx.RemoteProtocolError):
        get(board.url + WAEC)
    assert get(board.url + WAEC).json()["total"] == 1


def test_a_slow_answer_keeps_nobody_else_waiting(make_exam_board: MakeExamBoard) -> None:
    board = make_exam_board()
    board.publish_waec((2021, f"{SCHOOL}001", "English", "B2"))
    board.fail("slow", seconds=3600)
    with pytest.raises(httpx.ReadTimeout):
        get(board.url + WAEC, timeout=httpx.Timeout(90, read=0.3))
    assert get(board.url + WAEC).status_code == 200


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the boards know of a demo school's former students."""
    folder = tmp_path_factory.mktemp("school")
    write_demo_school(folder, seed=3, students=300)
    return folder / "exam_board"


def test_the_demo_schools_numbers_start_again_every_year(records: Path) -> None:
    rows = list(csv.DictReader((records / "waec_records.csv").open()))
    candidates = {(row["exam_year"], row["exam_number"]) for row in rows}
    assert {year for year, _ in candidates} == {"2023", "2024", "2025", "2026"}
    assert len({number for _, number in candidates}) < len(candidates)
    for school in ("4123456", "4123457", "4123458"):
        numbers = sorted(
            number for year, number in candidates if year == "2026" and number.startswith(school)
        )
        assert numbers == [f"{school}{rank:03}" for rank in range(1, len(numbers) + 1)]
    assert set(Counter((row["exam_year"], row["exam_number"]) for row in rows).values()) == {9}  # subjects


def test_the_demo_schools_grades_follow_ability(records: Path) -> None:
    points = {
        grade: 9 - place for place, grade in enumerate(("A1", "B2", "B3", "C4", "C5", "C6", "D7", "E8", "F9"))
    }
    by_candidate: dict[tuple[str, str], list[int]] = {}
    for row in csv.DictReader((records / "waec_records.csv").open()):
        by_candidate.setdefault((row["exam_year"], row["exam_number"]), []).append(
            points[row["subject_grade"]]
        )
    means = [sum(each) / len(each) for each in by_candidate.values()]
    # Nine subjects drawn without regard to the candidate would lie far closer together.
    assert max(means) - min(means) > 3
    assert all(
        400 <= int(row["sat_score"]) <= 1600 for row in csv.DictReader((records / "sat_scores.csv").open())
    )


def test_the_demo_schools_records_can_be_served_as_they_are(
    records: Path, make_exam_board: MakeExamBoard
) -> None:
    board = make_exam_board(records)
    for path in ("/get-waec-records?school_exam_id=", "/get-sat-scores?ceeb_code="):
        answer = get(f"{board.url}{path}{SCHOOL}&exam_year=2025&limit=1000").json()
        assert answer["records"] == answer["total"] > 0


@pytest.fixture
def served(records: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`laurel exam-server` with a key, and the address that it prints."""
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    command = [sys.executable, "-m", "cli.main", "exam-server", "--port", "0", "--records", str(records)]
    process = subprocess.Popen(
        [*command, "--api-key-file", str(key_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = re.search(r"http://[0-9.:]+", process.stdout.readline())
        assert address is not None
        yield process, address[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_command_serves_until_it_is_interrupted(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    path = f"{address}/get-sat-scores?ceeb_code={SCHOOL}&exam_year=2025"
    assert get(path).status_code == 401
    assert get(path, headers={"X-API-Key": KEY}).status_code == 200
    assert get(f"{address}/faults", headers={"X-API-Key": KEY}).status_code == 404
    process.send_signal(2)
    assert process.wait(timeout=90) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "set a key with --api-key-file"),
        (["--api-key-file", "empty"], "empty is empty; expected a key"),
        (["--api-key-file", "nowhere"], "cannot be read from nowhere"),
        (["--records", "."], r"no \*\.csv"),
        (["--port", "TAKEN"], r"cannot be listened on\. Choose another port"),
    ],
)
def test_what_cannot_be_served_is_refused_with_what_to_do(
    records: Path, tmp_path: Path, make_exam_board: MakeExamBoard, arguments: list[str], says: str
) -> None:
    (tmp_path / "empty").touch()
    taken = make_exam_board().url.rpartition(":")[2]
    arguments = [taken if argument == "TAKEN" else argument for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "exam-server", "--records", str(records), *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert re.search(says, " ".join(done.stderr.split()))
