"""Whatever people do to uploads, in whatever order: raw, statuses and staging are what a plain model says.

The model keeps lists of rows in memory and knows nothing of SQL, files or time. Runs and steps are few in CI;
`LAUREL_LONG_TEST_SECONDS=600` lets it run that long with other sequences each time.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr

from elt.errors import Conflict, DatabaseUnavailable
from elt.people.principals import Principal
from elt.settings import Settings
from elt.store.base import open_store
from elt.uploads import acts
from elt.uploads.discover import discover
from elt.uploads.events import Event, list_event_keys, read_event
from elt.uploads.lifecycle import approve_upload, withdraw_upload
from elt.uploads.rejects import rejects_csv
from elt.uploads.replay import replay
from elt.warehouse import connect
from tests.conftest import PostgresServer, Sender

LONG = float(os.environ.get("LAUREL_LONG_TEST_SECONDS") or 0)

KEYED, KEYLESS = "academic_history", "student_performance"
REJECT_LIMIT = 0.05
HOLD_SHARE, HOLD_MINIMUM_ROWS = 0.3, 20
LIVE_OR_WAITING = ("stored", "held", "loaded")

HEADERS = {
    KEYED: "Student ID,Grade Level,Subject,Term,Test Score,Exam Score,Total Score",
    KEYLESS: "gender,race/ethnicity,parental level of education,lunch,test preparation course,"
    "math score,reading score,writing score",
}
Held = set[tuple[UUID, int]]
"""For which versions the loader asked for a second person; None where it does not ask, in a replay."""

ADDED = ",line,column,rule,hint"


@dataclass(frozen=True)
class Row:
    """A row of a file. One that is not sound breaks a rule; `named` is what a fix says in column `line`."""

    student: int
    exam: int
    is_sound: bool = True
    named: int | None = None

    def text(self, dataset: str) -> str:
        if dataset == KEYED:
            total = 20 + self.exam + (not self.is_sound)
            cells = f"STU{self.student:03},JSS1,Mathematics,First Term,20,{self.exam},{total}"
        else:
            cells = f"female,group B,high school,standard,none,{self.exam},{self.student},"
            cells += "70" if self.is_sound else "170"
        return cells if self.named is None else f"{cells},{self.named},,,"

    @property
    def values(self) -> tuple[int, int]:
        return self.student, self.exam


def as_csv(dataset: str, rows: list[Row]) -> str:
    added = ADDED if rows and rows[0].named is not None else ""
    return "\n".join([HEADERS[dataset] + added, *(row.text(dataset) for row in rows)]) + "\n"


@dataclass
class Version:
    number: int
    rows: list[Row]
    order: int
    """Of its arrival."""
    rank: int
    """Of its rows; a fix has that of what it fixes."""
    status: str = "stored"
    is_approved: bool = False
    was_held: bool = False
    rejected: set[int] | None = None
    """Lines; None until it has been read."""
    read: int = 0


@dataclass
class Upload:
    upload_id: UUID
    dataset: str
    school: str
    owner: Principal
    versions: list[Version]
    parent: Upload | None = None
    parent_version: int = 0
    live: int = 0
    rows: list[tuple[int, Row]] = field(default_factory=list)
    """What of it is in raw, with lines."""
    brought: list[int] = field(default_factory=list)
    """The parent's lines that the live version of a fix stands for by name."""
    is_withdrawn: bool = False

    @property
    def newest(self) -> Version:
        return self.versions[-1]

    @property
    def root(self) -> Upload:
        return self.parent or self

    @property
    def live_rank(self) -> int:
        return self.versions[self.live - 1].rank


