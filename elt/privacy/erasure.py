"""Erasing a person: from every object in the store, raw, the marts, predictions and exports, for good.

1. `elt.privacy.erasure_requests` writes down, as an event in the store and a line in `ops.erasures`, a keyed
   hash of who is to go (a tombstone). From that moment on no load brings the person back.
2. `erase_pending` removes all that there is, has the marts built and published again, and searches
   everything. Only what the search does not find again is finished. Killed anywhere, the next call goes on.
   What was found of a person whom the caller named, nobody calls gone who does not say again who it is.

Erasures keep no identifier. Who is meant is found again by hashing whatever identifiers there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from elt.audit.trail import record
from elt.loading.parts import discard_unfinished
from elt.log import get_logger
from elt.privacy.erase_rows import erase_beside_raw, erase_from_raw, find_people
from elt.privacy.erase_versions import ObjectEraser
from elt.privacy.erase_words import WordEraser, replace_notes
from elt.privacy.erasure_proof import Finding, search, texts_of
from elt.privacy.erasure_requests import add_counts
from elt.privacy.tombstones import KINDS, Person, Tombstones, plain
from elt.privacy.traces import find_traces, note_traces
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.claims import claimed_families, keep_replay_out, wait_for_family
from elt.uploads.discover import adopt_recent_events
from elt.warehouse import Connection, connect

_LOCK = 0x65726173  # "eras": one erases at a time

Progress = Callable[[str], None]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sought:
    """What the caller knows about people who are to be erased, to look for: nothing of it is kept.

    `people` by their erasures; `names` are further texts that must not be found anywhere; `folders` are
    searched beside store and database.
    """

    people: Mapping[UUID, Person] = field(default_factory=dict)
    names: Sequence[str] = ()
    folders: Sequence[Path] = ()


@dataclass(slots=True)
class ErasureReport:
    """What a call did. `counts`: rows and objects by place, for each erasure. Finished: nothing was found."""

    erasures: list[UUID] = field(default_factory=list)
    finished: list[UUID] = field(default_factory=list)
    counts: dict[UUID, dict[str, int]] = field(default_factory=dict)
    searched: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def erase_pending(
    settings: Settings,
    store: Store,
    *,
    rebuild: Callable[[], object],
    sought: Sought | None = None,
    progress: Progress | None = None,
) -> ErasureReport:
    """Erase everybody who is waiting to be erased; then look whether anything is left.

    Args:
        rebuild: brings the marts and what is published from them up to date with raw.
        sought: what the caller knows about the people.

    Raises:
        TransientError: store or database went away, or a replay runs; call again.
        TransformError: the marts could not be built; call again when they can.
    """
    sought, say = sought or Sought(), progress or (lambda _text: None)
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-erase") as connection, keep_replay_out(connection):
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        adopt_recent_events(connection, store)
        pending = connection.execute(
            "select * from ops.erasures where finished_at is null order by erasure_id"
        ).fetchall()
        if not pending:
            return ErasureReport()
        run = _Run(settings, store, connection, pending, sought, say)
        run.remove()
        say("building and publishing the marts")
        rebuild()
        return run.prove()


class _Run:
    """One erasing of all that wait."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        connection: Connection,
        pending: list[dict[str, Any]],
        sought: Sought,
        say: Progress,
    ) -> None:
        self._settings = settings
        self._store = store
        self._connection = connection
        self._sought = sought
        self._say = say
        self._tombstones = Tombstones(settings, pending)
        self._reopened = {row["erasure_id"]: row["reopened_at"] for row in pending}
        self._found_before = {row["erasure_id"]: row["found"] for row in pending}
        self._report = ErasureReport([row["erasure_id"] for row in pending])
        self._people: dict[UUID, set[Person]] = {
            erasure_id: {person}
            for erasure_id, person in sought.people.items()
            if erasure_id in self._tombstones.erasure_ids
        }
        self._objects = self._object_eraser()

    def remove(self) -> None:
        """Take the people out of database and store."""
        self._wait_for_loads()
        discard_unfinished(self._connection)
        self._say("erasing from the database")
        self._add(find_people(self._connection, self._tombstones))
        self._add(self._traces())
        self._know_traces()
        for erasure_id, people in sorted(self._people.items()):
            self._count(erasure_id, erase_from_raw(self._connection, people))
            for person in sorted(people):
                if person[0] in KINDS:
                    self._count(erasure_id, erase_beside_raw(self._connection, person))
        self._say("erasing from what was written beside the files")
        for erasure_id in self._report.erasures:
            people = self._people.get(erasure_id, set())
            texts = texts_of(people, self._sought.names)
            self._count(erasure_id, replace_notes(self._connection, texts, people))
        WordEraser(self._store, self._connection, texts_of(self._everybody(), self._sought.names)).run()
        self._say("erasing from the store")
        self._store.sweep()
        while learnt := self._erase_from_store():
            self._add(learnt)
            self._know_traces()
            for erasure_id, traces in learnt.items():
                self._count(erasure_id, erase_from_raw(self._connection, traces))

    def _add(self, found: Mapping[UUID, set[Person]]) -> None:
        for erasure_id, people in found.items():
            self._people.setdefault(erasure_id, set()).update(people)

    def _traces(self) -> dict[UUID, set[Person]]:
        """What leads to the students, by raw; written down before the rows that say so go."""
        found: dict[UUID, set[Person]] = {}
        for erasure_id, people in self._people.items():
            spellings: dict[str, set[str]] = {}
            for kind, school_id, identifier in people:
                if kind == "student":
                    spellings.setdefault(school_id, set()).add(identifier)
            for student in spellings.items():
                found.setdefault(erasure_id, set()).update(find_traces(self._connection, *student))
        with self._connection.transaction():
            note_traces(self._settings, self._connection, self._store, found)
        return found

    def _know_traces(self) -> None:
        """Recognise what was written down about the people since they were read."""
        erasures = self._connection.execute(
            "select * from ops.erasures where erasure_id = any(%s)", (self._report.erasures,)
        )
        self._tombstones = Tombstones(self._settings, erasures)

    def _erase_from_store(self) -> dict[UUID, set[Person]]:
        """Take the people out of the objects; gives what is newly known to lead to them.

        A row that was in a file only may lead to rows in others, and in raw: then this is to be done again.
        """
        self._objects = self._object_eraser()
        self._objects.run()
        for erasure_id, counts in self._objects.counts.items():
            self._count(erasure_id, counts)
        return self._objects.traces

    def prove(self) -> ErasureReport:
        """Search everything; what is not found any more is finished."""
        self._say("searching everything")
        self._objects.forget_the_past()
        proof = search(
            self._connection, self._objects, self._everybody(), self._sought.names, self._sought.folders
        )
        report = self._report
        report.searched, report.findings, report.problems = (
            proof.searched,
            proof.findings,
            self._objects.problems,
        )
        if not proof.findings and not report.problems:
            report.finished = [each for each in report.erasures if self._may_finish(each)]
        with self._connection.transaction():
            self._keep_findings(sorted({finding.what for finding in proof.findings}))
            report.finished = [each for each in report.finished if self._finish(each)]
            for erasure_id in report.erasures:
                facts = {
                    "erasure": str(erasure_id), "is_finished": erasure_id in report.finished,
                    "counts": report.counts.get(erasure_id, {}), "findings": len(report.findings),
                }  # fmt: skip
                record(self._connection, "system", "people:erased", "", facts)
        log.info("erasures_searched", finished=len(report.finished), findings=len(report.findings))
        return report

    def _may_finish(self, erasure_id: UUID) -> bool:
        """Whether nothing was found before, or a person says again who it is, and so has settled it."""
        return not self._found_before[erasure_id] or erasure_id in self._sought.people

    def _keep_findings(self, found: list[str]) -> None:
        """Write down what was found of those whom the caller knows: who does not know them would miss it."""
        if found and self._sought.people:
            self._connection.execute(
                "update ops.erasures set found = %s where erasure_id = any(%s)",
                (found, [each for each in self._report.erasures if each in self._sought.people]),
            )

    def _finish(self, erasure_id: UUID) -> bool:
        """False if a load has met the person since we began: then there is a new file to look at."""
        return bool(
            self._connection.execute(
                """
                update ops.erasures set finished_at = now(), found = '{}'
                where erasure_id = %s and reopened_at is not distinct from %s
                """,
                (erasure_id, self._reopened[erasure_id]),
            ).rowcount
        )

    def _object_eraser(self) -> ObjectEraser:
        is_known = set(self._people) >= self._tombstones.erasure_ids
        people = [plain(identifier) for kind, _, identifier in self._everybody() if kind in KINDS]
        needles = set(people) if is_known else None
        return ObjectEraser(self._settings, self._store, self._connection, self._tombstones, needles)

    def _everybody(self) -> list[Person]:
        return sorted(set().union(*self._people.values()))

    def _wait_for_loads(self) -> None:
        """Let loads end that began before the tombstones were there; later ones know them."""
        rows = self._connection.execute(
            """
            select distinct coalesce(u.parent_id, u.upload_id) as root_id
            from ops.uploads u join ops.upload_versions v using (upload_id) where v.status = 'loading'
            """
        )
        for root_id in claimed_families(self._connection, {row["root_id"] for row in rows}):
            with wait_for_family(self._connection, root_id):
                pass

    def _count(self, erasure_id: UUID, counts: Mapping[str, int]) -> None:
        """Add to what was counted, at once: a killed call has counted what it did."""
        if not counts:
            return
        mine = self._report.counts.setdefault(erasure_id, {})
        for place, number in counts.items():
            mine[place] = mine.get(place, 0) + number
        add_counts(self._connection, erasure_id, counts)
