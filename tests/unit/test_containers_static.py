"""What is true of the Dockerfiles and of docker-compose.yaml before anything is built."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from elt.settings import PROJECT_DIR
from local.services import all_services

COMPOSE = yaml.safe_load((PROJECT_DIR / "docker-compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILES = sorted([PROJECT_DIR / "Dockerfile", *(PROJECT_DIR / "deploy").glob("*/Dockerfile")])
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.relative_to(PROJECT_DIR)))
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    done = subprocess.run([BIN / "hadolint", dockerfile], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.relative_to(PROJECT_DIR)))
def test_bases_are_plain_tags_and_nothing_else_is_pulled(dockerfile: Path) -> None:
    lines = dockerfile.read_text("utf-8").splitlines()
    bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
    assert bases <= {"python:3.12-slim-bookworm", "debian:bookworm-slim"}
    assert not lines[0].startswith("# syntax=")


def test_the_compose_file_keeps_the_specification() -> None:
    done = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec",
         PROJECT_DIR / "docker-compose.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_closed_limited_and_looked_after(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) >= {"cpus", "memory", "pids"}
    assert service["logging"]["options"]["max-size"]
    assert service["restart"] == ("no" if name in ("migrate", "init-airflow") else "unless-stopped")
    # The image's own check knows each of our roles.
    assert service["image"].startswith("laurel") or service["healthcheck"]["test"]


def test_databases_and_broker_have_no_way_in_or_out() -> None:
    assert COMPOSE["networks"]["data"]["internal"] is True
    for name in ("postgres-elt", "postgres-airflow", "redis"):
        assert SERVICES[name]["networks"] == ["data"]
        assert "ports" not in SERVICES[name]


def test_ports_open_to_the_network_only_where_somebody_chose_it() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"api", "airflow-api-server", "proxy", "prometheus"}
    for name in set(published) - {"proxy"}:
        host = "LAUREL_HOST" if name == "api" else "LAUREL_ADMIN_HOST"
        assert all(port.startswith(f"${{{host}:-127.0.0.1}}:") for port in published[name])


def test_what_is_open_to_the_network_reaches_the_api_only() -> None:
    reached = {name for name, service in SERVICES.items() if "edge" in service["networks"]}
    assert reached == {"proxy", "prometheus", "api", "api-replica"}
    assert SERVICES["proxy"]["networks"] == SERVICES["prometheus"]["networks"] == ["edge"]


def test_secrets_come_as_files_only() -> None:
    assert all(each["file"].startswith("./secrets/") for each in COMPOSE["secrets"].values())
    for service in SERVICES.values():
        values = [str(value) for value in service.get("environment", {}).values()]
        assert not [value for value in values if "PASSWORD" in value or "_KEY" in value]


def test_every_role_is_one_that_can_be_run() -> None:
    roles = {*all_services(), "migrate", "init-airflow"}
    image = SERVICES["api"]["image"]
    commands = {name: service["command"] for name, service in SERVICES.items() if service["image"] == image}
    assert {command[0] for command in commands.values()} <= roles
    for name, command in commands.items():
        assert command == [name if name != "api-replica" else "api"]


def test_our_image_is_built_once() -> None:
    ours = {
        name: service for name, service in SERVICES.items() if service["image"] == SERVICES["api"]["image"]
    }
    assert [name for name, service in ours.items() if "build" in service] == ["migrate"]
    assert {service["pull_policy"] for service in ours.values()} == {"never"}


def test_the_image_gets_what_running_needs_and_nothing_else() -> None:
    lines = (PROJECT_DIR / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*"
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert not kept & {".env", "secrets", "sources", "var", "tests", "logs", ".git"}
    assert all((PROJECT_DIR / each).exists() for each in kept)


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"][
        "packages"
    ]
    found = {
        ".".join(init.parent.relative_to(PROJECT_DIR).parts)
        for top in {name.partition(".")[0] for name in listed}
        for init in (PROJECT_DIR / top).rglob("__init__.py")
    }
    assert found == set(listed)