class Model:
    """What uploads are, in lists."""

    def __init__(self) -> None:
        self.uploads: list[Upload] = []
        self._clock = itertools.count(1)

    def new_upload(
        self, upload_id: UUID, dataset: str, school: str, owner: Principal, rows: list[Row]
    ) -> Upload:
        order = next(self._clock)
        return Upload(upload_id, dataset, school, owner, [Version(1, rows, order, order)])

    def new_fix(self, upload_id: UUID, rows: list[Row], parent: Upload) -> Upload:
        fix = self.new_upload(upload_id, parent.dataset, parent.school, parent.owner, rows)
        fix.parent, fix.parent_version = parent, parent.newest.number
        fix.newest.rank = parent.newest.rank
        return fix

    def new_version(self, upload: Upload, rows: list[Row]) -> Version:
        order = next(self._clock)
        rank = upload.parent.versions[upload.parent_version - 1].rank if upload.parent else order
        return Version(upload.newest.number + 1, rows, order, rank)

    def add(self, upload: Upload) -> None:
        """Also an upload that is found late, when what it belongs to may have ended."""
        self.uploads.append(upload)
        parent = upload.parent
        if parent and (parent.is_withdrawn or upload.parent_version < parent.live):
            self.withdraw(upload)

    def add_version(self, upload: Upload, version: Version) -> None:
        """Also one that is found late, when its sender may have sent another under its number."""
        if version.number > upload.newest.number:
            upload.versions.append(version)
            version.status = "withdrawn" if upload.is_withdrawn else "stored"

    def withdraw(self, upload: Upload) -> None:
        for each in [upload, *self.fixes(upload)]:
            each.is_withdrawn, each.live, each.rows, each.brought = True, 0, [], []
            for version in each.versions:
                version.status = "withdrawn"

    def approve(self, upload: Upload) -> None:
        held = [version for version in upload.versions if version.status == "held"][-1]
        held.status, held.is_approved = "stored", True

    def fixes(self, upload: Upload) -> list[Upload]:
        return [each for each in self.uploads if each.parent is upload]

    def waiting(self) -> list[tuple[Upload, Version]]:
        found = [
            (upload, version)
            for upload in self.uploads
            for version in upload.versions
            if version.status == "stored"
        ]
        return sorted(found, key=lambda pair: pair[1].order)

    def load(self, upload: Upload, version: Version, held: Held | None) -> None:
        """Load a version and, before it, what its family handed in earlier."""
        due = [
            pair for pair in self.waiting() if pair[0].root is upload.root and pair[1].order <= version.order
        ]
        for each, its_version in due:
            if its_version.status == "stored" and its_version.number > each.live:
                self._load(each, its_version, held)

    def _load(self, upload: Upload, version: Version, held: Held | None) -> None:
        accepted, brought = self._read(upload, version)
        if not self._may_load(upload, version, accepted, brought):
            version.status = "rejected"
        elif not version.is_approved and (version.was_held or self._is_held(upload, version, accepted, held)):
            version.status, version.was_held = "held", True
        else:
            self._make_live(upload, version, accepted, brought or [])

    def _read(self, upload: Upload, version: Version) -> tuple[list[tuple[int, Row]], list[int] | None]:
        """Rows that keep the rules, with lines and without repeats; for fixes by line the lines."""
        version.rejected, version.read = set(), len(version.rows)
        by_line = bool(upload.parent) and version.rows[0].named is not None
        open_lines = self.open_lines(upload) if upload.parent else set()
        accepted: list[tuple[int, Row]] = []
        brought: list[int] = []
        used: set[int] = set()
        for line, row in enumerate(version.rows, start=2):
            if by_line and (row.named not in open_lines or row.named in used):
                version.rejected.add(line)
                continue
            if by_line:
                assert row.named is not None
                used.add(row.named)
            at = row.named if by_line and row.named is not None else line
            if not row.is_sound:
                version.rejected.add(at if by_line else line)
                continue
            if by_line:
                brought.append(at)
            is_repeat = upload.dataset == KEYED and any(row.values == other.values for _, other in accepted)
            if not is_repeat:
                accepted.append((at, row))
        return accepted, brought if by_line else None

    def open_lines(self, fix: Upload) -> set[int]:
        """The parent's rejected lines that no other fix has brought by name."""
        assert fix.parent
        others = [
            line
            for other in self.fixes(fix.parent)
            if other is not fix and other.parent_version == fix.parent_version
            for line in other.brought
        ]
        return (fix.parent.versions[fix.parent_version - 1].rejected or set()) - set(others)

    def brought_lines(self, upload: Upload, version: Version) -> int:
        """How many rejected lines of a version live fixes stand for, by name or not."""
        return sum(
            len(fix.brought) or len(fix.rows)
            for fix in self.fixes(upload)
            if fix.live and fix.parent_version == version.number
        )

    def _may_load(
        self, upload: Upload, version: Version, accepted: list[Any], brought: list[int] | None
    ) -> bool:
        assert version.rejected is not None
        if not version.rows or not accepted:
            return False
        if upload.parent is None:
            return self._keeps_limit(upload, version)
        if brought is not None:
            return True
        unnamed = sum(
            len(other.rows)
            for other in self.fixes(upload.parent)
            if other is not upload
            and other.live
            and other.parent_version == upload.parent_version
            and not other.brought
        )
        return len(accepted) <= max(0, len(self.open_lines(upload)) - unnamed)

    def _keeps_limit(self, upload: Upload, version: Version) -> bool:
        left = len(version.rejected or ()) - self.brought_lines(upload, version)
        return left <= REJECT_LIMIT * version.read

    def _is_held(
        self, upload: Upload, version: Version, accepted: list[tuple[int, Row]], held: Held | None
    ) -> bool:
        """As the loader found, which knows what staging shows; but never where nothing would change."""
        if held is None:
            return False
        is_held = (upload.upload_id, version.number) in held
        if upload.live and not upload.parent:
            touched, existing = self._replaced(upload, accepted)
            if existing >= HOLD_MINIMUM_ROWS and touched > HOLD_SHARE * existing:
                assert is_held, f"{touched} of {existing} rows would change"
        if is_held:
            assert self._touches(upload, accepted), "nothing would change"
        return is_held

    def _replaced(self, upload: Upload, accepted: list[tuple[int, Row]]) -> tuple[int, int]:
        if upload.dataset == KEYLESS:
            old, new = (Counter(row.values for _, row in rows) for rows in (upload.rows, accepted))
            return sum((old - new).values()), len(upload.rows)
        last_old, last_new = (
            {row.student: row.exam for _, row in sorted(rows, key=lambda pair: pair[0])}
            for rows in (upload.rows, accepted)
        )
        return sum(last_new.get(student) != exam for student, exam in last_old.items()), len(last_old)

    def _touches(self, upload: Upload, accepted: list[tuple[int, Row]]) -> bool:
        if upload.live and self._replaced(upload, accepted)[0]:
            return True
        values = {row.student: row.exam for _, row in accepted}
        return any(
            row.student in values and row.exam != values[row.student]
            for other in self.uploads
            if other.dataset == upload.dataset and other.school == upload.school and other is not upload
            for _, row in other.rows
        )

    def _make_live(
        self, upload: Upload, version: Version, accepted: list[tuple[int, Row]], brought: list[int]
    ) -> None:
        for older in upload.versions[: version.number - 1]:
            if older.status in LIVE_OR_WAITING:
                older.status = "withdrawn"
        for fix in self.fixes(upload):
            if fix.parent_version < version.number and not fix.is_withdrawn:
                self.withdraw(fix)
        version.status = "loaded"
        upload.live, upload.rows, upload.brought = version.number, accepted, brought
        parent = upload.parent
        if parent and parent.newest.status == "rejected" and self._keeps_limit(parent, parent.newest):
            parent.newest.status = "stored"

    def raw(self, dataset: str) -> Counter[tuple[Any, ...]]:
        return Counter(
            (upload.school, row.student, row.exam, line, upload.upload_id)
            for upload in self.uploads
            if upload.dataset == dataset
            for line, row in upload.rows
        )

    def winners(self) -> dict[tuple[str, int], int]:
        """The exam score that wins for each student of each school."""
        best: dict[tuple[str, int], tuple[Any, int]] = {}
        for upload in self.uploads:
            if upload.dataset != KEYED:
                continue
            for line, row in upload.rows:
                strength = (upload.live_rank, line, upload.upload_id)
                key = (upload.school, row.student)
                if key not in best or strength > best[key][0]:
                    best[key] = (strength, row.exam)
        return {key: exam for key, (_, exam) in best.items()}

    def later(self, upload: Upload, rank: int) -> list[Upload]:
        """Uploads of the dataset, outside the family, with a live or waiting version that ranks higher."""
        return [
            other
            for other in self.uploads
            if other.dataset == upload.dataset
            and other.root is not upload.root
            and any(version.rank > rank and version.status in LIVE_OR_WAITING for version in other.versions)
        ]


