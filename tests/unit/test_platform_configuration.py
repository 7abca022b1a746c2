"""What the platform writes down before it starts anything."""

from __future__ import annotations

import configparser
import os
import shlex
import stat
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.main import cli
from elt.errors import ConfigurationError
from elt.settings import Settings, load_settings
from local import environment, new_env
from local.environment import Paths, airflow_environment, ensure_env_file, read_embedded, service_environment
from local.services import Service, all_services, local_url
from local.supervisor import Supervisor


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    for name in (
        "LAUREL_DATABASE_URL", "LAUREL_AIRFLOW_DATABASE_URL", "LAUREL_SECRET_KEY", "LAUREL_PSEUDONYM_KEY",
        "LAUREL_ENV_FILE",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAUREL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAUREL_LOG_DIR", str(tmp_path / "logs"))
    found = environment.paths()
    found.make()
    return found


def _settings(**values: object) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql://laurel:pw@db/elt"),
        airflow_database_url=SecretStr("postgresql://airflow:pw@db/airflow"),
        secret_key=SecretStr("a secret"),
        pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
        **values,
    )


def test_secrets_are_made_once_and_only_their_owner_reads_them(where: Paths) -> None:
    ensure_env_file(where)
    first = where.env_file.read_text()
    ensure_env_file(where)

    assert where.env_file.read_text() == first
    assert stat.S_IMODE(where.env_file.stat().st_mode) == 0o600
    assert len(load_settings().secret_key.get_secret_value()) >= 32


def test_a_home_from_before_pseudonyms_gets_their_key_and_keeps_the_rest(where: Paths) -> None:
    ensure_env_file(where)
    lines = where.env_file.read_text().splitlines(keepends=True)
    older = [line for line in lines if not line.startswith("LAUREL_PSEUDONYM_KEY=")]
    where.env_file.write_text("".join(older))
    ensure_env_file(where)

    now = where.env_file.read_text().splitlines(keepends=True)
    assert set(older) <= set(now)
    key = load_settings().pseudonym_key.get_secret_value()
    assert len(key) >= 32
    assert key not in "".join(lines)
    ensure_env_file(where)
    assert load_settings().pseudonym_key.get_secret_value() == key


def test_two_platforms_share_no_secret(where: Paths, tmp_path: Path) -> None:
    other = Paths(tmp_path / "other")
    other.make()
    ensure_env_file(where)
    ensure_env_file(other)

    assert read_embedded(where).superuser_password != read_embedded(other).superuser_password


def test_moving_postgres_to_another_port_keeps_the_passwords(
    where: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_env_file(where)
    before = read_embedded(where)
    monkeypatch.setattr(environment, "find_free_port", lambda _first: before.port + 7)
    environment.move_postgres_port(where)

    after = read_embedded(where)
    assert (after.port, after.superuser_password) == (before.port + 7, before.superuser_password)
    assert f":{after.port}/elt" in load_settings().database_url.get_secret_value()
    assert stat.S_IMODE(where.env_file.stat().st_mode) == 0o600


def test_a_cut_env_file_says_so(where: Paths) -> None:
    where.env_file.write_text("LAUREL_POSTGRES_PORT=")
    with pytest.raises(ConfigurationError, match="incomplete"):
        read_embedded(where)


def test_airflow_gets_secrets_of_its_own_that_depend_on_ours_alone(where: Paths) -> None:
    one, same, other = (
        airflow_environment(where, _settings()),
        airflow_environment(where, _settings(port=1)),
        airflow_environment(where, _settings().model_copy(update={"secret_key": SecretStr("another")})),
    )
    names = ["AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"]

    assert len({one[name] for name in names}) == 3
    assert [one[name] for name in names] == [same[name] for name in names]
    assert not {one[name] for name in names} & {other[name] for name in names}
    assert "a secret" not in one.values()


def test_what_the_environment_sets_for_airflow_wins(where: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "32")
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere/else")

    found = service_environment(where, _settings())
    assert found["AIRFLOW__CORE__PARALLELISM"] == "32"
    assert found["AIRFLOW_HOME"] == str(where.airflow_home)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:5000"),
        ("10.1.2.3", "http://10.1.2.3:5000"),
        ("::1", "http://[::1]:5000"),
    ],
)
def test_a_service_is_reached_where_it_listens(host: str, url: str) -> None:
    assert local_url(_settings(host=host), 5000) == url


