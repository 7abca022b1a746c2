"""The embedded PostgreSQL where it is hard: below closed folders, after a crash, without room."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local import leftovers, ports, postgres

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another account")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that only its owner may pass, as `mktemp -d` makes it."""
    made = Path(tempfile.mkdtemp(prefix="laurel-test-"))
    yield made
    cluster = made / "postgres"
    if cluster.is_symlink():
        shutil.rmtree(cluster.resolve())
    shutil.rmtree(made)


def _run_and_ask(cluster: postgres.Cluster, password: str, log: Path, statement: str) -> object:
    process = postgres.start(cluster, password, log=log, settings=postgres.TEST_SETTINGS)
    try:
        with psycopg.connect(cluster.url(password), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchone() if cursor.description else None
    finally:
        postgres.stop(process)


def test_data_survive_in_a_folder_that_only_its_owner_may_pass(folder: Path) -> None:
    password = secrets.token_urlsafe(12)
    for statement, answer in [("create table kept (n int)", None), ("select count(*) from kept", (0,))]:
        cluster = postgres.prepare(folder / "postgres", ports.find_free_port())
        postgres.initialise(cluster, password)
        assert _run_and_ask(cluster, password, folder / "log", statement) == answer
    assert folder.stat().st_mode & 0o777 == 0o700  # no one was let in


@as_root
def test_root_runs_the_server_as_an_account_without_rights(folder: Path) -> None:
    cluster = postgres.prepare(folder / "postgres", ports.find_free_port())
    postgres.initialise(cluster, "pw")
    process = postgres.start(cluster, "pw", log=folder / "log")
    try:
        found = leftovers.find_postmaster(folder / "postgres")
        assert found is not None
        assert found.pid == process.pid
        assert found.uids().effective == cluster.account.uid  # type: ignore[union-attr]
    finally:
        postgres.stop(process)
    assert leftovers.find_postmaster(folder / "postgres") is None


@as_root
def test_a_later_clone_at_the_same_path_does_not_meet_old_data(folder: Path) -> None:
    first = postgres.prepare(folder / "postgres", 1)
    (folder / "postgres").unlink()
    second = postgres.prepare(folder / "postgres", 1)

    assert first.root != second.root
    shutil.rmtree(first.root)


def test_a_cluster_half_made_is_made_again(folder: Path) -> None:
    cluster = postgres.prepare(folder / "postgres", ports.find_free_port())
    half = cluster.root / "new-0000"
    half.mkdir()
    postgres.initialise(cluster, "pw")

    assert (cluster.data / "PG_VERSION").exists()
    assert [path.name for path in cluster.root.glob("*.pw")] == []


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    cluster = postgres.prepare(folder / "postgres", ports.find_free_port())
    postgres.initialise(cluster, "pw")
    with pytest.raises(postgres.DatabaseUnavailable, match="unrecognized configuration parameter"):
        postgres.start(cluster, "pw", log=folder / "log", settings={"no_such": "setting"})
