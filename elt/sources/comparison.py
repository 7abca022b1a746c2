"""What changed in a table since it was read last, as batches of rows that are uploads like any other.

A batch is a CSV file in the store with the rows that are new or changed, and a tombstone for each that is
gone. It is accepted in the transaction that notes what was read; so a reading that was killed is continued
by the next one, and nothing is lost or told for good twice.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from operator import attrgetter
from uuid import UUID

from uuid6 import uuid7

from elt.errors import SourceFault
from elt.log import get_logger
from elt.people.principals import Principal
from elt.privacy.erased_cells import Cells, ErasedCells
from elt.privacy.tombstones import Tombstones
from elt.reading.dialect import ReadOptions
from elt.settings import Settings
from elt.sources.state import UNKNOWN, KnownTable, Marks, RangeState, TableState
from elt.sources.tables import DELETED, Digest, SourceRows, SourceTable
from elt.store.base import Store
from elt.store.object_keys import new_object_key
from elt.uploads.accept import NewUpload, accept_upload
from elt.uploads.discover import adopt_recent_events
from elt.warehouse import Connection

log = get_logger(__name__)

BATCH_ROWS = 250_000
"""About how many rows are looked at for one batch: their hashes are kept in memory, cells of a few."""

_CURSOR_ROWS = 50_000
_WRITTEN_ROWS = 5000
_OPTIONS = ReadOptions(encoding="utf-8", delimiter=",")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked beyond the usual: `resend` all rows; `accept_removals`, however many rows are gone."""

    resend: bool = False
    accept_removals: bool = False


@dataclass(slots=True)
class TableReport:
    """What became of a table. `compared`: as a whole; else its clock or its cursor told enough."""

    table: str
    dataset: str
    changed: int = 0
    removed: int = 0
    compared: bool = False
    uploads: list[UUID] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass(slots=True)
