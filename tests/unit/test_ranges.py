"""Where files are cut: at ends of records, with the line of each, or not at all."""

from __future__ import annotations

import hashlib
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elt.errors import UploadRejected
from elt.reading.ranges import Range, can_be_cut, find_ranges
from elt.reading.reader import Detected, ReadOptions, read_blocks, read_range


def cut(content: bytes, size: int, window: int = 64, **options: str) -> tuple[Detected, list[Range]]:
    stated = ReadOptions(**{"delimiter": ",", **options})
    detected, _ = read_blocks(io.BytesIO(content), stated)
    return detected, find_ranges(io.BytesIO(content), detected, range_bytes=size, window_bytes=window)


def rows_in_ranges(content: bytes, detected: Detected, ranges: list[Range]) -> pl.DataFrame:
    """Rows and faults of all ranges but the first, each read by itself in small blocks."""
    frames = []
    for each in ranges[1:]:
        stream = io.BytesIO(content[each.start : each.start + each.length])
        for block in read_range(stream, detected, line=each.line, block_bytes=50):
            lines = pl.concat([block.frame["_line"], block.faults["line"]])
            frames.append(lines.to_frame("line"))
    return pl.concat(frames)


def test_ranges_follow_each_other_and_each_has_its_digest() -> None:
    content = b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(1000))
    _, ranges = cut(content, 1000)

    pieces = [content[each.start : each.start + each.length] for each in ranges]
    assert len(ranges) == 6
    assert b"".join(pieces) == content
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert [hashlib.sha256(piece).hexdigest() for piece in pieces] == [each.sha256 for each in ranges]
    assert [each.line for each in ranges] == [1 + content[: each.start].count(b"\n") for each in ranges]


def test_a_line_end_within_quotes_is_no_end() -> None:
    content = b"a,b\n" + b'1,"x\ny\n"\n' * 50
    _, ranges = cut(content, 100)
    assert len(ranges) > 3
    for each in ranges[1:]:
        assert content[each.start :].startswith(b'1,"x')
        assert (each.line - 2) % 3 == 0


@settings(max_examples=200, deadline=None)
@given(
    cells=st.lists(
        st.sampled_from(["", "1", '"\n"', '"a""b"', '"\r\n,"', "é", "\0", '""', "x" * 30]), min_size=1
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    size=st.integers(1, 200),
)
def test_each_row_is_read_once_with_its_line(cells: list[str], end: str, mark: bool, size: int) -> None:
    lines = ["a,b", *(f"{cell},1" for cell in cells * 10)]
    content = (("\ufeff" if mark else "") + end.join(lines)).encode()
    detected, ranges = cut(content, size, window=100)
    if len(ranges) < 2:
        return
    found = rows_in_ranges(content, detected, ranges)
    whole = pl.concat(
        pl.concat([block.frame["_line"], block.faults["line"]])
        for block in read_blocks(io.BytesIO(content), ReadOptions(delimiter=","))[1]
    )
    assert found["line"].sort().to_list() == whole.filter(whole >= ranges[1].line).sort().to_list()
    assert found.height >= 1


@pytest.mark.parametrize(
    "content",
    [
        b'a,b\n5" pipe,1\n' + b"1,2\n" * 100,
        b'a,b\n"open,1\n' + b"1,2\n" * 100,
        b'a,b\n"x"y,1\n' + b"1,2\n" * 100,
        b"a,b\n" + b"1,2\n" * 100 + b'"open',
        b"a,b\n" + b"1,2\n" * 100 + b"\xe9,1\n",
        b"a,b\n" + b"1,2\n" * 100 + b"x" * 200 + b",1\n",
        b"a,b\r" + b"1,2\r" * 100,
    ],
    ids=["quote within a cell", "never closed", "text after a quote", "open at the end", "not UTF-8",
         "longer than what is looked at", "CR only"],
)  # fmt: skip
def test_where_it_is_not_sure_nothing_is_cut(content: bytes) -> None:
    detected = Detected("utf-8", ",", has_bom=False, header=["a", "b"])
    assert find_ranges(io.BytesIO(content), detected, range_bytes=100, window_bytes=64) == []


def test_an_encoding_that_had_to_be_found_out_is_not_cut() -> None:
    content = "a,b\né,1\n".encode("cp1252")
    detected, _ = read_blocks(io.BytesIO(content))
    assert detected.encoding == "cp1252"
    assert not can_be_cut(detected, ReadOptions())
    assert can_be_cut(detected, ReadOptions(encoding="cp1252"))
    wide, _ = read_blocks(io.BytesIO("a,b\n1,2\n".encode("utf-16")))
    assert not can_be_cut(wide, ReadOptions())


def test_a_character_may_lie_across_two_blocks() -> None:
    content = b"a,b\n" + "éé,1\n".encode() * 40
    detected, ranges = cut(content, 100)
    assert rows_in_ranges(content, detected, ranges).height == 41 - (ranges[1].line - 1)


def test_bytes_that_are_not_of_the_encoding_are_refused() -> None:
    detected = Detected("utf-8", ",", has_bom=False, header=["a", "b"])
    with pytest.raises(UploadRejected, match="not valid utf-8"):
        list(read_range(io.BytesIO(b"\xe9,1\n"), detected, line=2))