def test_the_supervisor_understands_odd_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = Paths(tmp_path / "a home % with 'quotes")
    monkeypatch.setattr(sys, "executable", "/odd %x/it's/python")
    text = Supervisor(where)._configuration([Service("api", [], lambda *_: None)])
    written = configparser.RawConfigParser()
    written.read_string(text)

    command = written["program:api"]["command"].replace("%%", "%")
    assert shlex.split(command) == ["/odd %x/it's/python", "-m", "local.service", "api"]
    assert written["supervisord"]["pidfile"].replace("%%", "%") == str(where.run / "supervisord.pid")


def test_a_long_path_does_not_break_the_socket(tmp_path: Path) -> None:
    where = Paths(tmp_path / ("x" * 100))
    socket = Supervisor(where)._socket()

    assert len(str(socket)) < 90
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    socket.parent.rmdir()


def test_every_role_has_a_command_except_the_embedded_database() -> None:
    assert [name for name, service in all_services().items() if not service.command] == ["postgres"]


def test_each_placeholder_gets_a_secret_of_its_own() -> None:
    filled = new_env.fill_in("# <secret>\nA=<secret>\nB=<secret>\n#C=x\n")
    heading, first, second, comment = filled.splitlines()

    assert (heading, comment) == ("# <secret>", "#C=x")
    assert first[:2] == "A="
    assert second[:2] == "B="
    assert len(first) > 40
    assert first[2:] != second[2:]


def test_tasks_go_to_workers_only_where_the_broker_was_met(where: Paths) -> None:
    settings = _settings(broker_url=SecretStr("redis://:pw@redis:6379/0"))
    before = airflow_environment(where, settings)["AIRFLOW__CORE__EXECUTOR"]
    where.broker_mark.touch()
    after = airflow_environment(where, settings)
    without = airflow_environment(where, _settings())

    assert before == "LocalExecutor"
    assert after["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert after["AIRFLOW__CELERY__BROKER_URL"] == "redis://:pw@redis:6379/0"
    assert without["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"


def test_people_open_airflow_elsewhere_than_its_services_do(where: Paths) -> None:
    settings = _settings(
        airflow_url="http://airflow-api-server:8080", airflow_public_url="https://airflow.example"
    )
    written = airflow_environment(where, settings)

    assert written["AIRFLOW__API__BASE_URL"] == "https://airflow.example"
    assert written["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].startswith("http://airflow-api-server:8080")


def test_a_container_reads_its_settings_from_a_file_given_as_a_secret(
    where: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    file = tmp_path / "laurel.env"
    file.write_text(
        "LAUREL_DATABASE_URL='postgresql://laurel:pw@postgres-elt/elt'\nLAUREL_PORT=6000\n"
        f"LAUREL_SECRET_KEY='{'k3y-'.join('abcdefgh')}'\nLAUREL_PSEUDONYM_KEY='{'p3n-'.join('abcdefgh')}'\n"
        "AWS_REGION=eu-west-1\n"
    )
    monkeypatch.setenv("LAUREL_ENV_FILE", str(file))
    monkeypatch.setenv("LAUREL_PORT", "5000")
    settings = load_settings()

    assert settings.database_url.get_secret_value() == "postgresql://laurel:pw@postgres-elt/elt"
    assert settings.port == 5000
    assert os.environ.pop("AWS_REGION") == "eu-west-1"
    assert not environment.is_embedded()


@pytest.mark.parametrize(
    ("command", "instead"), [("up", "up -d"), ("down", "stop"), ("services", "ps"), ("logs", "logs")]
)
def test_in_a_container_the_services_are_left_to_compose(
    command: str, instead: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAUREL_ENV_FILE", str(tmp_path / "laurel.env"))
    with pytest.raises(ConfigurationError, match=f"docker compose {instead}"):
        cli.main([command], standalone_mode=False)
