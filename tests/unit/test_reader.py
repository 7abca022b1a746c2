"""The reader: what it finds out about a file, and that it reads rows exactly as Python's csv module does."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from elt.errors import UploadRejected
from elt.reading.dialect import BLOCK_BYTES
from elt.reading.reader import Detected, ReadOptions, read_blocks
from elt.reading.records import is_well_quoted


@dataclass
class Outcome:
    """What became of a file: rows and faults by line, or the rule by which it was rejected."""

    rows: list[tuple[int, list[str | None]]] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    rejected: tuple[str, int | None] | None = None


def read(content: bytes, block_bytes: int = BLOCK_BYTES, **options: str) -> tuple[Detected, Outcome]:
    """Read a file whose header is sound."""
    detected, blocks = read_blocks(io.BytesIO(content), ReadOptions(**options), block_bytes=block_bytes)
    outcome = Outcome()
    try:
        for block in blocks:
            cells = block.frame.drop("_line").rows()
            outcome.rows += [
                (line, list(row)) for line, row in zip(block.frame["_line"].to_list(), cells, strict=True)
            ]
            outcome.faults += block.faults.sort("line").rows()
            assert block.read == block.frame.height + block.faults.height
    except UploadRejected as error:
        outcome.rejected = (error.issues[0].rule, error.issues[0].line)
    return detected, outcome


def read_outcome(content: bytes, block_bytes: int) -> Outcome:
    """Read a file that may be rejected before its first row."""
    try:
        return read(content, block_bytes, delimiter=",")[1]
    except UploadRejected as error:
        return Outcome(rejected=(error.issues[0].rule, error.issues[0].line))


def rejection(content: bytes, **options: str) -> tuple[str, int | None]:
    """Rule and line by which a file is rejected."""
    with pytest.raises(UploadRejected) as caught:
        for _ in read_blocks(io.BytesIO(content), ReadOptions(**options))[1]:
            pass
    assert caught.value.detail
    return caught.value.issues[0].rule, caught.value.issues[0].line


def expected(text: str, width: int, delimiter: str) -> Outcome:
    """What Python's csv module makes of the rows of a file."""
    lines = list(io.StringIO(text, newline=""))
    asked = iter([*lines, None])
    is_incomplete = False

    def supply() -> object:
        nonlocal is_incomplete
        for line in asked:
            if line is None:
                is_incomplete = True
                return
            yield line

    reader = csv.reader(supply(), delimiter=delimiter)  # type: ignore[arg-type]
    outcome, first = Outcome(), 0
    for index, record in enumerate(reader):
        line, raw = first + 1, "".join(lines[first : reader.line_num])
        first = reader.line_num
        if is_incomplete:
            outcome.rejected = ("unclosed_quote", line)
            return outcome
        if index == 0 or not record:
            continue
        if "\0" in raw:
            outcome.faults.append((line, "nul_byte"))
        elif not is_well_quoted(raw, delimiter):
            outcome.faults.append((line, "malformed_quote"))
        elif len(record) != width:
            outcome.faults.append((line, "missing_cells" if len(record) < width else "extra_cells"))
        else:
            outcome.rows.append((line, [cell or None for cell in record]))
    if not outcome.rows and not outcome.faults:
        outcome.rejected = ("no_rows", 1)
    return outcome


CELLS = st.one_of(
    st.sampled_from(
        ["", '""', "a", " ", "\0", "é", "€uro", "\ufeff", "None", '"a"', '"a,b"', '"a\nb"', '"a\r\nb"']
    ),
    st.sampled_from(['"a""b"', 'a"b', '"a"b', ' "a"', '"', '""""', "'", "\\", "\\.", "#", "1", "x" * 40]),
)
ROWS = st.lists(CELLS, min_size=1, max_size=4).map(",".join)
TEXTS = st.one_of(
    st.lists(st.tuples(ROWS, st.sampled_from(["\n", "\r\n", "\r", "\n\n"])), max_size=12).map(
        lambda rows: "".join(row + end for row, end in rows)
    ),
    st.text(alphabet=',"\n\r abé;\0', max_size=60),
    st.lists(st.lists(CELLS, min_size=3, max_size=3).map(",".join), max_size=12).map("\n".join),
)


