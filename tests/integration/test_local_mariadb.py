"""The private MariaDB of tests and demo: whoever starts it, it keeps to itself, and its data last."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pymysql
import pytest

from elt.errors import ConfigurationError, DatabaseUnavailable
from local import mariadb, ports
from tests.conftest import MariaDBServer

PASSWORD = "it's \\ a: p@ss/word for-tests"


@pytest.fixture
def folder() -> Iterator[Path]:
    if mariadb.find_program() is None:
        pytest.skip(f"MariaDB is not installed (Debian: apt-get install {mariadb.PACKAGES})")
    made = Path(tempfile.mkdtemp(prefix="laurel-test-mariadb-"))
    yield made
    root = made / "mariadb"
    shutil.rmtree(root.resolve(), ignore_errors=True)
    shutil.rmtree(made)


def test_data_survive_a_restart_in_a_folder_that_only_its_owner_may_pass(folder: Path) -> None:
    statements = [
        "create database kept",
        "create table kept.rows_ (n int)",
        "insert into kept.rows_ values (7)",
    ]
    for turn in (statements, ["select n from kept.rows_"]):
        server = mariadb.prepare(folder / "mariadb", ports.find_free_port())
        mariadb.initialise(server)
        process = mariadb.start(server, PASSWORD, log=folder / "log")
        try:
            with server.connect(PASSWORD) as connection, connection.cursor() as cursor:
                for statement in turn:
                    cursor.execute(statement)
                found = cursor.fetchall()
        finally:
            mariadb.stop(process)
        assert process.returncode == 0
    assert found == ((7,),)


def test_a_server_that_cannot_start_is_an_error_that_names_its_log(folder: Path) -> None:
    server = mariadb.prepare(folder / "mariadb", ports.find_free_port())
    mariadb.initialise(server)
    with pytest.raises(DatabaseUnavailable, match=r"ended while it started.*Its log: .*log"):
        mariadb.start(server, PASSWORD, log=folder / "log", settings={"no-such-setting": "1"})


def test_without_mariadb_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mariadb, "find_program", lambda: None)
    with pytest.raises(ConfigurationError, match="apt-get install mariadb-server-core"):
        mariadb.prepare(tmp_path, 1)


def test_it_listens_on_the_loopback_address_only(mariadb_server: MariaDBServer) -> None:
    port = mariadb_server.server.port
    listening = [each for each in psutil.net_connections() if each.status == psutil.CONN_LISTEN]
    ours = [each for each in listening if each.laddr.port == port]
    assert [each.laddr.ip for each in ours] == ["127.0.0.1"]
    process = psutil.Process(ours[0].pid)
    assert [each for each in process.net_connections("unix") if each.status == psutil.CONN_LISTEN] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other accounts to start servers as")
def test_root_starts_it_as_an_account_without_rights(mariadb_server: MariaDBServer) -> None:
    account = mariadb_server.server.account
    assert account is not None
    data = mariadb_server.server.data
    assert data.stat().st_uid == account.uid != 0


def test_only_the_one_user_with_the_password_can_sign_in(mariadb_server: MariaDBServer) -> None:
    port = mariadb_server.server.port
    for user, password in [("root", ""), ("laurel", ""), ("laurel", "wrong"), ("anybody", "")]:
        with pytest.raises(pymysql.err.OperationalError):
            pymysql.connect(host="127.0.0.1", port=port, user=user, password=password)


def test_databases_in_latin1_are_possible(mariadb_server: MariaDBServer) -> None:
    mariadb_server.create_database("old_school", "latin1")
    with mariadb_server.connect("old_school") as connection, connection.cursor() as cursor:
        cursor.execute("create table names (name varchar(20))")
        cursor.execute("insert into names values ('Noémie')")
        cursor.execute("select name, hex(name) from names")
        assert cursor.fetchall() == (("Noémie", "Noémie".encode("latin1").hex().upper()),)
    mariadb_server.drop_database("old_school")