@dataclass(frozen=True)
class File:
    """What a drawn file is made of: consecutive students, the first of them wrong."""

    first: int
    count: int
    exam: int
    faults: int
    has_repeat: bool
    has_twin: bool
    """The first student a second time, with another score."""

    @property
    def rows(self) -> list[Row]:
        rows = [Row(self.first + number, self.exam, number >= self.faults) for number in range(self.count)]
        return rows + rows[-1:] * self.has_repeat + [Row(self.first, 42)] * self.has_twin


# Few different ones, so that equal files and such with equal keys are often drawn.
files = st.builds(
    File,
    first=st.sampled_from([0, 0, 10]),
    count=st.sampled_from([1, 22, 22, 44]),
    exam=st.sampled_from([40, 41]),
    faults=st.sampled_from([0, 1, 2, 4]),
    has_repeat=st.booleans(),
    has_twin=st.booleans(),
)


# Staging as dbt/macros/newest_rows.sql makes it.
STAGING = """
    create schema staging;
    create table staging.stg_academic_history as
        select null::uuid as row_key, now() as _ranked_at, r.* from raw.academic_history r limit 0;
    create unique index on staging.stg_academic_history (row_key);
    grant usage on schema staging to laurel_loader;
    grant select on staging.stg_academic_history to laurel_loader;
"""

