"""The platform in containers: from a fresh clone to the answer key, through crashes, and on several workers.

The tests go on where the one before has left the platform, so they run in their order.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from demo.answers import AnswerKey
from tests.containers.stack import (
    ONE_SHOTS,
    PATIENCE_SECONDS,
    SERVICES,
    Stack,
    hand_in,
    service_of,
    until,
)
from tests.e2e.comparing import differences
from tests.e2e.conftest import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * PATIENCE_SECONDS)]

OURS = [service for service in SERVICES if not service.startswith("postgres")]
ROWS = 100_000
MARTS = ("mart_student_terms", "mart_class_summary", "mart_subject_performance", "mart_student_scores")


def wrong_figures(platform: Platform, key: AnswerKey) -> list[str]:
    """Where the marts show otherwise than the answer key."""
    return [
        f"{figure.mart}: {difference}"
        for figure in key.figures
        if figure.mart in MARTS
        for difference in differences(
            figure, platform.csv(f"/marts/{figure.mart}", format="csv", columns=",".join(figure.rows))
        )
    ]


def wait_until_loaded(platform: Platform, uploads: dict[str, str]) -> None:
    """Until every upload is decided and what they changed is in the marts."""

    def waiting() -> list[str]:
        return [
            f"{name}: {upload['status']}"
            for name, upload_id in uploads.items()
            if (upload := platform.get(f"/uploads/{upload_id}"))["status"] in ("stored", "loading")
            or not upload["runs"]
            or platform.get(f"/runs/{upload['runs'][-1]}")["status"] != "succeeded"
        ]

    until(lambda: not waiting(), lambda: f"not in the marts: {waiting()}")


def test_all_is_healthy_and_what_runs_once_has_ended_well(stack: Stack) -> None:
    found = {service_of(each): each["State"] for each in stack.containers()}
    assert set(found) == {*SERVICES, *ONE_SHOTS}
    assert {found[name]["Health"]["Status"] for name in SERVICES} == {"healthy"}
    assert {found[name]["ExitCode"] for name in ONE_SHOTS} == {0}


def test_no_container_has_more_rights_than_it_needs(stack: Stack) -> None:
    for container in stack.containers():
        host, name = container["HostConfig"], service_of(container)
        assert not host["Privileged"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert host["ReadonlyRootfs"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert container["Config"]["User"].partition(":")[0] in ("10001", "999"), name
        assert host["Memory"] > 0, name
        assert host["NanoCpus"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["LogConfig"]["Config"]["max-size"], name
        assert host["RestartPolicy"]["Name"] == ("no" if name in ONE_SHOTS else "unless-stopped"), name


def test_only_the_api_and_airflow_are_reached_and_from_this_machine_only(stack: Stack) -> None:
    published = {
        (service_of(each), binding["HostIp"])
        for each in stack.containers()
        for bindings in each["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }
    assert published == {("api", "127.0.0.1"), ("airflow-api-server", "127.0.0.1")}
    for container in stack.containers():
        if service_of(container).startswith("postgres"):
            (network,) = container["NetworkSettings"]["Networks"]
            assert json.loads(stack.docker("network", "inspect", network))[0]["Internal"]


def test_nothing_can_be_written_but_state_logs_and_the_temporary_folder(stack: Stack) -> None:
    folders = "/ /opt/laurel /etc /var/lib/laurel /var/log/laurel /tmp"
    script = f"for folder in {folders}; do [ -w $folder ] && echo $folder; done; id -u"
    written = stack.compose("exec", "-T", "api", "sh", "-c", script).split()
    assert written == ["/var/lib/laurel", "/var/log/laurel", "/tmp", "10001"]


def test_no_secret_is_in_the_image_or_told_by_the_engine(stack: Stack, tmp_path: Path) -> None:
    told = stack.docker("inspect", *(each["Id"] for each in stack.containers()))
    history = stack.docker("history", "--no-trunc", "laurel:test")
    assert [secret for secret in stack.secrets() if secret in told + history] == []
    saved = tmp_path / "image.tar"
    stack.docker("save", "--output", str(saved), "laurel:test")
    secrets = [secret.encode() for secret in stack.secrets()]
    names = set()
    for name, content in _files_of_our_layers(saved):
        names.add(name)
        assert not any(secret in content for secret in secrets), name
    ours = {name.removeprefix("opt/laurel/") for name in names if name.startswith("opt/laurel/")}
    assert "elt/settings.py" in ours
    unwanted = re.compile(r"^(\.env|\.git/|secrets/|tests/|var/|bench/|.*\.(pem|key)$)")
    assert [name for name in ours if not name.startswith(".venv/") and unwanted.match(name)] == []


def _files_of_our_layers(saved: Path) -> Iterator[tuple[str, bytes]]:
    """Every small file of the saved image that is not a package's, by its path."""
    with tarfile.open(saved) as image:
        manifest = json.loads(image.extractfile("manifest.json").read())  # type: ignore[union-attr]
        for layer in manifest[0]["Layers"]:
            with tarfile.open(fileobj=image.extractfile(layer)) as files:
                for member in files:
                    if member.isfile() and "/site-packages/" not in member.name and member.size < 10_000_000:
                        yield member.name, files.extractfile(member).read()  # type: ignore[union-attr]


