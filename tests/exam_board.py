"""The exam boards' API for tests: a real server on the loopback address, with records that a test writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.exam_faults import Fault, FaultKind, FaultQueue
from demo.exam_server import create_exam_app, serve_in_background
from demo.exams import FIRST_SCHOOL_EXAM_ID, SAT_COLUMNS, WAEC_COLUMNS, write_records

SCHOOL = FIRST_SCHOOL_EXAM_ID


@dataclass(frozen=True)
class ExamBoard:
    """A running server. What is published later is given out by the next answer."""

    url: str
    records: Path
    faults: FaultQueue

    def publish_waec(self, *grades: tuple[int, str, str, str], school: int = SCHOOL) -> None:
        """All WAEC records there are from now on: year, exam number, subject, grade."""
        rows = [(school, number, subject, grade, year) for year, number, subject, grade in grades]
        write_records(self.records / "waec_records.csv", WAEC_COLUMNS, rows)

    def publish_sat(self, *scores: tuple[int, str, int], school: int = SCHOOL) -> None:
        """All SAT scores there are from now on: year, registration number, score."""
        rows = [(school, number, year, score) for year, number, score in scores]
        write_records(self.records / "sat_scores.csv", SAT_COLUMNS, rows)

    def fail(self, kind: FaultKind, times: int = 1, seconds: float = 0) -> None:
        """Let the next answers go wrong."""
        self.faults.add(Fault(kind, times, seconds))


@contextmanager
def run_exam_board(records: Path, api_key: str | None = None) -> Iterator[ExamBoard]:
    """Serve a folder of records; without files there are no results yet."""
    records.mkdir(exist_ok=True)
    for name, columns in (("waec_records.csv", WAEC_COLUMNS), ("sat_scores.csv", SAT_COLUMNS)):
        if not (records / name).exists():
            write_records(records / name, columns, [])
    app = create_exam_app(records, api_key=api_key, allow_faults=True)
    with serve_in_background(app) as url:
        yield ExamBoard(url, records, app.extensions["exam_faults"])


MakeExamBoard = Callable[..., ExamBoard]