BUILD = """
    create temporary table removed on commit drop as
        select distinct c.row_key from raw.academic_history__changed c join ops.loads l using (load_id)
        where l.built_at is null;
    create temporary table winners on commit drop as
        select distinct on (row_key) * from (
            select ops.row_key(r.school_id, student_id, academic_year, grade_level, subject, term) as row_key,
                   v.ranked_at as _ranked_at, r.*
            from raw.academic_history r
            join ops.uploads u on u.upload_id = r._upload_id
            join ops.upload_versions v on v.upload_id = u.upload_id and v.version = u.live_version
        ) keyed
        where row_key in (select row_key from removed)
           or _upload_id in (select upload_id from ops.loads where built_at is null)
        order by row_key, _ranked_at desc, _line desc, _upload_id desc;
    delete from winners w using staging.stg_academic_history before
        where before.row_key = w.row_key and w.row_key not in (select row_key from removed)
          and (w._ranked_at, w._line, w._upload_id) < (before._ranked_at, before._line, before._upload_id);
    delete from staging.stg_academic_history
        where row_key in (select row_key from removed union select row_key from winners);
    insert into staging.stg_academic_history select * from winners;
    update ops.loads set built_at = now() where built_at is null;
    truncate raw.academic_history__changed
"""

PEOPLE = [Principal("key:researcher", "researcher"), Principal("key:other", "researcher")]
ADMIN = Principal("key:admin", "admin")
numbers = itertools.count(1)


