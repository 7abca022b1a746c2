"""Marts written to the store."""

from __future__ import annotations

import hashlib
import io
from uuid import uuid4

import polars as pl
import pytest

from elt.errors import StoreUnavailable
from elt.serving.publish import publish, read_manifest
from elt.settings import Settings
from elt.store.base import Store, open_store
from elt.warehouse import Connection


@pytest.fixture
def marts(connection: Connection) -> Connection:
    connection.execute(
        """
        create schema marts;
        create table marts.mart_a (student_id text primary key, note text);
        insert into marts.mart_a values ('002', ''), ('001', null);
        create view marts.mart_b as select count(*) as students from marts.mart_a;
        """
    )
    return connection


def _content(store: Store, key: str) -> bytes:
    with store.open(key) as stream:
        return stream.read()


def test_every_mart_is_written_as_csv_and_parquet(
    marts: Connection, settings: Settings, store: Store
) -> None:
    run_id = uuid4()
    written = publish(settings, store, run_id=run_id)
    assert written == ["marts/mart_a.csv", "marts/mart_a.parquet", "marts/mart_b.csv", "marts/mart_b.parquet"]
    assert _content(store, "marts/mart_a.csv") == b'student_id,note\n001,\n002,""\n'
    assert pl.read_parquet(io.BytesIO(_content(store, "marts/mart_a.parquet")))["note"].to_list() == [
        None,
        "",
    ]
    manifest = read_manifest(store)["marts"]
    assert {name: entry["rows"] for name, entry in manifest.items()} == {"mart_a": 2, "mart_b": 1}
    for entry in manifest.values():
        assert entry["run_id"] == str(run_id)
        for file in entry["files"]:
            content = _content(store, file["key"])
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size"], file["sha256"])


def test_only_what_changed_is_written(marts: Connection, settings: Settings, store: Store) -> None:
    publish(settings, store)
    before = {found.key: found.etag for found in store.list("marts/")}
    marts.execute("insert into marts.mart_a values ('003', 'x')")
    assert publish(settings, store, changed_marts=["mart_a", "mart_unknown"]) == [
        "marts/mart_a.csv",
        "marts/mart_a.parquet",
    ]
    after = {found.key: found.etag for found in store.list("marts/")}
    assert {key for key in after if after[key] != before[key]} == {
        "marts/mart_a.csv",
        "marts/mart_a.parquet",
        "marts/manifest.json",
    }
    assert [read_manifest(store)["marts"][name]["rows"] for name in ("mart_a", "mart_b")] == [3, 1]


def test_nothing_is_touched_where_nothing_changed(
    marts: Connection, settings: Settings, store: Store
) -> None:
    assert publish(settings, store, changed_marts=[]) == []
    assert list(store.list()) == []


def test_a_run_that_breaks_off_can_be_repeated(marts: Connection, settings: Settings, store: Store) -> None:
    broken = open_store((settings.home / "store").as_uri())
    (settings.home / "store").mkdir()
    (settings.home / "store" / "marts").write_bytes(b"in the way")
    with pytest.raises(Exception, match="not a folder"):
        publish(settings, broken)
    (settings.home / "store" / "marts").unlink()
    assert len(publish(settings, store)) == 4


def test_a_store_that_is_away_is_said_so(marts: Connection, settings: Settings) -> None:
    (settings.home / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        publish(settings, open_store((settings.home / "file" / "store").as_uri()))
