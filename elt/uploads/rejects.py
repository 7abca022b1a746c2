"""Rejected rows for people: their cells, read again from the object, with what is wrong and what to do.

The database keeps line, column and rule only. Cells are handed out as they were sent, since the file is meant
to be corrected and returned; those that a spreadsheet program would take for formulas are guarded
(`elt.reading.spreadsheets`), and the guards are taken away when the file comes back as a fix.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from elt.contracts import REJECTS_COLUMNS, Contract, get_contract, match_header, rule_hint
from elt.errors import Conflict, Issue, shorten
from elt.reading.dialect import ReadOptions, Stream, TextSource, count_line_ends
from elt.reading.spreadsheets import guard, unguard
from elt.store.base import Store
from elt.uploads.ledger import UploadRecord, VersionRecord, get_upload, get_version
from elt.warehouse import Connection

_LINES_AT_ONCE = 2000
_BYTES_AT_ONCE = 1 << 16


def rejects_csv(
    connection: Connection, store: Store, upload_id: UUID, version: int | None = None
) -> Iterator[bytes]:
    """The rejected rows of a version (the newest one) as CSV in UTF-8, a piece at a time.

    The uploader's columns come first, then line, column, rule and hint; where a row breaks several rules they
    are joined by "; ". Rows of erased people are left out. Returned as a fix, each row finds its place by
    `line`. Cells beyond the header are joined to the last one, so that every row has the header's columns.

    Raises:
        NotFound: no such upload or version.
        Conflict: it has not been read yet.
    """
    upload = get_upload(connection, upload_id)
    record = get_version(connection, upload_id, version)
    if record.status in ("stored", "loading") and record.detected is None:
        raise Conflict(f"Upload {upload_id} is {record.status}; its rows have not been read yet.")
    return _stream(connection, store, upload, get_contract(upload.dataset), record)


def row_issues(
    connection: Connection,
    store: Store,
    upload_id: UUID,
    *,
    version: int | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Issue]:
    """Findings about rows in the order of their lines, from the `after`-th on.

    `found` is the cell as it was sent, a long one shortened; None for personal columns and for findings
    about whole rows.

    Raises:
        NotFound: no such upload or version.
    """
    upload = get_upload(connection, upload_id)
    contract = get_contract(upload.dataset)
    record = get_version(connection, upload_id, version)
    rows = connection.execute(
        """
        select line, column_name, rule, severity from ops.row_issues
        where upload_id = %s and version = %s
        order by line, column_name nulls first, rule offset %s limit %s
        """,
        (upload_id, record.version, after, limit),
    ).fetchall()
    shown = {
        row["line"] for row in rows if row["column_name"] and not _is_hidden(contract, row["column_name"])
    }
    cells = _cells_by_column(store, contract, record, shown, is_fix=upload.is_fix)
    return [
        Issue(
            rule=row["rule"],
            hint=rule_hint(contract, row["rule"], row["column_name"]),
            line=row["line"],
            column=row["column_name"],
            found=shorten(cells.get(row["line"], {}).get(row["column_name"])),
            severity=row["severity"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class _Record:
    """One record of a file: the line it starts on and its cells."""

    line: int
    cells: list[str]


def _stream(
    connection: Connection, store: Store, upload: UploadRecord, contract: Contract, record: VersionRecord
) -> Iterator[bytes]:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    if record.detected is None:  # the file could not be read at all
        writer.writerow(REJECTS_COLUMNS)
        yield buffer.getvalue().encode()
        return
    header = list(record.detected["header"])
    line_position = match_header(contract, header).line_position
    width = len(header) if line_position is None else len(header) - len(REJECTS_COLUMNS)
    writer.writerow(map(guard, [*header[:width], *REJECTS_COLUMNS]))
    with store.open(record.object_key) as stream:
        records = _read_again(stream, record, is_fix=upload.is_fix)
        for findings in _findings(connection, upload.upload_id, record.version):
            for row in _pick(records, findings):
                line = (line_position is not None and _cell(row.cells, line_position)) or str(row.line)
                cells = [*_fit(row.cells, width, header, record), line, *findings[row.line]]
                writer.writerow(map(guard, cells))
                if buffer.tell() > _BYTES_AT_ONCE:
                    yield _drain(buffer)
    yield _drain(buffer)


def _findings(
    connection: Connection, upload_id: UUID, version: int
) -> Iterator[dict[int, tuple[str, str, str]]]:
    """Column, rule and hint of rejected lines, some lines at a time, in their order."""
    contract = get_contract(get_upload(connection, upload_id).dataset)
    after = 0
    while True:
        rows = connection.execute(
            """
            select line,
                   array_agg(coalesce(column_name, '') order by column_name nulls first, rule) as columns,
                   array_agg(rule order by column_name nulls first, rule) as rules
            from ops.row_issues
            where upload_id = %s and version = %s and severity = 'error' and line > %s and rule <> 'erased'
            group by line order by line limit %s
            """,
            (upload_id, version, after, _LINES_AT_ONCE),
        ).fetchall()
        if not rows:
            return
        yield {row["line"]: _in_words(contract, row["columns"], row["rules"]) for row in rows}
        after = rows[-1]["line"]


def _in_words(contract: Contract, columns: list[str], rules: list[str]) -> tuple[str, str, str]:
    hints = [rule_hint(contract, rule, column or None) for column, rule in zip(columns, rules, strict=True)]
    return "; ".join(columns), "; ".join(rules), "; ".join(dict.fromkeys(hints))


def _pick(records: Iterator[_Record], lines: Container[int]) -> Iterator[_Record]:
    """The records on the given lines; stops behind the last one, so that the iterator can be used again."""
    left = len(lines)  # type: ignore[arg-type]
    for record in records:
        if record.line in lines:
            yield record
            left -= 1
            if not left:
                return


def _read_again(stream: Stream, record: VersionRecord, *, is_fix: bool) -> Iterator[_Record]:
    """All records behind the header, whatever is wrong with them, read as they were when they were loaded."""
    from elt.reading.records import read_records  # needs Polars, which a list of uploads should not wait for

    assert record.detected is not None  # noqa: S101 - the callers have looked
    delimiter = record.detected["delimiter"]
    texts = TextSource(stream, ReadOptions.from_dict(record.options)).blocks()
    rest, line, is_header, held = "", 1, True, ""
    text: bytes | None = next(texts, None)
    while text is not None:
        following = next(texts, None)
        rest, used, held = rest + held + text.decode(), 0, ""
        if following is not None and rest.endswith("\r"):  # it may be half of a CR LF
            rest, held = rest[:-1], "\r"
        for cells, raw, offset in read_records(rest, delimiter, is_last=following is None):
            used += len(raw)
            if is_header:
                is_header = not cells
            elif cells:
                yield _Record(line + offset, [unguard(cell) for cell in cells] if is_fix else cells)
        line += count_line_ends(rest[:used].encode())
        rest, text = rest[used:], following


def _cells_by_column(
    store: Store, contract: Contract, record: VersionRecord, lines: set[int], *, is_fix: bool
) -> dict[int, dict[str, Any]]:
    if not lines or record.detected is None:
        return {}
    columns = match_header(contract, record.detected["header"]).columns
    with store.open(record.object_key) as stream:
        return {
            row.line: {
                name: _cell(row.cells, position) for position, name in enumerate(columns) if name is not None
            }
            for row in _pick(_read_again(stream, record, is_fix=is_fix), lines)
        }


def _is_hidden(contract: Contract, column: str) -> bool:
    return column not in contract.columns or contract.field(column).is_personal


def _cell(cells: list[str], position: int) -> str | None:
    return cells[position] if position < len(cells) else None


def _fit(cells: list[str], width: int, header: list[str], record: VersionRecord) -> list[str]:
    """The uploader's cells in exactly `width` columns, none of them lost."""
    if len(cells) > len(header):
        assert record.detected is not None  # noqa: S101 - the callers have looked
        surplus = record.detected["delimiter"].join([cells[width - 1], *cells[len(header) :]])
        return [*cells[: width - 1], surplus]
    return [*cells[:width], *[""] * (width - len(cells))]


def _drain(buffer: io.StringIO) -> bytes:
    content = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return content
