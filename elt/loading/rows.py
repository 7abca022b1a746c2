"""From an object's bytes to rows in raw: read, check and copy, in pieces of about a megabyte.

Reading and checking run in a thread of their own beside the COPY. The bytes are hashed on the way, and what
does not hash to what was accepted is never committed.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Self
from uuid import UUID

import polars as pl
from psycopg import sql

from elt.ahead import work_ahead
from elt.contracts import HeaderMatch, match_header
from elt.errors import Issue, StoreUnavailable, UploadRejected
from elt.loading.raw_tables import raw_table, remove_repeats
from elt.loading.source import Source
from elt.privacy.erased_counts import NOTHING_ERASED, ErasedCounts
from elt.privacy.erased_rows import RULE as ERASED
from elt.privacy.erased_rows import ErasedFilter
from elt.privacy.tombstones import Person
from elt.reading.ranges import Range
from elt.reading.reader import Block, Detected, read_blocks, read_range
from elt.reading.repeats import RepeatFinder, hash_lines
from elt.reading.spreadsheets import GUARDED
from elt.reading.validation import CheckedBlock, validate
from elt.store.base import Store
from elt.warehouse import Connection

_DEPTH = 2  # pieces ready before they are copied; more only costs memory
_SPOOL_BYTES = 1 << 20
_CHUNK = 1 << 20
Piece = bytes | memoryview

ROWS_IN_MEMORY = 1 << 17  # sorting them takes some ten megabytes


@dataclass(slots=True)
class Tally:
    """What was found. `is_counted` is False for a file that could not be read to its end.

    `brought` are the parent's lines that the accepted rows of a fix stand for. `erased` counts those of the
    rejected rows whose person was erased, `hits` are these erasures, `traces` what else leads to the person.
    `gone` rows are part of the counts, but no longer of the bytes.
    """

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    repeated: int = 0
    warnings: int = 0
    detected: Detected | None = None
    issues: list[Issue] = field(default_factory=list)
    is_counted: bool = True
    brought: list[int] | None = None
    erased: int = 0
    hits: set[UUID] = field(default_factory=set)
    traces: dict[UUID, set[Person]] = field(default_factory=dict)
    gone: ErasedCounts = NOTHING_ERASED

    @property
    def loaded(self) -> int:
        """Accepted rows that the bytes still hold."""
        return self.accepted - self.gone.accepted

    def add_gone(self, gone: ErasedCounts) -> None:
        """Count rows that are no longer in the bytes as they were counted when they were."""
        self.gone = gone
        self.read += gone.total
        self.accepted += gone.accepted
        self.rejected += gone.rejected + gone.refused
        self.repeated += gone.repeated
        self.erased += gone.refused


class Spool:
    """Bytes kept aside, in memory or in an unnamed file: a connection copies into one table at a time."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed on exit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was kept."""
        return self._file.seek(0, 2) == 0

    def add(self, content: Piece) -> None:
        """Keep some bytes."""
        self._file.write(content)

    def clear(self) -> None:
        """Forget all that was kept."""
        self._file.seek(0)
        self._file.truncate()

    def chunks(self) -> Iterator[bytes]:
        """All that was kept, in pieces of a megabyte."""
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            yield chunk


