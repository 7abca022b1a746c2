"""Takes people out of the objects of uploads, of the inbox, and out of what the store keeps of their past.

Each rewriting is first an event with the new digest, then the ledger, then the bytes. So a rewriting that was
killed is recognised: the ledger has the digest of what the bytes would become.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from elt.contracts import get_contract
from elt.errors import NotFound
from elt.log import get_logger
from elt.people.principals import SYSTEM
from elt.privacy.erase_objects import ErasedRow, Scrubbed, Scrubber
from elt.privacy.erase_rows import erase_lines
from elt.privacy.erased_counts import ErasedCounts
from elt.privacy.text_search import Opened, holds_any
from elt.privacy.tombstones import Person, Tombstones, has_traces
from elt.privacy.traces import note_traces
from elt.reading.dialect import ReadOptions
from elt.reading.file_rows import FileForm
from elt.settings import Settings
from elt.store.base import Store
from elt.store.object_keys import BACKUPS
from elt.uploads.acts import lock_family, record_act
from elt.uploads.claims import wait_for_family
from elt.uploads.inbox import inbox_objects
from elt.warehouse import Connection

log = get_logger(__name__)


@dataclass(slots=True)
class ObjectEraser:
    """Erases the people of some tombstones from the store.

    `needles` are their identifiers where all are known: a file without any need not be read row by row.
    `traces`: what rows that went told to lead to a student, as far as that was not known. They are written
    down before the row goes.
    """

    settings: Settings
    store: Store
    connection: Connection
    tombstones: Tombstones
    needles: Collection[str] | None
    counts: dict[UUID, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    traces: dict[UUID, set[Person]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def run(self) -> None:
        """All objects: those of uploads, of the inbox, and earlier contents of either."""
        for version in self._versions():
            self._erase_from_version(version)
        self._erase_from_inbox()
        self.forget_the_past()

    def forget_the_past(self) -> None:
        """Remove earlier contents in the store: of published marts all, of the rest those with a person."""
        for key in {old.key for old in self.store.old_versions("marts/")}:
            self.store.forget(key)
        doomed = {
            old.key
            for old in self.store.old_versions()
            if not old.key.startswith(BACKUPS)
            and self.names_somebody(partial(self.store.open_old, old), old.key)
        }
        for key in doomed:
            self.store.forget(key)

    def _versions(self) -> list[dict[str, Any]]:
        """Fixes first: what goes from them tells which lines of their parents are the same person's."""
        return self.connection.execute(
            """
            select u.dataset, u.school_id, u.parent_id, u.parent_version, u.live_version,
                   coalesce(u.parent_id, u.upload_id) as root_id, v.*
            from ops.uploads u join ops.upload_versions v using (upload_id)
            where v.bytes_removed_at is null
            order by (u.parent_id is null), u.upload_id, v.version
            """
        ).fetchall()

    def _erase_from_version(self, version: dict[str, Any]) -> None:
        lines = self._confirmed_lines(version)
        key = version["object_key"]
        try:
            contract = get_contract(version["dataset"])
            opened = partial(self.store.open, key)
            if not (lines or has_traces(contract) or self._may_name_somebody(opened)):
                return
            form = FileForm(contract, ReadOptions.from_dict(version["options"]), version["school_id"])
            scrubber = Scrubber(form, self.tombstones, lines)
            found = scrubber.inspect(opened)
            if found.is_clean:
                self._compare(version, found)
            else:
                with wait_for_family(self.connection, version["root_id"]):
                    self._rewrite(version, scrubber, found)
        except NotFound:  # retention has removed the bytes
            return

    def _compare(self, version: dict[str, Any], found: Scrubbed) -> None:
        if found.sha256_before != version["sha256"]:
            self.problems.append(f"{version['object_key']} does not hold the bytes that the ledger knows.")

    def _rewrite(self, version: dict[str, Any], scrubber: Scrubber, found: Scrubbed) -> None:
        key = version["object_key"]
        if version["sha256"] == found.sha256_before:
            with self.connection.transaction():
                self._record(version, found)
        elif version["sha256"] != found.sha256:  # else an earlier call was killed between ledger and bytes
            self.problems.append(f"{key} does not hold the bytes that the ledger knows; it was left alone.")
            return
        with self.store.open(key) as stream:
            again = Scrubbed(found.is_table)
            self.store.put(
                key, scrubber.pieces(stream, again), media_type=version["media_type"],
                expected_sha256=found.sha256, replace=True,
            )  # fmt: skip
        self.store.forget(key)
        for erasure_id in found.hits:
            self.counts[erasure_id]["objects"] += 1
        log.info("rows_erased_from_object", upload_id=str(version["upload_id"]), rows=len(found.rows))

    def _record(self, version: dict[str, Any], found: Scrubbed) -> None:
        """Write down what the object is about to lose: event, counts, findings, rows in raw."""
        upload_id, number = version["upload_id"], version["version"]
        lock_family(self.connection, upload_id)
        for erasure_id, traces in note_traces(
            self.settings, self.connection, self.store, found.traces
        ).items():
            self.traces.setdefault(erasure_id, set()).update(traces)
        current = self.connection.execute(
            "select * from ops.upload_versions where upload_id = %s and version = %s", (upload_id, number)
        ).fetchone()
        assert current is not None  # noqa: S101 - versions are never deleted
        erased = ErasedCounts.from_dict(current["erased"]).plus(self._fates(current, version, found))
        brought = self._brought(upload_id, number, found)
        self._forget_lines(version, found)
        still_refused = self._count_refused(upload_id, number)
        body = {
            "version": number,
            "erasures": sorted(map(str, found.hits)),
            "object": {
                "key": current["object_key"],
                "filename": current["filename"],
                "size_bytes": found.size,
                "sha256": found.sha256,
                "options": _pinned(current, found),
            },
            "erased": erased.to_dict(),
            "rows_erased": erased.total + still_refused,
            "brought": brought,
        }
        record_act(self.connection, self.store, "erased", upload_id, SYSTEM, body)

    def _brought(self, upload_id: UUID, number: int, found: Scrubbed) -> dict[str, list[int]]:
        """Of the lines that go, those that fixes gave to somebody else: these fixes stay as they are."""
        rows = self.connection.execute(
            """
            select upload_id, array_agg(line order by line) as lines from ops.fixed_lines
            where parent_id = %s and parent_version = %s and line = any(%s) group by upload_id
            """,
            (upload_id, number, [row.line for row in found.rows]),
        )
        return {str(row["upload_id"]): row["lines"] for row in rows}

    def _fates(self, current: dict[str, Any], version: dict[str, Any], found: Scrubbed) -> ErasedCounts:
        """What had become of the rows that go. Rows that were never counted count as refused."""
        if not current["rows_read"]:
            return ErasedCounts(refused=len(found.rows) if found.is_table else 0)
        rules = self._rules(version, found.rows)
        fates = {"accepted": 0, "rejected": 0, "repeated": 0, "refused": 0}
        seen: set[tuple[str | None, ...]] = set()
        is_keyed = get_contract(version["dataset"]).is_keyed
        for row in found.rows:
            if row.line in rules:
                fates["refused" if rules[row.line] else "rejected"] += 1
            elif is_keyed and row.values is not None and row.values in seen:
                fates["repeated"] += 1
            else:
                fates["accepted"] += 1
                seen |= {row.values} if row.values is not None else set()
        return ErasedCounts(**fates)

    def _rules(self, version: dict[str, Any], rows: Iterable[ErasedRow]) -> dict[int, bool]:
        """The rejected ones of the lines, and whether they do not count against the limit.

        A line that a fix has brought did not; with the fix's row goes what said so.
        """
        found = self.connection.execute(
            """
            select line, bool_or(rule = 'erased')
                or line in (select line from ops.fixed_lines
                            where parent_id = %(upload_id)s and parent_version = %(version)s)
                or line in (select line from ops.erasure_lines
                            where upload_id = %(upload_id)s and version = %(version)s) as is_refused
            from ops.row_issues
            where upload_id = %(upload_id)s and version = %(version)s and severity = 'error'
              and line = any(%(lines)s)
            group by line
            """,
            {
                "upload_id": version["upload_id"],
                "version": version["version"],
                "lines": [row.line for row in rows],
            },
        )
        return {row["line"]: row["is_refused"] for row in found}

    def _forget_lines(self, version: dict[str, Any], found: Scrubbed) -> None:
        """Remove what the database has of lines that go."""
        upload_id, number, rows = version["upload_id"], version["version"], found.rows
        lines = [row.line for row in rows]
        in_parent = [row.parent_line for row in rows if row.parent_line is not None]
        run = self.connection.execute
        run(
            "delete from ops.row_issues where upload_id = %s and version = %s and line = any(%s)",
            (upload_id, number, lines),
        )
        if version["parent_id"]:
            run("delete from ops.fixed_lines where upload_id = %s and line = any(%s)", (upload_id, in_parent))
            self._pass_on_to_parent(version, in_parent, found.hits)
        else:
            run(
                "delete from ops.fixed_lines where parent_id = %s and parent_version = %s and line = any(%s)",
                (upload_id, number, lines),
            )
        if version["live_version"] == number:
            in_raw = [row.parent_line if row.parent_line is not None else row.line for row in rows]
            erase_lines(self.connection, get_contract(version["dataset"]), upload_id, number, in_raw)
        if any(row.values is None for row in rows):
            self._forget_findings_about_the_file(upload_id, number)

    def _pass_on_to_parent(self, version: dict[str, Any], lines: list[int], hits: set[UUID]) -> None:
        """The rejected lines that the rows corrected are the same person's, whatever number they bear."""
        erasure_id = min(hits or self.tombstones.erasure_ids)
        self.connection.execute(
            """
            insert into ops.erasure_lines (upload_id, version, line, erasure_id, confirmed_by)
            select %s, %s, unnest(%s::bigint[]), %s, 'system' on conflict do nothing
            """,
            (version["parent_id"], version["parent_version"], lines, erasure_id),
        )

    def _forget_findings_about_the_file(self, upload_id: UUID, number: int) -> None:
        """A file without a header shows its first row as one, here and in the findings about it."""
        self.connection.execute(
            """
            update ops.upload_versions
            set issues = (select coalesce(jsonb_agg(issue || '{"found": null}'), '[]')
                          from jsonb_array_elements(issues) issue),
                detected = case when rows_read is null then null else detected end
            where upload_id = %s and version = %s
            """,
            (upload_id, number),
        )

    def _count_refused(self, upload_id: UUID, number: int) -> int:
        """Rows that the object still holds and that were refused because their person was erased."""
        row = self.connection.execute(
            """
            select count(distinct line) as lines from ops.row_issues
            where upload_id = %s and version = %s and rule = 'erased'
            """,
            (upload_id, number),
        ).fetchone()
        return row["lines"] if row else 0

    def _confirmed_lines(self, version: dict[str, Any]) -> set[int]:
        rows = self.connection.execute(
            "select line from ops.erasure_lines where upload_id = %s and version = %s",
            (version["upload_id"], version["version"]),
        )
        return {row["line"] for row in rows}

    def _erase_from_inbox(self) -> None:
        """Dropped files with a person: those whose bytes were copied go, others lose the person's lines."""
        for item in inbox_objects(self.store):
            known = self.connection.execute(
                """
                select upload_id, reason from ops.inbox_objects where object_key = %s and etag = %s
                order by seen_at desc limit 1
                """,
                (item.key, item.etag),
            ).fetchone()
            if known is None or not self.names_somebody(partial(self.store.open, item.key), item.key):
                continue  # what is not adopted yet becomes an upload first
            if known["upload_id"] is not None:
                self.store.delete(item.key)
                # Who drops the same bytes again brings something new.
                self._remember_dropped(item.key, "erased", known["upload_id"], None)
            else:
                self._rewrite_refused(item.key, known["reason"])
            self.store.forget(item.key)

    def _rewrite_refused(self, key: str, reason: str | None) -> None:
        """A file that could not be adopted keeps its place, and is not tried again."""
        scrubber = Scrubber(self.form_of(key), self.tombstones)
        found = scrubber.inspect(partial(self.store.open, key))
        with self.store.open(key) as stream:
            pieces = scrubber.pieces(stream, Scrubbed(found.is_table))
            stored = self.store.put(key, pieces, expected_sha256=found.sha256, replace=True)
        self._remember_dropped(key, stored.etag, None, reason)

    def _remember_dropped(self, key: str, etag: str, upload_id: UUID | None, reason: str | None) -> None:
        """What discover takes for the last thing it saw under the key."""
        self.connection.execute(
            """
            insert into ops.inbox_objects (object_key, etag, upload_id, reason) values (%s, %s, %s, %s)
            on conflict (object_key, etag) do update set seen_at = now()
            """,
            (key, etag, upload_id, reason),
        )

    def names_somebody(self, opened: Opened, key: str) -> bool:
        """Whether some bytes of which little is known name a person."""
        may_name = self._may_name_somebody(opened)
        form = self.form_of(key)
        if not (may_name or has_traces(form.contract)):
            return False
        return not Scrubber(form, self.tombstones).inspect(opened).is_clean

    def form_of(self, key: str) -> FileForm:
        """How an object is read, as far as the ledger knows it."""
        row = self.connection.execute(
            """
            select u.dataset, u.school_id, v.options
            from ops.uploads u join ops.upload_versions v using (upload_id)
            where v.object_key = %(key)s
               or u.upload_id in (select upload_id from ops.inbox_objects where object_key = %(key)s)
            order by v.object_key = %(key)s desc limit 1
            """,
            {"key": key},
        ).fetchone()
        if row is None:
            return FileForm(get_contract("students"), ReadOptions(), self.settings.default_school_id)
        return FileForm(get_contract(row["dataset"]), ReadOptions.from_dict(row["options"]), row["school_id"])

    def _may_name_somebody(self, opened: Opened) -> bool:
        """False where an identifier that we look for stands nowhere in the bytes."""
        return self.needles is None or holds_any(opened, self.needles)


def _pinned(current: dict[str, Any], found: Scrubbed) -> dict[str, Any]:
    """How the file is read: as it was, though fewer rows might speak for it."""
    detected = current["detected"]
    if not detected or not found.is_table:
        return dict(current["options"])
    return {**current["options"], "encoding": detected["encoding"], "delimiter": detected["delimiter"]}
