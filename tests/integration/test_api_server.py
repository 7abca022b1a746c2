"""The API behind a real gunicorn: bodies that break off, chunked bodies, large ones, early refusals."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from elt.store.base import open_store
from tests.served_api import serve

HEADER = b"Student ID,First Name\n"
MEGABYTE = 1024**2
LIMIT = 100 * MEGABYTE  # of the server that tests/integration/conftest.py starts


def rows(size: int) -> Iterator[bytes]:
    """A CSV of about this size, in uneven pieces."""
    yield HEADER
    line = b"STU%07d,Somebody with a longish name to fill the line\n"
    sent, number = 0, 0
    while sent < size:
        piece = b"".join(line % (number + n) for n in range(1000))
        number += 1000
        sent += len(piece)
        yield piece


@pytest.fixture
def client(api_server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"{api_server.url}/api/v1",
        headers={"Authorization": f"Bearer {api_server.make_key('researcher')}"},
        timeout=120,
        trust_env=False,
    ) as opened:
        yield opened


@pytest.fixture
def stored(api_server: Any) -> Iterator[Callable[[], list[str]]]:
    """What has come into the store since the test began, halves included."""
    root = api_server.settings.home / "store"

    def everything() -> set[str]:
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    before = everything()
    return lambda: sorted(everything() - before)


def raw_exchange(
    api_server: Any, sent: bytes, *, then_close_writing: bool = True
) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are; the status and the JSON body of what comes back."""
    address = urlsplit(api_server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(sent)
        if then_close_writing:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def request_head(client: httpx.Client, path: str, **headers: str) -> bytes:
    lines = [
        f"POST /api/v1{path} HTTP/1.1", "Host: test", "Connection: close",
        f"Authorization: {client.headers['Authorization']}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_a_chunked_body_of_unknown_length_is_stored_whole(
    client: httpx.Client, stored: Callable[[], list[str]], api_server: Any
) -> None:
    content = b"".join(rows(3 * MEGABYTE))
    answer = client.post("/uploads?dataset=students", content=rows(3 * MEGABYTE))
    assert answer.status_code == 201, answer.text
    assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()
    [key, _event] = sorted(stored(), reverse=True)
    assert (api_server.settings.home / "store" / key).read_bytes() == content


def test_a_streamed_form_is_stored_whole(client: httpx.Client, tmp_path: Any) -> None:
    path = tmp_path / "students.csv"
    path.write_bytes(b"".join(rows(3 * MEGABYTE)))
    with path.open("rb") as file:
        answer = client.post("/uploads", data={"dataset": "students"}, files={"file": file})
    assert answer.status_code == 201, answer.text
    assert answer.json()["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    with client.stream("GET", f"/uploads/{answer.json()['id']}/content") as download:
        assert b"".join(download.iter_bytes()) == path.read_bytes()


@pytest.mark.parametrize(
    "headers_and_body",
    [
        ({"Content_Length": "1000"}, HEADER),
        ({"Transfer_Encoding": "chunked"}, b"16\r\n" + HEADER + b"\r\n"),
        ({"Transfer_Encoding": "chunked"}, b"ff\r\n" + HEADER),
        (
            {"Content_Length": "1000", "Content_Type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + HEADER,
        ),
    ],
)
def test_a_body_that_breaks_off_is_told_so_and_leaves_nothing(
    client: httpx.Client,
    api_server: Any,
    stored: Callable[[], list[str]],
    headers_and_body: tuple[dict[str, str], bytes],
) -> None:
    headers, body = headers_and_body
    head = request_head(client, "/uploads?dataset=students", **headers)
    status, answer = raw_exchange(api_server, head + body)
    assert (status, answer["type"]) == (400, "urn:laurel:problem:truncated-upload"), answer
    assert stored() == []


def test_a_sender_that_vanishes_leaves_nothing(
    client: httpx.Client, api_server: Any, stored: Callable[[], list[str]]
) -> None:
    address = urlsplit(api_server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(request_head(client, "/uploads?dataset=students", Content_Length="90000000"))
        connection.sendall(b"x" * MEGABYTE)
        deadline = time.monotonic() + 60
        while not stored() and time.monotonic() < deadline:
            time.sleep(0.02)  # until the server has begun to write
        assert stored()
    while stored() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert stored() == []


def test_a_file_announced_too_large_is_refused_before_it_is_read(
    client: httpx.Client, api_server: Any
) -> None:
    head = request_head(client, "/uploads?dataset=students", Content_Length=str(LIMIT + 1))
    status, answer = raw_exchange(api_server, head, then_close_writing=False)
    assert (status, answer["type"]) == (413, "urn:laurel:problem:too-large")


def test_a_file_that_turns_out_too_large_is_refused_and_its_sender_hears_it(
    client: httpx.Client, stored: Callable[[], list[str]]
) -> None:
    answer = client.post("/uploads?dataset=students", content=rows(LIMIT + 8 * MEGABYTE))
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:laurel:problem:too-large")
    assert stored() == []


def test_a_wrong_kind_of_file_is_refused_while_it_is_still_being_sent(client: httpx.Client) -> None:
    content = b"\x89PNG\r\n\x1a\n" + b"x" * (16 * MEGABYTE)
    answer = client.post("/uploads?dataset=students", content=content)
    assert answer.status_code == 422
    assert "PNG" in answer.json()["detail"]


def test_memory_stays_flat_while_large_files_come_in(
    client: httpx.Client, api_server: Any, tmp_path: Any
) -> None:
    workers = psutil.Process(api_server.process.pid).children()
    client.post("/uploads?dataset=students", content=rows(MEGABYTE))
    before = {worker.pid: worker.memory_info().rss for worker in workers}
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.writelines(rows(90 * MEGABYTE))
    with path.open("rb") as file:
        assert client.post("/uploads?dataset=teachers", content=file).status_code == 201
    with path.open("rb") as file:
        assert client.post("/uploads", data={"dataset": "students"}, files={"file": file}).status_code == 201
    growth = max(peak_rss(worker) - before[worker.pid] for worker in workers)
    assert growth < 60 * MEGABYTE, f"{growth / MEGABYTE:.0f} MB"


def peak_rss(process: psutil.Process) -> int:
    """The most memory that the process has ever held."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def test_metrics_add_up_over_all_workers(client: httpx.Client, api_server: Any) -> None:
    for _ in range(20):
        with httpx.Client(trust_env=False) as fresh:  # a new connection may reach another worker
            assert fresh.get(f"{api_server.url}/healthz", timeout=60).status_code == 200
    answer = httpx.get(f"{api_server.url}/metrics", trust_env=False, timeout=60)
    counted = [
        float(line.split()[-1])
        for line in answer.text.splitlines()
        if line.startswith("laurel_requests_total") and 'route="/healthz"' in line
    ]
    assert sum(counted) >= 21
    assert "laurel_database_up 1.0" in answer.text
    before = waiting_uploads(answer.text)
    assert client.post("/uploads?dataset=guardians", content=rows(1000)).status_code == 201
    after = httpx.get(f"{api_server.url}/metrics", trust_env=False, timeout=60)
    assert waiting_uploads(after.text) == before + 1


def waiting_uploads(metrics: str) -> float:
    return next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("laurel_waiting"))


def test_a_server_killed_half_way_leaves_no_object(
    postgres_server: Any,
    _template: str,  # noqa: PT019 - its value is used
    tmp_path: Any,
) -> None:
    with serve(postgres_server, _template, tmp_path) as server:
        head = {"Authorization": f"Bearer {server.make_key('researcher')}"}
        address = f"{server.url}/api/v1/uploads?dataset=students"
        processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children()]
        half_sent, killed = threading.Event(), threading.Event()

        def half() -> Iterator[bytes]:
            yield from rows(2 * MEGABYTE)
            half_sent.set()
            killed.wait(120)

        with ThreadPoolExecutor(1) as sender:
            sending = sender.submit(
                httpx.post, address, content=half(), headers=head, trust_env=False, timeout=60
            )
            assert half_sent.wait(60)
            for process in processes:
                process.kill()
            killed.set()
            with pytest.raises(httpx.TransportError):
                sending.result(timeout=60)
        store = open_store(server.settings.store_url)
        assert list(store.list()) == []