def test_init_airflow_may_be_repeated_by_hand(stack: Stack) -> None:
    assert "Airflow is ready" in stack.compose("run", "--rm", "init-airflow")


def test_the_demo_school_goes_through_the_published_port_to_the_answer_keys_figures(
    platform: Platform, school: tuple[Path, AnswerKey]
) -> None:
    folder, key = school
    uploads = hand_in(platform, folder, key)
    wait_until_loaded(platform, uploads)
    for name, answer in key.files.items():
        counts = platform.get(f"/uploads/{uploads[name]}")["counts"]
        assert (counts["read"], counts["accepted"], counts["rejected"]) == (
            answer.read, answer.accepted, answer.rejected,
        ), name  # fmt: skip
    assert wrong_figures(platform, key) == []
    assert platform.pages("/risk", only_at_risk=True, limit=1000)


def test_the_lineage_that_one_container_builds_another_shows(stack: Stack, platform: Platform) -> None:
    documents = stack.compose("exec", "-T", "api", "sh", "-c", "ls /var/lib/laurel/dbt").split()
    assert "manifest.json" in documents


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_was_killed_is_started_again(stack: Stack, service: str) -> None:
    (before,) = stack.containers(service)
    stack.kill(before)
    until(
        lambda: stack.containers(service)[0]["RestartCount"] > before["RestartCount"],
        lambda: f"{service} was not started again",
    )


def test_after_all_were_killed_a_new_file_still_comes_to_the_marts(
    stack: Stack, platform: Platform, school: tuple[Path, AnswerKey]
) -> None:
    stack.wait_until_healthy()
    _replace_one(platform, school)
    assert wrong_figures(platform, school[1]) == []


def _replace_one(platform: Platform, school: tuple[Path, AnswerKey]) -> None:
    """Hand in a file with the same rows but other bytes: it is loaded, and the figures stay."""
    folder, key = school
    name, answer = next((name, each) for name, each in key.files.items() if each.dataset == "students")
    content = (folder / name).read_bytes() + b"\n" * (os.getpid() % 7 + len(platform.pages("/uploads")))
    sent = platform.client.post(
        "/uploads",
        params={"dataset": answer.dataset, "filename": f"again-{name}"},
        content=content,
        headers={"Content-Type": "text/csv"},
    )
    assert sent.status_code == 201, sent.text
    wait_until_loaded(platform, {name: sent.json()["id"]})


def test_down_and_up_again_loses_nothing(
    stack: Stack, platform: Platform, school: tuple[Path, AnswerKey]
) -> None:
    before = platform.pages("/uploads")
    stack.compose("down")
    assert stack.containers() == []
    stack.up()
    assert platform.pages("/uploads") == before
    assert wrong_figures(platform, school[1]) == []


def test_a_backup_brings_back_what_was_lost(
    stack: Stack, platform: Platform, school: tuple[Path, AnswerKey]
) -> None:
    before = platform.pages("/uploads")
    stack.laurel("backup")
    superuser = ["exec", "-T", "postgres-elt", "psql", "-U", "postgres", "-d", "elt"]
    stack.compose(*superuser, "-v", "ON_ERROR_STOP=1", "-c", "drop schema marts cascade")
    assert platform.client.get(f"/marts/{MARTS[0]}").status_code != 200
    stack.compose("stop", *OURS)
    stack.compose("run", "--rm", "--no-deps", "migrate", "laurel", "restore", "latest", "--replace", "--yes")
    stack.up()
    assert platform.pages("/uploads") == before
    assert wrong_figures(platform, school[1]) == []