@settings(max_examples=600, deadline=None)
@given(text=TEXTS, width=st.sampled_from([1, 3]), block_bytes=st.sampled_from([16, 17, 33, 100, BLOCK_BYTES]))
@example(text='a,"b\n1,2,3\n', width=3, block_bytes=16)
@example(text="a,b,c\r", width=3, block_bytes=16)
@example(text="\ufeffa,b,c\n" * 3, width=3, block_bytes=16)
@example(text="\n\ufeff\n", width=1, block_bytes=16)
@example(text='"a\r\nb",b,c\r\n1,2,3\r\n', width=3, block_bytes=16)
@example(text='a,"",c\n"","",""\n', width=3, block_bytes=BLOCK_BYTES)
def test_rows_lines_and_faults_are_those_of_the_csv_module(text: str, width: int, block_bytes: int) -> None:
    header = ",".join("xyz"[:width]) + "\n"
    content = (header + text).encode()
    _, outcome = read(content, block_bytes, encoding="utf-8", delimiter=",")
    wanted = expected(header + text, width, ",")
    assert outcome.rejected == wanted.rejected
    if outcome.rejected and outcome.rejected[0] == "unclosed_quote" and block_bytes < BLOCK_BYTES:
        # Earlier blocks have already been handed out; none of them may differ.
        assert outcome.rows == wanted.rows[: len(outcome.rows)]
    elif not outcome.rejected:
        assert outcome.rows == wanted.rows
        assert outcome.faults == wanted.faults


@settings(max_examples=500, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=200), TEXTS.map(str.encode), TEXTS.map(lambda t: t.encode("utf-16"))
    ),
    encoding=st.sampled_from([None, "utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]),
    delimiter=st.sampled_from([None, ",", ";", "\t", "|"]),
    block_bytes=st.sampled_from([16, 50, BLOCK_BYTES]),
)
def test_whatever_the_bytes_the_reader_gives_blocks_or_a_reason(
    content: bytes, encoding: str | None, delimiter: str | None, block_bytes: int
) -> None:
    options = ReadOptions(encoding=encoding, delimiter=delimiter)
    try:
        detected, blocks = read_blocks(io.BytesIO(content), options, block_bytes=block_bytes)
        for block in blocks:
            assert block.frame.width == len(detected.header) + 1
    except UploadRejected as error:
        reasons = [issue.hint for issue in error.issues]
    else:
        return
    assert reasons
    assert all(reasons)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, encoding=st.sampled_from(["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig", "cp1252"]))
def test_the_rows_do_not_depend_on_the_encoding(text: str, encoding: str) -> None:
    text = "x,y,z\n" + text.replace("\ufeff", "")
    stated = encoding.removesuffix("-sig")
    _, outcome = read(text.encode(encoding), 64, encoding=stated, delimiter=",")
    _, wanted = read(text.encode(), 64, encoding="utf-8", delimiter=",")
    assert outcome.rejected == wanted.rejected
    if not outcome.rejected:
        assert outcome == wanted