class Comparison:
    """Brings what is known of one table up to date with the table itself."""

    settings: Settings
    connection: Connection
    store: Store
    principal: Principal
    school_id: str
    table: SourceTable
    state: TableState
    compare_seconds: float
    wishes: Wishes
    report: TableReport

    def run(self) -> None:
        """Read what may have changed, and hand it in.

        Raises:
            SourceUnavailable, SourceFault: as the table raises them; what was handed in by then stays.
            SourceFault: so many rows are gone that a person should look first.
        """
        known = self._known()
        clock = self.table.clock()
        if self._is_due(known) or not (self._is_unchanged(known) or self._follow_cursor(known)):
            self._compare(resend=self.wishes.resend or known.layout != self.state.layout)
        self.state.save(clock=clock, is_compared=self.report.compared)

    def _known(self) -> KnownTable:
        known = self.state.read()
        if known is None or known.is_incomplete:
            adopt_recent_events(self.connection, self.store)  # batches of a reading that was killed
        if known is None:
            if self.state.is_waiting():
                raise SourceFault(
                    f"What was read of {self.table.shape.name} is not known, and rows of it wait to be "
                    "loaded, or failed (laurel retry). It is read when they are loaded or withdrawn."
                )
            self.state.begin()
            known = self.state.read()
        assert known is not None  # noqa: S101 - it has begun
        return known

    def _is_due(self, known: KnownTable) -> bool:
        """Whether the whole table must be compared, whatever its clock and its cursor say."""
        ago = known.compared_seconds_ago
        is_other = self.wishes.resend or known.layout != self.state.layout or known.is_incomplete
        return is_other or ago is None or ago >= self.compare_seconds

    def _is_unchanged(self, known: KnownTable) -> bool:
        return known.source_clock is not None and self.table.is_unchanged_since(known.source_clock)

    def _follow_cursor(self, known: KnownTable) -> bool:
        """Take the rows from the cursor's mark on; False where that does not account for all rows."""
        if known.cursor_mark is None:
            return False
        newest = self.table.newest_mark()
        parts: list[SourceRows] = []
        rows = 0
        for part in self.table.rows_since(known.cursor_mark):
            parts.append(part)
            rows += len(part)
            if rows >= _CURSOR_ROWS:
                return False  # comparing takes not much longer, and less memory
        before = self.state.ranges({part.range_no for part in parts})
        after = {number: RangeState(dict(each.marks), each.digest) for number, each in before.items()}
        self._hand_in(self._changed(parts, after), before, after)
        if self.table.count() != self.state.count():
            return False
        self.state.save_mark(newest)
        return True

    def _changed(self, parts: list[SourceRows], ranges: dict[int, RangeState]) -> Iterator[Cells]:
        """Those of the rows that are not known as they are; brings `ranges` up to date."""
        for part in parts:
            known = ranges.setdefault(part.range_no, RangeState({}, Digest(0, 0)))
            for key_hash, row_hash, cells in self._hashed(part):
                before = known.marks.get(key_hash)
                if before == row_hash:
                    continue
                known.marks[key_hash] = row_hash
                digest = known.digest or Digest(0, 0)
                known.digest = Digest(digest.rows + (before is None), digest.total - (before or 0) + row_hash)
                yield (*cells, None)

    def _hashed(self, part: SourceRows) -> Iterator[tuple[int, int, Cells]]:
        """Of each row the hash of its key, its own, and its cells."""
        return zip(self.state.hash_keys(part.cells), part.hashes, part.cells, strict=True)

    def _compare(self, *, resend: bool) -> None:
        """Read the ranges whose digest differs, and tell the rows that make the difference."""
        newest = self.table.newest_mark()
        known, present = self.state.digests(), self.table.digests()
        self._refuse_to_lose(known, present)
        due = sorted(n for n in {*known, *present} if resend or known.get(n) != present.get(n))
        for group in _grouped(due, present):
            before = self.state.ranges(group)
            after: dict[int, RangeState] = {}
            self._hand_in(self._differences(group, before, after, resend=resend), before, after)
        self.state.save_mark(newest)
        self.report.compared = True

    def _refuse_to_lose(self, known: Mapping[int, Digest | None], present: Mapping[int, Digest]) -> None:
        """An emptied table is more often an accident at the source than the truth."""
        before = self.state.count() if known else 0
        now = sum(digest.rows for digest in present.values())
        limit = max(self.settings.hold_share * before, self.settings.hold_minimum_rows)
        if before - now > limit and not self.wishes.accept_removals:
            raise SourceFault(
                f"{before - now} of the {before} rows of {self.table.shape.name} are gone at the source. "
                f"If that is right: laurel sources run {self.principal.name} --accept-removals"
            )

    def _differences(
        self,
        group: list[int],
        before: Mapping[int, RangeState],
        after: dict[int, RangeState],
        *,
        resend: bool,
    ) -> Iterator[Cells]:
        """Rows of some ranges that are new or changed, then tombstones; fills `after`."""
        for number, parts in groupby(self.table.rows(group), key=attrgetter("range_no")):
            old = before[number].marks if number in before else {}
            marks: Marks = {}
            count = total = 0
            for part in parts:
                count += len(part)
                total += sum(part.hashes)
                for key_hash, row_hash, cells in self._hashed(part):
                    marks[key_hash] = row_hash
                    if resend or old.get(key_hash) != row_hash:
                        yield (*cells, None)
            after[number] = RangeState(marks, Digest(count, total))
            if count != len(marks):
                self._note_doubled(count - len(marks))
        for number in group:
            after.setdefault(number, RangeState({}, Digest(0, 0)))
        gone = {
            n: left for n, state in before.items() if (left := state.marks.keys() - after[n].marks.keys())
        }
        if gone:
            yield from self._tombstones(gone, after)

    def _tombstones(self, gone: dict[int, set[int]], after: dict[int, RangeState]) -> Iterator[Cells]:
        shape = self.table.shape
        for number, key_hash, key in self.state.find_keys(gone):
            gone[number].discard(key_hash)
            cells = dict(zip(shape.key, key, strict=True))
            yield (*(cells.get(name) for name in shape.columns), "true")
        # What was quarantined is in raw no more than here. What still waits to be loaded is told later.
        if any(gone.values()) and self.state.is_waiting():
            for number, left in gone.items():
                after[number].marks.update(dict.fromkeys(left, UNKNOWN))
                after[number].digest = None

    def _note_doubled(self, count: int) -> None:
        finding = f"{count} rows have the key of another row; of each key the last one counts"
        self.report.findings.append(finding)

    def _hand_in(
        self, lines: Iterator[Cells], before: Mapping[int, RangeState], after: Mapping[int, RangeState]
    ) -> None:
        """Store the lines and accept them; `after` is what is known when they have all been read.

        Rows of people who were erased count as read and are not stored. An upload is accepted when its event
        is in the store, which is before the database knows. So the ranges are in doubt from before that until
        the end: a reading that was killed in between is found, and its batch adopted, by the next one.
        """
        shape = self.table.shape
        tombstones = Tombstones.load(self.connection, self.settings, shape.contract)
        erased = ErasedCells(shape.contract, shape.columns, self.school_id, tombstones)
        lines = erased.apply(lines)
        first = next(lines, None)
        if first is None:
            with self.connection.transaction():
                self.state.save_ranges(after)
                erased.note_traces(self.settings, self.connection, self.store)
            return
        upload_id = UUID(int=uuid7().int)
        filename = self.state.filename
        key = new_object_key(upload_id, 1, filename)
        content = _csv_chunks((*shape.columns, DELETED), self._counted(chain([first], lines)))
        stored = self.store.put(key, content, media_type="text/csv")
        upload = NewUpload(
            shape.contract.name, filename, self.school_id, media_type="text/csv",
            title=filename.removesuffix(".csv"), options=_OPTIONS, origin="source",
        )  # fmt: skip
        with self.connection.transaction():
            self.state.save_ranges(_in_doubt(before, after))
        with self.connection.transaction():
            accepted = accept_upload(self.connection, self.store, upload_id, upload, stored, self.principal)
            self.state.save_ranges(after)
            erased.note_traces(self.settings, self.connection, self.store)
        self.report.uploads.append(accepted.upload_id)
        log.info(
            "source_batch_accepted", source=self.principal.name, table=shape.name, upload_id=str(upload_id)
        )

    def _counted(self, lines: Iterator[Cells]) -> Iterator[Cells]:
        for line in lines:
            if line[-1] is None:
                self.report.changed += 1
            else:
                self.report.removed += 1
            yield line


def _in_doubt(before: Mapping[int, RangeState], after: Mapping[int, RangeState]) -> dict[int, RangeState]:
    """The rows of either, to be read again; what differs counts as unknown, so that it is told once more."""
    doubtful = {}
    for number, state in after.items():
        old = before[number].marks if number in before else {}
        marks = {key: row if old.get(key) == row else UNKNOWN for key, row in state.marks.items()}
        marks.update(dict.fromkeys(old.keys() - state.marks.keys(), UNKNOWN))
        doubtful[number] = RangeState(marks, None)
    return doubtful


def _grouped(due: list[int], present: Mapping[int, Digest]) -> Iterator[list[int]]:
    """The ranges in groups of about `BATCH_ROWS` rows."""
    group: list[int] = []
    rows = 0
    for number in due:
        group.append(number)
        rows += present[number].rows if number in present else 0
        if rows >= BATCH_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _csv_chunks(header: tuple[str, ...], lines: Iterator[Cells]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    while True:
        writer.writerows(islice(lines, _WRITTEN_ROWS))
        content = buffer.getvalue()
        if not content:
            return
        yield content.encode()
        buffer.seek(0)
        buffer.truncate()