def test_what_the_engine_starts_again_is_as_it_was(
    stack: Stack, platform: Platform, school: tuple[Path, AnswerKey]
) -> None:
    engine = os.environ.get("LAUREL_TEST_ENGINE")
    if not engine:
        pytest.skip("needs a container engine that a test may restart: LAUREL_TEST_ENGINE=its program")
    before = platform.pages("/uploads")
    subprocess.run(["bash", engine, "down"], check=True, capture_output=True, timeout=300)
    subprocess.run(["bash", engine, "up"], check=True, capture_output=True, timeout=600)
    stack.wait_until_healthy()
    assert platform.pages("/uploads") == before
    assert wrong_figures(platform, school[1]) == []


@pytest.fixture(scope="module")
def scaled(stack: Stack) -> Stack:
    """The same platform with the profile `scale`."""
    stack.compose("down")
    stack.up("scale")
    return stack


def test_two_workers_share_the_loads(
    scaled: Stack, platform: Platform, school: tuple[Path, AnswerKey]
) -> None:
    folder, key = school
    workers = {each["Config"]["Hostname"] for each in scaled.containers("airflow-worker")}
    assert len(workers) == 2

    def have_both_loaded() -> bool:
        _hand_in_again(platform, folder, key)  # a worker may happen to take all groups of a run
        loads = scaled.airflow_tasks("load")
        return workers <= {each["hostname"] for each in loads if each["state"] == "success"}

    until(have_both_loaded, lambda: "one of the workers gets no load")
    assert wrong_figures(platform, key) == []


def _hand_in_again(platform: Platform, folder: Path, key: AnswerKey) -> dict[str, str]:
    """Withdraw everything and hand it in anew, so that each file is loaded once more."""
    for upload in platform.pages("/uploads"):
        if upload["status"] == "loaded":
            assert platform.client.delete(f"/uploads/{upload['id']}").status_code in (200, 202, 204)
    uploads = hand_in(platform, folder, key)
    wait_until_loaded(platform, uploads)
    return uploads