class SlowStream:
    """Gives a few bytes at a time, as a network does."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def read(self, size: int, /) -> bytes:
        return self._rest.read(min(size, 3))


def test_a_stream_that_gives_little_at_a_time_is_read_whole() -> None:
    detected, blocks = read_blocks(SlowStream("é,b\n1,2\n3,4\n".encode()))
    assert detected.header == ["é", "b"]
    assert pl.concat([block.frame for block in blocks]).rows() == [("1", "2", 2), ("3", "4", 3)]


@pytest.mark.parametrize(
    ("content", "encoding", "delimiter", "has_bom"),
    [
        (b"a,b\n1,2\n", "utf-8", ",", False),
        (b"\xef\xbb\xbfa,b\n1,2\n", "utf-8", ",", True),
        ("a,b\n1,é\n".encode("utf-16"), "utf-16-le", ",", True),
        (b"\xfe\xff" + "a,b\n1,é\n".encode("utf-16-be"), "utf-16-be", ",", True),
        (b"a;b\n1;2,5\n", "utf-8", ";", False),
        (b"a\tb\n1\t2\n", "utf-8", "\t", False),
        (b"a|b\n1|2\n", "utf-8", "|", False),
        (b"a\n1\n", "utf-8", ",", False),
        (b"a,b (x; y)\n1,2\n", "utf-8", ",", False),
        (b'a,b\n1,"2;3"\n', "utf-8", ",", False),
        ("a,b\n1,é\n".encode("cp1252"), "cp1252", ",", False),
    ],
)
def test_encoding_and_delimiter_are_found(
    content: bytes, encoding: str, delimiter: str, has_bom: bool
) -> None:
    detected, outcome = read(content)
    assert (detected.encoding, detected.delimiter, detected.has_bom) == (encoding, delimiter, has_bom)
    assert len(outcome.rows) == 1
    assert not outcome.faults


def test_a_late_byte_that_is_not_utf8_is_read_as_cp1252_with_a_warning_that_names_the_line() -> None:
    rows = b"1,plain\r\n" * 20
    content = b"a,b\r\n" + rows + "2,naïve\r\n".encode("cp1252") + rows
    detected, outcome = read(content, 64, delimiter=",")
    assert outcome.rows[20] == (22, ["2", "naïve"])
    assert len(outcome.rows) == 41
    assert detected.encoding == "cp1252"
    assert [(issue.rule, issue.severity, issue.line) for issue in detected.issues] == [
        ("encoding", "warning", 22)
    ]


@pytest.mark.parametrize("block_bytes", [16, 17, 18, 19, 20, BLOCK_BYTES])
def test_a_file_in_two_encodings_is_rejected_whatever_comes_first(block_bytes: int) -> None:
    utf8, windows = "1,é\n".encode(), "2,ï\n".encode("cp1252")
    padding = b"3,plain\n" * 5
    for first, second, line, line_of_windows in ((utf8, windows, 8, 8), (windows, utf8, 8, 2)):
        outcome = read_outcome(b"a,b\n" + first + padding + second, block_bytes)
        assert outcome.rejected is not None
        assert outcome.rejected[0] == "encoding"
        assert outcome.rejected[1] == (line if block_bytes < BLOCK_BYTES else line_of_windows)


@pytest.mark.parametrize(
    ("content", "options", "rule", "line"),
    [
        (b"", {}, "empty_file", None),
        (b"\xef\xbb\xbf", {}, "empty_file", None),
        (b"\n\r\n\n", {}, "empty_file", None),
        (b"a,b\n", {}, "no_rows", 1),
        (b"a,b", {}, "no_rows", 1),
        (b"a,b\n\n\n", {}, "no_rows", 1),
        (b",,\n1,2,3\n", {}, "no_header", 1),
        (b"a,b\0\n1,2\n", {}, "nul_byte", 1),
        (b'\n"a"x,b\n1,2\n', {}, "malformed_quote", 2),
        (b'a,"b\n1,2\n', {}, "unclosed_quote", 1),
        (b'a,b\n1,2\n\n"3,4\n5,6\n', {}, "unclosed_quote", 4),
        (b"a;b,c\n1;2,3\n", {}, "delimiter", 1),
        (b"a;b,c\n", {}, "delimiter", 1),
        (b"a,b\n1,\x81\n", {}, "encoding", 2),
        (b"a,b\n1,\xe9\n", {"encoding": "utf-8"}, "encoding", 2),
        (b"\xef\xbb\xbfa,b\n1,\xe9\n", {}, "encoding", 2),
        (b"\xef\xbb\xbfa,b\n1,2\n", {"encoding": "cp1252"}, "encoding", None),
        (b"a,b\n1,2\n", {"encoding": "utf-16"}, "encoding", None),
        ("a,b\n1,2\n".encode("utf-16-le"), {}, "encoding", None),
        ("a,b\n1,2\n".encode("utf-16-be"), {}, "encoding", None),
        ("a,b\n1,2\n3,4\n".encode("utf-16")[:-1], {}, "encoding", 3),
        (b"\xff\xfe" + "a,b\n1,".encode("utf-16-le") + b"\x00\xd8\x00\xd8", {}, "encoding", 2),
        (b"PK\x03\x04 and so on", {}, "not_csv", None),
        (b"%PDF-1.7\n", {}, "not_csv", None),
        (b"<!doctype html><html>", {}, "not_csv", None),
        (b"a,b\n1," + b"x" * 3_000_000, {}, "long_row", 2),
        (b'a,b\n1,"' + b"x" * 3_000_000, {}, "unclosed_quote", 2),
    ],
)
def test_what_cannot_be_read_is_rejected_by_rule_and_line(
    content: bytes, options: dict[str, str], rule: str, line: int | None
) -> None:
    assert rejection(content, **options) == (rule, line)


def test_a_stated_encoding_and_delimiter_win_over_doubt() -> None:
    _, outcome = read("a;b,c\n1;É’s,3\n".encode("cp1252"), encoding="cp1252", delimiter=";")
    assert outcome.rows == [(2, ["1", "É’s,3"])]
    # É’ is one character in UTF-8, so beside another Windows letter the file may be either.
    assert rejection("a,b\n1,É’s\n2,ï\n".encode("cp1252")) == ("encoding", 3)


@pytest.mark.parametrize("name", ["encoding", "delimiter", "date_format"])
def test_an_option_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(UploadRejected, match=name):
        ReadOptions(**{name: "something else"})


def test_options_survive_the_way_through_the_ledger() -> None:
    options = ReadOptions(delimiter=";", date_format="DD/MM/YYYY")
    assert options.to_dict() == {"delimiter": ";", "date_format": "DD/MM/YYYY"}
    assert ReadOptions.from_dict(options.to_dict() | {"of another version": 1}) == options


def test_a_cell_of_ten_thousand_characters_and_quoted_newlines_do_not_shift_lines() -> None:
    content = 'a,b\n1,"x\ny\r\nz"\n\n2,' + "é" * 10_000 + "\n3,4\n"
    for block_bytes in (64, 1000, BLOCK_BYTES):
        _, outcome = read(content.encode(), block_bytes, encoding="utf-8", delimiter=",")
        assert outcome.rows == [(2, ["1", "x\ny\r\nz"]), (6, ["2", "é" * 10_000]), (7, ["3", "4"])]