class UploadMachine(RuleBasedStateMachine):
    """The platform beside its model."""

    server: PostgresServer
    template: str
    home: Path

    def __init__(self) -> None:
        super().__init__()
        self.database = f"machine_{next(numbers)}"
        url = self.server.create_database(self.database, self.template)
        home = Path(tempfile.mkdtemp(dir=self.home))
        self.settings = Settings(
            home=home,
            database_url=SecretStr(url),
            secret_key=SecretStr("x" * 32),
            pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
            store_url=(home / "store").as_uri(),
            hold_share=HOLD_SHARE,
            hold_minimum_rows=HOLD_MINIMUM_ROWS,
        )
        self.connection = connect(url)
        self.store = open_store(self.settings.resolved_store_url)
        self.sender = Sender(self.settings, self.connection, self.store)
        self.model = Model()
        self.news: Counter[str] = Counter()
        self.lost: list[tuple[Any, Callable[[], None]]] = []
        """What the store knows and the database does not, in order."""
        self.connection.execute(STAGING)

    # What people do

    @rule(
        file=files,
        dataset=st.sampled_from([KEYED, KEYED, KEYLESS]),
        school=st.sampled_from(["main", "main", "north"]),
        owner=st.sampled_from(PEOPLE),
    )
    def upload(self, file: File, dataset: str, school: str, owner: Principal) -> None:
        self._note_act()
        rows = file.rows
        content = as_csv(dataset, rows)
        accepted = self.sender.send(content, dataset, school_id=school, principal=owner)
        same = self._same(dataset, school, owner, rows)
        self._check_same(same, accepted.upload_id, accepted.created)
        if accepted.created:
            self.model.add(self.model.new_upload(accepted.upload_id, dataset, school, owner, rows))

    @precondition(lambda self: self._alive())
    @rule(pick=st.integers(0, 50), file=files)
    def replace(self, pick: int, file: File) -> None:
        self._note_act()
        self._replace(self._pick(pick, [each for each in self._alive() if not each.parent]), file.rows)

    @precondition(lambda self: self._fixable())
    @rule(
        pick=st.integers(0, 50),
        keep=st.integers(1, 15),
        exam=st.sampled_from([40, 41]),
        by_line=st.sampled_from([True, True, False]),
    )
    def fix(self, pick: int, keep: int, exam: int, by_line: bool) -> None:
        """Correct some of the rejected rows; of others only the line is named, or they stay wrong."""
        self._note_act()
        upload = self._pick(pick, self._fixable())
        rows = self._corrected(upload, keep, exam, by_line)
        same = [each for each in self.model.fixes(upload) if self._holds(each, rows)
                and each.parent_version == upload.newest.number]  # fmt: skip
        left = len(upload.newest.rejected or ()) - self.model.brought_lines(upload, upload.newest)
        try:
            accepted = self.sender.send(
                as_csv(upload.dataset, rows), upload.dataset, principal=upload.owner, fixes=upload.upload_id
            )
        except Conflict:
            assert left <= 0
            return
        self._check_same(same, accepted.upload_id, accepted.created)
        if accepted.created:
            self.model.add(self.model.new_fix(accepted.upload_id, rows, upload))

    @precondition(lambda self: any(each.parent for each in self._alive()))
    @rule(
        pick=st.integers(0, 50),
        keep=st.integers(1, 15),
        exam=st.sampled_from([40, 41]),
        by_line=st.booleans(),
    )
    def replace_fix(self, pick: int, keep: int, exam: int, by_line: bool) -> None:
        self._note_act()
        fix = self._pick(pick, [each for each in self._alive() if each.parent])
        assert fix.parent
        if fix.parent.versions[fix.parent_version - 1].rejected:
            self._replace(fix, self._corrected(fix.parent, keep, exam, by_line, fix.parent_version))

    @precondition(lambda self: len(self._alive()) > 2)
    @rule(pick=st.integers(0, 50))
    def withdraw(self, pick: int) -> None:
        self._note_act()
        upload = self._pick(pick, self.model.uploads)
        if upload.is_withdrawn:
            with pytest.raises(Conflict):
                withdraw_upload(self.connection, self.store, upload.upload_id, upload.owner)
            return
        withdraw_upload(self.connection, self.store, upload.upload_id, upload.owner)
        self.model.withdraw(upload)

    @precondition(lambda self: self._held())
    @rule(pick=st.integers(0, 50))
    def approve(self, pick: int) -> None:
        self._note_act()
        upload = self._pick(pick, self._held())
        approve_upload(self.connection, self.store, upload.upload_id, ADMIN)
        self.model.approve(upload)

    # The same, where the database goes away between the event and its own transaction

    @rule(file=files, dataset=st.sampled_from([KEYED, KEYLESS]), again=st.booleans())
    def lose_upload(self, file: File, dataset: str, again: bool) -> None:
        """Its sender may try again at once."""
        self._note_act()
        owner, content = PEOPLE[0], as_csv(dataset, file.rows)
        event = self._lose(lambda: self.sender.send(content, dataset, school_id="main", principal=owner))
        if event is None:
            return
        upload = self.model.new_upload(event.upload_id, dataset, "main", owner, file.rows)
        self.lost.append((upload.upload_id, lambda: self._find_upload(upload)))
        if again:
            self.upload(file, dataset, "main", owner)

    @precondition(lambda self: self._fixable())
    @rule(pick=st.integers(0, 50), keep=st.integers(1, 15), exam=st.sampled_from([40, 41]))
    def lose_fix(self, pick: int, keep: int, exam: int) -> None:
        self._note_act()
        parent = self._pick(pick, self._fixable())
        rows = self._corrected(parent, keep, exam, by_line=True)
        request = {"principal": parent.owner, "fixes": parent.upload_id}
        with suppress(Conflict):
            event = self._lose(
                lambda: self.sender.send(as_csv(parent.dataset, rows), parent.dataset, **request)
            )
            if event is not None:
                fix = self.model.new_fix(event.upload_id, rows, parent)
                self.lost.append((fix.upload_id, lambda: self.model.add(fix)))

    @precondition(lambda self: self._alive())
    @rule(pick=st.integers(0, 50), file=files)
    def lose_replacement(self, pick: int, file: File) -> None:
        self._note_act()
        upload = self._pick(pick, [each for each in self._alive() if not each.parent])
        content = as_csv(upload.dataset, file.rows)
        event = self._lose(lambda: self.sender.replace(upload.upload_id, content, upload.owner))
        if event is not None:
            version = self.model.new_version(upload, file.rows)
            name = (upload.upload_id, version.number)
            self.lost = [lost for lost in self.lost if lost[0] != name]  # the same number again
            self.lost.append((name, lambda: self.model.add_version(upload, version)))

    @precondition(lambda self: self._alive())
    @rule(pick=st.integers(0, 50))
    def lose_withdrawal(self, pick: int) -> None:
        self._note_act()
        upload = self._pick(pick, self._alive())
        self._lose(lambda: withdraw_upload(self.connection, self.store, upload.upload_id, upload.owner))
        self.lost.append((None, lambda: self.model.withdraw(upload)))

    # What Laurel does, each where something has happened since it did so last

    @precondition(lambda self: self.model.uploads and self.news["load"])
    @rule(pick=st.integers(0, 50), version=st.integers(0, 5))
    def load(self, pick: int, version: int) -> None:
        """Any version at any time: tasks may come late and twice."""
        self.news["load"] -= 1
        upload = self._pick(pick, self.model.uploads)
        found = upload.versions[version % len(upload.versions)]
        self.sender.load(upload.upload_id, found.number)
        self.model.load(upload, found, self._holds_so_far())

    @precondition(lambda self: self.news["run"])
    @rule()
    def run(self) -> None:
        self.news["run"] = 0
        found = [(each.upload_id, each.version) for each in discover(self.settings, self.store)]
        for _, happens in self.lost:
            happens()
        self.lost = []
        waiting = self.model.waiting()
        assert found == [(upload.upload_id, version.number) for upload, version in waiting]
        for upload, version in waiting:
            self.sender.load(upload.upload_id, version.number)
            self.model.load(upload, version, self._holds_so_far())

    @precondition(lambda self: self.news["build"])
    @rule()
    def build(self) -> None:
        """As dbt does: only keys of unbuilt loads, and keys that were taken out, are looked at."""
        self.news["build"] = 0
        self.connection.execute(BUILD)
        staged = self.connection.execute(
            "select school_id, student_id, exam_score from staging.stg_academic_history"
        )
        found = {(row["school_id"], int(row["student_id"][3:])): row["exam_score"] for row in staged}
        assert found == self.model.winners()

    @precondition(lambda self: self.news["replay"] >= 5)
    @rule()
    def replay(self) -> None:
        """The same again from the store alone; what waited is loaded too."""
        self.news["replay"] = 0
        if self.lost:
            self.run()
        report = replay(self.settings, self.store, wipe=True)
        assert report.unreadable == []
        self._load_all_as_replay()
        self.connection.execute("truncate staging.stg_academic_history")

    def _note_act(self) -> None:
        self.news.update(("load", "run", "build", "replay"))

    # What must be so after each step

    @invariant()
    def raw_is_what_the_model_says(self) -> None:
        for dataset in (KEYED, KEYLESS):
            assert self._raw(dataset) == self.model.raw(dataset)

    @invariant()
    def every_version_has_the_outcome_that_the_model_says(self) -> None:
        rows = self.connection.execute(
            "select upload_id, version, status from ops.upload_versions"
        ).fetchall()
        assert {(row["upload_id"], row["version"]): row["status"] for row in rows} == {
            (upload.upload_id, version.number): version.status
            for upload in self.model.uploads
            for version in upload.versions
        }

    def teardown(self) -> None:
        try:
            kept = {item.key for item in self.store.list("uploads/")}
            events = [read_event(self.store, key) for _, key in list_event_keys(self.store)]
            told = {event.body["object"]["key"] for event in events if "object" in event.body}
            assert kept == told, "an object without event, or the reverse"
        finally:
            self.connection.close()
            self.server.drop_database(self.database)

    # Parts of the above

    def _lose(self, act: Callable[[], object]) -> Event | None:
        """Act while the database goes away; None where there was nothing to do."""

        def away(*_: object) -> None:
            raise DatabaseUnavailable("away")

        before = {key for _, key in list_event_keys(self.store)}
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(acts, "adopt_event", away)
            try:
                act()
            except DatabaseUnavailable:
                [key] = {key for _, key in list_event_keys(self.store)} - before
                return read_event(self.store, key)
        return None

    def _find_upload(self, upload: Upload) -> None:
        """It is withdrawn at once if its sender has handed the file in again since."""
        same = self._same(upload.dataset, upload.school, upload.owner, upload.newest.rows)
        again = [other for other in same if other.versions[0].order > upload.newest.order]
        self.model.add(upload)
        ended = self.connection.execute(
            "select from ops.uploads where upload_id = %s and withdrawn_by = 'system'", (upload.upload_id,)
        )
        if ended.rowcount:
            assert again
            self.model.withdraw(upload)
        else:
            assert upload.dataset == KEYED or not again

    def _same(self, dataset: str, school: str, owner: Principal, rows: list[Row]) -> list[Upload]:
        """Uploads that handing in these rows would only repeat, unless they are overridden."""
        return [
            upload
            for upload in self.model.uploads
            if not upload.parent
            and (upload.dataset, upload.school, upload.owner) == (dataset, school, owner)
            and self._holds(upload, rows)
        ]

    def _replace(self, upload: Upload, rows: list[Row]) -> None:
        newest = upload.newest
        content = as_csv(upload.dataset, rows)
        version = self.sender.replace(upload.upload_id, content, upload.owner)
        if version == newest.number:
            assert newest.rows == rows
            assert newest.status in LIVE_OR_WAITING
        else:
            assert version == newest.number + 1
            is_same = newest.rows == rows and newest.status in LIVE_OR_WAITING
            assert not is_same or self.model.later(upload, newest.rank)
            self.model.add_version(upload, self.model.new_version(upload, rows))

    def _corrected(
        self, upload: Upload, keep: int, exam: int, by_line: bool, version: int | None = None
    ) -> list[Row]:
        """Of the rejected rows those whose bit is set in `keep`, corrected; with all bits the last is not."""
        described = upload.versions[(version or upload.newest.number) - 1]
        text = b"".join(rejects_csv(self.connection, self.store, upload.upload_id, described.number)).decode()
        lines = [int(row["line"]) for row in csv.DictReader(io.StringIO(text))]
        assert set(lines) == described.rejected
        chosen = [line for bit, line in enumerate(lines) if keep >> (bit % 4) & 1] or lines[:1]
        rows = []
        for line in chosen:
            wrong = described.rows[line - 2]
            rows.append(Row(wrong.student, exam, True, line if by_line else None))
        if keep == 15:
            last = rows.pop()
            rows.append(Row(last.student, last.exam, False, last.named))
        return rows

    def _holds(self, upload: Upload, rows: list[Row]) -> bool:
        """Whether handing in these rows again would repeat the upload."""
        if upload.is_withdrawn:
            return False
        newest = upload.newest
        if newest.status in LIVE_OR_WAITING:
            return newest.rows == rows
        return bool(upload.live) and upload.versions[upload.live - 1].rows == rows

    def _check_same(self, same: list[Upload], upload_id: UUID, is_new: bool) -> None:
        """What is only repeated is known again, unless a later upload may have overridden it."""
        if not is_new:
            [known] = [upload for upload in same if upload.upload_id == upload_id]
            mine = {(known.school, row.student) for _, row in known.rows}
            for other in self.model.later(known, known.live_rank) if known.live else ():
                assert known.dataset == KEYLESS or not mine & {
                    (other.school, row.student) for _, row in other.rows
                }
            return
        for upload in same:
            is_newest = upload.newest.status in LIVE_OR_WAITING
            assert upload.dataset == KEYED
            assert self.model.later(upload, upload.newest.rank if is_newest else upload.live_rank)

    def _load_all_as_replay(self) -> None:
        while waiting := self.model.waiting():
            for upload, version in waiting:
                self.model.load(upload, version, None)

    def _holds_so_far(self) -> Held:
        rows = self.connection.execute(
            "select upload_id, (body ->> 'version')::integer as version from ops.events where kind = 'held'"
        )
        return {(row["upload_id"], row["version"]) for row in rows}

    def _raw(self, dataset: str) -> Counter[tuple[Any, ...]]:
        if dataset == KEYED:
            columns = "school_id, substr(student_id, 4)::integer, exam_score, _line, _upload_id"
        else:
            columns = "school_id, reading_score, math_score, _line, _upload_id"
        rows = self.connection.execute(f"select {columns} from raw.{dataset}")
        return Counter(tuple(row.values()) for row in rows)

    def _alive(self) -> list[Upload]:
        return [upload for upload in self.model.uploads if not upload.is_withdrawn]

    def _held(self) -> list[Upload]:
        return [
            upload
            for upload in self.model.uploads
            if any(version.status == "held" for version in upload.versions)
        ]

    def _fixable(self) -> list[Upload]:
        return [
            upload
            for upload in self._alive()
            if not upload.parent and upload.newest.status in ("loaded", "rejected") and upload.newest.rejected
        ]

    @staticmethod
    def _pick(number: int, uploads: list[Upload]) -> Upload:
        return uploads[number % len(uploads)]


@pytest.fixture
def machine(postgres_server: PostgresServer, _template: str, tmp_path: Path) -> type[UploadMachine]:
    """The machine on this session's server."""
    places = {"server": postgres_server, "template": _template, "home": tmp_path}
    return type("Machine", (UploadMachine,), places)


def test_whatever_people_do_raw_and_staging_are_what_the_model_says(machine: type[UploadMachine]) -> None:
    quick = settings(
        max_examples=8,
        stateful_step_count=25,
        deadline=None,
        database=None,
        derandomize=True,
        print_blob=False,
        phases=[Phase.generate],  # making a failure smaller takes minutes
        suppress_health_check=list(HealthCheck),
    )
    if not LONG:
        run_state_machine_as_test(machine, settings=quick)
        return
    ends = time.monotonic() + LONG
    while time.monotonic() < ends:
        number = random.SystemRandom().randrange(2**32)
        print(f"sequences of seed {number}")
        varied = settings(quick, derandomize=False, max_examples=40, stateful_step_count=50)
        run_state_machine_as_test(seed(number)(machine), settings=varied)