@contextmanager
def loads_wait_for_the_ledger(stack: Stack) -> Iterator[None]:
    """Meanwhile a load copies its rows and comes no further: the line that ends it cannot be written."""
    lock = "begin; lock table ops.loads in exclusive mode; select pg_sleep(900)"
    end = "select pg_terminate_backend(pid) from pg_stat_activity where query = $$" + lock + "$$"
    command = ["docker", "compose", "exec", "-T", "api", "laurel", "psql", "-c", lock]
    locker = subprocess.Popen(
        command, cwd=stack.folder, env=stack.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    held = "select count(*) from pg_locks where relation = 'ops.loads'::regclass and mode = 'ExclusiveLock'"
    try:
        until(lambda: count_of(stack, f"{held} and granted") == 1, lambda: "the ledger is not locked")
        yield
    finally:
        stack.laurel("psql", "-c", end)
        locker.wait(timeout=60)


def count_of(stack: Stack, query: str) -> int:
    """What a query of one number answers."""
    return int(stack.laurel("psql", "-At", "-c", query))


def test_a_worker_killed_in_the_middle_of_a_load_loses_nothing(
    scaled: Stack, platform: Platform, tmp_path: Path
) -> None:
    file = tmp_path / "performance.csv"
    header = (
        "gender,race/ethnicity,parental level of education,lunch,test preparation course,math score,"
        "reading score,writing score\n"
    )
    row = "female,group B,bachelor's degree,standard,none,{},{},{}\n"
    with file.open("w", encoding="utf-8") as output:
        output.write(header)
        output.writelines(row.format(number % 101, number % 97, number % 89) for number in range(ROWS))
    with loads_wait_for_the_ledger(scaled):
        with file.open("rb") as body:
            sent = platform.client.post(
                "/uploads",
                params={"dataset": "student_performance", "filename": file.name},
                content=body,
                headers={"Content-Type": "text/csv"},
            )
        upload = sent.json()["id"]
        waiting = "select count(*) from pg_locks where not granted"
        until(lambda: count_of(scaled, waiting) > 0, lambda: "the load does not come to its end")
        (running,) = [each for each in scaled.airflow_tasks("load") if each["state"] == "running"]
        (worker,) = [
            each for each in scaled.containers("airflow-worker")
            if each["Config"]["Hostname"] == running["hostname"]
        ]  # fmt: skip
        scaled.kill(worker)
        assert platform.get(f"/uploads/{upload}")["status"] == "loading"
    wait_until_loaded(platform, {file.name: upload})
    counts = platform.get(f"/uploads/{upload}")["counts"]
    assert (counts["read"], counts["accepted"], counts["loaded"]) == (ROWS, ROWS, ROWS)
    rows = f"select count(*) from raw.student_performance where _upload_id = '{upload}'"
    assert count_of(scaled, rows) == ROWS
    (again,) = [each for each in scaled.airflow_tasks("load") if each["dag_run_id"] == running["dag_run_id"]]
    assert (again["state"], again["try_number"]) == ("success", 2)


def test_the_proxy_speaks_tls_and_shares_the_requests_among_the_apis(scaled: Stack) -> None:
    authority = scaled.compose("exec", "-T", "proxy", "cat", "/data/caddy/pki/authorities/local/root.crt")
    trusted = ssl.create_default_context(cadata=authority)

    def answered() -> dict[str, int]:
        logs = {service: scaled.compose("logs", "--no-color", service) for service in ("api", "api-replica")}
        return {service: log.count("route=/api/v1/datasets ") for service, log in logs.items()}

    before = answered()
    with httpx.Client(
        base_url=f"https://localhost:{scaled.https_port}", verify=trusted, timeout=60, trust_env=False
    ) as client:
        assert client.get("/readyz").status_code == 200
        for _ in range(40):
            assert client.get("/api/v1/datasets").status_code == 401
    after = answered()
    assert all(after[service] > before[service] for service in before), (before, after)


def test_the_proxy_tells_of_no_student_whose_page_it_could_not_get(scaled: Stack) -> None:
    scaled.compose("stop", "api", "api-replica")
    address = f"https://localhost:{scaled.https_port}"
    with httpx.Client(base_url=address, verify=False, trust_env=False) as client:
        answer = client.get("/students/STU00042", params={"name": "Ada"}, timeout=60)
    assert answer.status_code in (502, 503)
    logged = scaled.compose("logs", "--no-color", "proxy")
    assert '"level":"error"' in logged
    assert "STU00042" not in logged
    scaled.compose("start", "api", "api-replica")
    scaled.wait_until_healthy()


def test_prometheus_keeps_what_each_api_says(scaled: Stack) -> None:
    made = scaled.laurel(
        "keys", "create", "--role", "admin", "--scope", "metrics:read", "--name", "prometheus", "--json"
    )
    secret = scaled.folder / "secrets" / "metrics-key"
    secret.write_text(json.loads(made)["key"])
    secret.chmod(0o444)
    scaled.compose("--profile", "observability", "build", "prometheus")
    scaled.up("scale", "observability")
    address = f"http://127.0.0.1:{scaled.prometheus_port}/api/v1/query"

    def values(query: str) -> list[float]:
        answer = httpx.get(address, params={"query": query}, timeout=60, trust_env=False).raise_for_status()
        return [float(each["value"][1]) for each in answer.json()["data"]["result"]]

    until(lambda: values("up") == [1, 1], lambda: f"two APIs should answer: {values('up')}")
    (loaded,) = values('max(laurel_uploads{status="loaded"})')
    assert loaded > 0


def test_no_secret_was_logged(stack: Stack) -> None:
    logged = stack.compose("--profile", "*", "logs", "--no-color")
    assert len(logged) > 10_000
    assert [secret for secret in stack.secrets() if secret in logged] == []
    files = stack.compose("exec", "-T", "api", "sh", "-c", "cat $(find /var/log/laurel -type f)")
    assert [secret for secret in stack.secrets() if secret in files] == []


def test_with_scale_taken_out_again_the_scheduler_runs_the_loads(
    scaled: Stack, platform: Platform, school: tuple[Path, AnswerKey]
) -> None:
    scaled.compose("--profile", "*", "down")
    scaled.up()
    assert {service_of(each) for each in scaled.containers()} == {*SERVICES, *ONE_SHOTS}
    _replace_one(platform, school)
    (scheduler,) = scaled.containers("airflow-scheduler")
    newest = max(scaled.airflow_tasks("load"), key=lambda each: each["end_date"] or "")
    assert (newest["state"], newest["hostname"]) == ("success", scheduler["Config"]["Hostname"])
