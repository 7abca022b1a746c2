"""A disk that is full, wherever something is written on the way: nothing is lost, the next run completes it.

The kernel itself refuses to write, as it does for `/dev/full`. The three cells of this group: temporary files
of the loader; COPY; dbt. The store's folder and S3 are in `test_store_folder_faults` and
`test_store_s3_faults`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from psycopg import sql
from uuid6 import uuid7

from elt.errors import DiskFull, TransformError
from elt.transforming.transform import transform
from elt.uploads.discover import discover
from tests.conftest import PostgresServer

FULL = Path("/dev/full")

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.fixture
def no_room_for(postgres_server: PostgresServer, connection) -> Callable[[str], AbstractContextManager[None]]:
    """Lets PostgreSQL find no room for a table that is empty."""

    @contextmanager
    def full(table: str) -> Iterator[None]:
        row = connection.execute("select pg_relation_filepath(%s) as path", (table,)).fetchone()
        path = postgres_server.cluster.data / row["path"]
        postgres_server.execute(sql.SQL("checkpoint"))
        assert path.stat().st_size == 0
        kept = path.rename(f"{path}.kept")
        path.symlink_to(FULL)
        try:
            yield
        finally:
            path.unlink()
            kept.rename(path)

    return full


def _recover(sender) -> None:
    """What the next run does."""
    for item in discover(sender.settings, sender.store):
        sender.load(item.upload_id, item.version)


def _count(sender, table: str) -> int:
    query = sql.SQL("select count(*) as rows from {}").format(sql.Identifier(*table.split(".")))
    return sender.connection.execute(query).fetchone()["rows"]


def _assert_waits(sender, upload_id: UUID) -> None:
    upload = sender.upload(upload_id)
    assert upload.status == "stored"
    assert upload.reason
    assert (_count(sender, "raw.academic_history"), _count(sender, "ops.loads")) == (0, 0)
    assert _count(sender, "ops.row_issues") == 0


BAD = "STU{:05},JSS1,Mathematics,First Term,20,40,61"  # total ≠ test + exam


@pytest.mark.parametrize("what", ["findings", "repeats"])
def test_no_room_for_temporary_files_leaves_the_version_for_the_next_run(sender, history, monkeypatch, what):
    """Both are kept in memory as long as they are small."""
    rows = 400_000 if what == "findings" else 140_000
    faults = {number: BAD.format(number) for number in range(19_000)} if what == "findings" else {}
    upload_id = sender.send(history(range(rows), faults=faults)).upload_id
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "TemporaryFile", lambda *_, **__: FULL.open("w+b"))
        with pytest.raises(DiskFull, match="ENOSPC"):
            sender.load(upload_id)

    _assert_waits(sender, upload_id)
    _recover(sender)
    counts = sender.upload(upload_id).counts
    assert (counts.read, counts.loaded) == (rows, rows - len(faults))
    assert _count(sender, "ops.row_issues") == len(faults)


def test_no_room_for_rows_leaves_the_version_for_the_next_run(sender, history, no_room_for):
    upload_id = sender.send(history(range(50))).upload_id
    with no_room_for("raw.academic_history"), pytest.raises(DiskFull, match="PostgreSQL has no room"):
        sender.load(upload_id)

    _assert_waits(sender, upload_id)
    _recover(sender)
    assert sender.upload(upload_id).counts.loaded == _count(sender, "raw.academic_history") == 50


def test_no_room_for_findings_leaves_the_version_for_the_next_run(sender, history, no_room_for):
    upload_id = sender.send(history(range(50), faults={1: BAD.format(1)})).upload_id
    with no_room_for("ops.row_issues"), pytest.raises(DiskFull, match="PostgreSQL has no room"):
        sender.load(upload_id)

    _assert_waits(sender, upload_id)
    _recover(sender)
    assert sender.upload(upload_id).counts.loaded == _count(sender, "raw.academic_history") == 49


@pytest.mark.usefixtures("built_marts")
def test_a_build_without_room_is_done_again_when_there_is_some(sender, history, no_room_for):
    def build():
        return transform(sender.settings, UUID(int=uuid7().int))

    sender.hand_in(history(range(3)))
    build()
    sender.hand_in(history(range(2, 6), exam=50))
    with no_room_for("staging.stg_academic_history__changed"), pytest.raises(TransformError) as raised:
        build()

    assert "No space left on device" in raised.value.detail
    assert _count(sender, "marts.mart_student_overview") == 3
    assert build().loads == 1
    staged = sender.connection.execute("select exam_score from staging.stg_academic_history").fetchall()
    assert sorted(row["exam_score"] for row in staged) == [40, 40, 50, 50, 50, 50]
    assert _count(sender, "marts.mart_student_overview") == 6