class IssueSpool(Spool):
    """Findings about rows, as rows of CSV."""

    def copy_to(self, connection: Connection) -> None:
        """Write all that was kept to ops.row_issues."""
        if self.is_empty:
            return
        statement = (
            "copy ops.row_issues (line, column_name, rule, severity, upload_id, version) "
            "from stdin (format csv)"
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for chunk in self.chunks():
                copy.write(chunk)


class HashSpool(Spool):
    """Hashes of the rows of one part of a file; only all parts together tell which rows are repeated."""

    def add_rows(self, accepted: pl.DataFrame) -> None:
        """Keep those of some accepted rows."""
        self.add(hash_lines(accepted).tobytes())


def copy_rows(connection: Connection, store: Store, source: Source, tally: Tally, spool: IssueSpool) -> None:
    """Copy the rows that keep the contract into raw; fills `tally` and `spool`.

    Raises:
        UploadRejected: the file cannot be read, or lacks a required column.
        StoreUnavailable: the bytes are not those that were accepted.
    """
    with store.open(source.object_key) as stream:
        verified = VerifiedStream(stream, source)
        tally.detected, blocks = read_blocks(verified, source.options)
        match = match_header(source.contract, tally.detected.header)
        tally.issues += match.issues
        if source.gone.total:
            blocks = _may_be_none(blocks)
        if match.is_rejected:
            tally.is_counted = False
            faults = [issue.hint for issue in match.issues if issue.severity == "error"]
            raise UploadRejected(f"The header does not fit: {'; '.join(faults)}.")
        with RepeatFinder(rows_in_memory=ROWS_IN_MEMORY) as repeats:
            layout = _Layout.of(source, match, tally.detected.delimiter, raw_table(source.contract))
            pieces = _pieces(verified, blocks, match, source, tally, repeats.add, layout)
            _copy(connection, layout, pieces, source, spool)
            repeated = remove_repeats(connection, source.contract, source.upload_id, repeats.suspects())
            tally.repeated += repeated
            tally.accepted -= repeated
            tally.add_gone(source.gone)
    tally.issues += tally.detected.issues


def copy_part(
    connection: Connection,
    store: Store,
    source: Source,
    part: Range,
    detected: Detected,
    table: sql.Identifier,
    tally: Tally,
    issues: IssueSpool,
    hashes: HashSpool,
) -> None:
    """Copy those rows of one range of the file that keep the contract into a table; fills the last three.

    Raises:
        UploadRejected: the range cannot be read by itself.
        StoreUnavailable: the bytes are not those that the range had when the file was cut.
    """
    with store.open_range(source.object_key, part.start, part.length) as stream:
        verified = VerifiedStream(stream, replace(source, size=part.length, sha256=part.sha256))
        if part.start == 0:
            known = replace(source.options, encoding=detected.encoding, delimiter=detected.delimiter)
            blocks = _may_be_none(read_blocks(verified, known)[1])
        else:
            blocks = read_range(verified, detected, source.options, line=part.line)
        match = match_header(source.contract, detected.header)
        layout = _Layout.of(source, match, detected.delimiter, table)
        pieces = _pieces(verified, blocks, match, source, tally, hashes.add_rows, layout)
        _copy(connection, layout, pieces, source, issues)


def _copy(
    connection: Connection,
    layout: _Layout,
    pieces: Iterator[tuple[Piece, Piece]],
    source: Source,
    spool: IssueSpool,
) -> None:
    """Copy while the next pieces are made.

    The driver tells the server, and so its log, the text of an exception that ends a COPY; that of others'
    exceptions may hold cells. Therefore a reading error ends it under another name, and is raised after it.
    """
    failures: list[Exception] = []

    def quietly(items: Iterator[tuple[Piece, Piece]]) -> Iterator[tuple[Piece, Piece]]:
        try:
            yield from items
        except Exception as error:
            failures.append(error)
            raise _ReadingStoppedError from None

    connection.execute("select set_config('laurel.upload_id', %s, true)", (str(source.upload_id),))
    try:
        with (
            work_ahead(pieces, depth=_DEPTH) as ready,
            connection.cursor() as cursor,
            cursor.copy(layout.statement) as copy,
        ):
            for rows, issues in quietly(ready):
                copy.write(rows)
                spool.add(issues)
    except _ReadingStoppedError:
        raise failures[0] from None


class _ReadingStoppedError(Exception):
    """The file could not be read further."""


def _pieces(
    verified: VerifiedStream,
    blocks: Iterator[Block],
    match: HeaderMatch,
    source: Source,
    tally: Tally,
    note_rows: Callable[[pl.DataFrame], None],
    layout: _Layout,
) -> Iterator[tuple[Piece, Piece]]:
    """Rows and issues as CSV, block by block. Runs in the thread that works ahead."""
    if source.is_fix:
        blocks = unguarded(blocks)
    position = match.line_position if source.is_fix else None
    if position is not None and source.open_lines is not None:
        tally.brought = []
        blocks = only_open_lines(blocks, position, source.open_lines)
    if source.tombstones:
        erased = ErasedFilter(
            source.contract, match, source.school_id, source.tombstones, tally.hits, tally.traces
        )
        blocks = erased.apply(blocks)
    checked_blocks = validate(
        blocks,
        source.contract,
        match,
        school_id=source.school_id,
        only_school=source.only_school,
        keep_lines=source.is_fix,
        received_at=source.received_at,
    )
    for checked in checked_blocks:
        if source.contract.is_keyed:
            note_rows(checked.accepted)
        _count(tally, checked)
        yield layout.to_csv(checked), _issue_rows(checked, source)
    verified.require_whole()


def _may_be_none(blocks: Iterator[Block]) -> Iterator[Block]:
    """No error where every row was erased."""
    try:
        yield from blocks
    except UploadRejected as error:
        if [issue.rule for issue in error.issues] != ["no_rows"]:
            raise


def unguarded(blocks: Iterator[Block]) -> Iterator[Block]:
    """Cells as they were before `rejects.csv` guarded them, in a file that may have been made from it."""
    for block in blocks:
        exact = pl.col(pl.String).str.replace(GUARDED, "${1}")
        yield replace(block, frame=block.frame.with_columns(exact))


def only_open_lines(blocks: Iterator[Block], position: int, open_lines: pl.Series) -> Iterator[Block]:
    """Turn rows of a fix into faults where no rejected line waits for them, or another row took it."""
    used = pl.Series([], dtype=pl.Int64)
    for block in blocks:
        line = pl.col(f"c{position}").cast(pl.Int64, strict=False)
        table = block.frame.with_columns(line.alias("_named"))
        is_open = (
            pl.col("_named").is_in(open_lines.implode())
            & ~pl.col("_named").is_in(used.implode())
            & pl.col("_named").is_first_distinct()
        ).fill_null(False)
        kept = table.filter(is_open)
        used = used.append(kept["_named"])
        refused = table.filter(~is_open).select(line=pl.col("_line"), rule=pl.lit("line"))
        faults = pl.concat([block.faults, refused]).sort("line")
        yield Block(kept.drop("_named"), faults, block.date_format)


def _count(tally: Tally, checked: CheckedBlock) -> None:
    tally.read += checked.read
    tally.rejected += checked.rejected
    tally.accepted += checked.accepted.height
    if checked.issues.height:
        tally.warnings += int((checked.issues["severity"] == "warning").sum())
        tally.erased += int((checked.issues["rule"] == ERASED).sum())
    if tally.brought is not None:
        tally.brought += checked.accepted["_line"].to_list()


def _issue_rows(checked: CheckedBlock, source: Source) -> Piece:
    if not checked.issues.height:
        return b""
    issues = checked.issues.select("line", "column_name", "rule", "severity")
    return to_copy_csv(issues, line_end=f",{source.upload_id},{source.version}\n")


@dataclass(frozen=True, slots=True)
class _Layout:
    """How rows are written for COPY: only the columns that the file has.

    What is the same in all rows costs next to nothing as the end of each line or as the column's default; as
    a column of the frame it would cost a quarter of the load.
    """

    columns: list[str]
    delimiter: str
    line_end: str
    statement: sql.Composed

    @classmethod
    def of(cls, source: Source, match: HeaderMatch, delimiter: str, table: sql.Identifier) -> _Layout:
        columns = [*(name for name in source.contract.columns if name in match.columns), "_line"]
        same = [] if "school_id" in columns else ["school_id"]
        cells = '{}"{}"'.format(delimiter, source.school_id.replace('"', '""')) if same else ""
        statement = sql.SQL("copy {} ({}) from stdin (format csv, delimiter {})").format(
            table,
            sql.SQL(", ").join(map(sql.Identifier, [*columns, *same])),
            sql.Literal(delimiter),
        )
        return cls(columns, delimiter, f"{cells}\n", statement)

    def to_csv(self, checked: CheckedBlock) -> memoryview:
        # The file's own delimiter, because its plain cells have none and so need not be searched for quotes.
        return to_copy_csv(
            checked.accepted.select(self.columns), self.delimiter, self.line_end, is_plain=checked.is_plain
        )


def to_copy_csv(
    frame: pl.DataFrame, delimiter: str = ",", line_end: str = "\n", *, is_plain: bool = False
) -> memoryview:
    """Rows as PostgreSQL's CSV, in which an unquoted empty cell is null and `""` an empty text."""
    buffer = io.BytesIO()
    frame.write_csv(
        buffer,
        include_header=False,
        separator=delimiter,
        quote_style="never" if is_plain else "necessary",
        line_terminator=line_end,
    )
    return buffer.getbuffer()


class VerifiedStream:
    """A stream that hashes what it gives."""

    def __init__(self, stream: BinaryIO, source: Source) -> None:
        self._stream = stream
        self._source = source
        self._digest = hashlib.sha256()
        self._size = 0

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes."""
        content = self._stream.read(size)
        self._digest.update(content)
        self._size += len(content)
        return content

    def require_whole(self) -> None:
        """Read to the end and compare.

        Raises:
            StoreUnavailable: these are not the bytes that were accepted.
        """
        while self.read(_CHUNK):
            pass
        if (self._size, self._digest.hexdigest()) != (self._source.size, self._source.sha256):
            raise DamagedObjectError(
                f"The object {self._source.object_key} gave {self._size} bytes that do not have the digest "
                "under which they were accepted. Check the store."
            )


class DamagedObjectError(StoreUnavailable):
    """One object cannot be read as it was written, while the store answers."""
