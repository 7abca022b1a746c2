"""Generated academic history of any size: no key twice, bad rows exactly where it says."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from demo import history
from demo.history import write_academic_history
from elt.contracts import get_contract, match_header

KEY = ["School ID", "Student ID", "Academic Year", "Grade Level", "Subject", "Term"]


def read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False).with_row_index("line", offset=2)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks even in a small file."""
    monkeypatch.setattr(history, "_BLOCK_ROWS", 2 * 180)


def test_every_key_occurs_once_across_blocks_and_files(tmp_path: Path, small_blocks: None) -> None:
    write_academic_history(tmp_path / "a.csv", 1_500)
    write_academic_history(tmp_path / "b.csv", 1_500, first_student=9)
    rows = pl.concat([read(tmp_path / "a.csv"), read(tmp_path / "b.csv")])
    assert len(rows) == 3_000
    assert rows.select(KEY).n_unique() == 3_000
    assert rows.select(pl.any_horizontal(pl.col(*KEY).is_null()).any()).item() is False


def test_the_header_is_the_contracts(tmp_path: Path) -> None:
    write_academic_history(tmp_path / "a.csv", 10)
    header = (tmp_path / "a.csv").read_text("utf-8").splitlines()[0].split(",")
    match = match_header(get_contract("academic_history"), header)
    assert (match.issues, match.columns) == ([], get_contract("academic_history").columns)


def test_bad_rows_are_where_the_list_says_and_nowhere_else(tmp_path: Path, small_blocks: None) -> None:
    bad = write_academic_history(tmp_path / "a.csv", 1_000, bad_share=0.05)
    rows = read(tmp_path / "a.csv")
    score = pl.col("Test Score").cast(pl.Int64, strict=False)
    checks = {
        "out_of_range": pl.col("Attendance").cast(pl.Int64) > 100,
        "not_a_number": score.is_null(),
        "missing": pl.col("Student ID").is_null(),
        "unknown_value": pl.col("Term") == "Fourth Term",
        "wrong_sum": score + pl.col("Exam Score").cast(pl.Int64) != pl.col("Total Score").cast(pl.Int64),
    }
    assert len(bad) == 50
    for kind, check in checks.items():
        lines = rows.filter(check.fill_null(False))["line"].to_list()
        assert lines == [row.line for row in bad if row.kind == kind], kind


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_academic_history(tmp_path / name, 500, seed=seed, bad_share=0.01)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()
