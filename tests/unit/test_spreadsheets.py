"""Guarding cells against being calculated loses nothing."""

from __future__ import annotations

import re

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elt.reading.spreadsheets import GUARDED, guard, unguard

CELLS = st.text(alphabet="'=+-@\t\r\n＝1.e5aA ,", max_size=8)


@settings(deadline=None)
@given(CELLS)
def test_what_was_guarded_comes_back_exactly(cell: str) -> None:
    assert unguard(guard(cell)) == cell


@settings(deadline=None)
@given(CELLS)
def test_nothing_that_begins_a_formula_is_left_unless_it_is_a_number(cell: str) -> None:
    shown = guard(cell)
    is_number = re.fullmatch(r"[+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?", shown)
    assert shown[:1] not in tuple("=+-@\t\r\n＝＋－＠") or is_number


@settings(deadline=None)
@given(st.lists(CELLS, min_size=1))
def test_polars_and_arrow_take_guards_away_as_python_does(cells: list[str]) -> None:
    guarded = [guard(cell) for cell in cells]
    assert pl.Series(guarded).str.replace(GUARDED, "${1}").to_list() == cells
    assert pc.replace_substring_regex(pa.array(guarded), GUARDED, r"\1").to_pylist() == cells


@pytest.mark.parametrize("cell", ["-5", "+2.5", "-.5e3", "+2348012345678", "", "a=b", "12-3"])
def test_numbers_and_other_texts_stay(cell: str) -> None:
    assert guard(cell) == cell
