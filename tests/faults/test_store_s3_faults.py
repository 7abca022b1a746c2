"""S3 behind a proxy that fails on purpose: what is stored is whole or absent, what is read is right.

The 19 cells of the group Store: each of `FAULTS` at PUT (small, and each step of a large one), LIST and GET;
a body cut off once, twice, three times; a bit flipped on the way.
"""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from elt.errors import Conflict, DiskFull, NotFound, StoreUnavailable
from elt.store.s3 import S3Store

TIMEOUT = 3.0  # of a store that once gets no answer; all others come sooner, also on a busy machine
SMALL = b"a,b\n1,2\n" * 50_000
LARGE = os.urandom(1 << 20) * 18  # two full parts and a rest

FAULTS = ["500", "503", "reset", "lost", "timeout"]


@dataclass
class Proxy:
    """Passes requests on to S3. `plan` holds (part of the request line, fault), each used once, in order."""

    target: str
    plan: list[tuple[str, str]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault_for(self, request: str) -> str | None:
        with self.lock:
            self.seen.append(request)
            for place, (part, fault) in enumerate(self.plan):
                if part in request:
                    del self.plan[place]
                    return fault
        return None


def _make_handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            if "100-continue" in self.headers.get("Expect", ""):
                self.headers.replace_header("Expect", "")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.fault_for(f"{self.command} {self.path} {self.headers.get('Range', '')}")
            if fault == "timeout":
                time.sleep(TIMEOUT * 2)
                self.close_connection = True
            elif fault == "reset":
                self._break()
            elif fault in ("500", "503", "507"):
                self._answer(int(fault), {}, b"")
            else:
                self._answer_with_fault(fault, *self._ask(body))

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815

        def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            upstream = http.client.HTTPConnection(proxy.target, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name != "Expect"}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            skipped = ("transfer-encoding", "connection", "content-length")
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in skipped}
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            return answer.status, {**kept, "Content-Length": length or "0"}, content

        def _answer_with_fault(
            self, fault: str | None, status: int, headers: dict[str, str], body: bytes
        ) -> None:
            if fault == "lost":
                self._break()
            elif fault == "truncated":
                self._answer(status, headers, body[: len(body) // 2])
                self._break()
            elif fault == "flipped":
                middle = len(body) // 2
                self._answer(status, headers, body[:middle] + bytes([body[middle] ^ 4]) + body[middle + 1 :])
            else:
                self._answer(status, headers, body)

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in (headers or {"Content-Length": "0"}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _break(self) -> None:
            """Close with a reset instead of an orderly end."""
            self.wfile.flush()
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def proxy(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    proxy = Proxy(s3_endpoint.removeprefix("http://"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(proxy))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    proxy.port = server.server_address[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLEKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-value")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield proxy
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(proxy: Proxy, request: pytest.FixtureRequest) -> S3Store:
    bucket = f"b{secrets.token_hex(8)}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    proxy.seen.clear()
    return S3Store(bucket, "in", timeout=TIMEOUT if request.node.name.endswith("timeout]") else 60.0)


def _chunks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 1 << 20):
        yield content[start : start + (1 << 20)]


def _read(store: S3Store, key: str) -> bytes:
    with store.open(key) as stream:
        return stream.read()


def _unfinished(store: S3Store) -> list[Any]:
    return boto3.client("s3").list_multipart_uploads(Bucket=store.bucket).get("Uploads", [])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_small_object_is_stored_once_whatever_happens_to_the_first_put(
    store: S3Store, proxy: Proxy, fault: str
) -> None:
    proxy.plan = [("PUT ", fault)]
    stored = store.put("x.csv", _chunks(SMALL))
    assert proxy.plan == []
    assert _read(store, "x.csv") == SMALL
    assert store.stat("x.csv").etag == stored.etag


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", ["POST /{}?uploads", "partNumber=2", "POST /{}?uploadId"])
def test_a_large_object_is_stored_once_whatever_happens_to_a_step(
    store: S3Store, proxy: Proxy, step: str, fault: str
) -> None:
    proxy.plan = [(step.format(f"{store.bucket}/in/x.csv"), fault)]
    stored = store.put("x.csv", _chunks(LARGE))
    assert proxy.plan == []
    assert _read(store, "x.csv") == LARGE
    assert store.stat("x.csv").etag == stored.etag
    assert _unfinished(store) == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("page", ["list-type=2", "continuation-token"], ids=["first", "next"])
def test_a_listing_is_complete_whatever_happens_to_a_page(
    store: S3Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, page: str, fault: str
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")  # instead of 1000
    for number in range(3):
        store.put(f"{number}.csv", [b"x"])
    proxy.plan = [(page, fault)]
    assert [found.key for found in store.list()] == ["0.csv", "1.csv", "2.csv"]
    assert proxy.plan == []


@pytest.mark.parametrize("fault", FAULTS)
def test_an_object_is_read_whole_whatever_happens_to_the_first_get(
    store: S3Store, proxy: Proxy, fault: str
) -> None:
    store.put("x.csv", _chunks(LARGE))
    proxy.plan = [("GET ", fault)]
    assert _read(store, "x.csv") == LARGE
    assert proxy.plan == []


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_body_that_is_cut_off_is_read_on_from_where_it_broke(
    store: S3Store, proxy: Proxy, times: int
) -> None:
    store.put("x.csv", _chunks(LARGE))
    proxy.plan = [("GET ", "truncated")] * times
    with store.open("x.csv") as stream:
        pieces = list(iter(lambda: stream.read(3_000_000), b""))
    assert b"".join(pieces) == LARGE
    gets = [request for request in proxy.seen if request.startswith("GET ")]
    assert len(gets) == times + 1
    assert all("bytes=" in request for request in gets[1:])


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_flipped_bit_is_noticed_and_reading_again_helps(
    store: S3Store, proxy: Proxy, content: bytes
) -> None:
    store.put("x.csv", _chunks(content))
    proxy.plan = [("GET ", "flipped")]
    with pytest.raises(StoreUnavailable, match="damaged"):
        _read(store, "x.csv")
    assert _read(store, "x.csv") == content


def test_an_object_replaced_while_it_is_read_is_never_mixed(store: S3Store, proxy: Proxy) -> None:
    store.put("x.csv", _chunks(LARGE))
    proxy.plan = [("GET ", "truncated")]
    stream = store.open("x.csv")
    start = stream.read(1_000_000)
    store.put("x.csv", _chunks(LARGE[::-1]), replace=True)
    with pytest.raises(StoreUnavailable, match="changed"):
        stream.read()
    assert start == LARGE[:1_000_000]


def test_a_store_that_stays_away_says_so_and_keeps_nothing(store: S3Store, proxy: Proxy) -> None:
    proxy.plan = [("partNumber=2", "503")] * 5
    with pytest.raises(StoreUnavailable, match=store.bucket) as raised:
        store.put("x.csv", _chunks(LARGE))
    assert "secret" not in raised.value.detail
    assert not store.exists("x.csv")
    assert _unfinished(store) == []
    proxy.plan = [("list-type=2", "reset")] * 5
    with pytest.raises(StoreUnavailable, match="AWS_ENDPOINT_URL_S3"):
        list(store.list())
    proxy.plan = [("HEAD ", "503")]
    with pytest.raises(StoreUnavailable):
        store.check()
    store.check()


def test_when_every_confirmation_is_lost_the_object_is_whole(store: S3Store, proxy: Proxy) -> None:
    proxy.plan = [("?uploadId", "lost")] * 5
    store.put("x.csv", _chunks(LARGE))
    assert _read(store, "x.csv") == LARGE
    proxy.plan = [("PUT ", "lost")] * 5
    with pytest.raises(StoreUnavailable):
        store.put("y.csv", _chunks(SMALL))
    assert _read(store, "y.csv") == SMALL
    store.put("y.csv", _chunks(SMALL))  # the sender tries again
    with pytest.raises(Conflict):
        store.put("y.csv", _chunks(SMALL[::-1]))


def test_of_two_large_writers_of_one_key_the_first_to_finish_wins(store: S3Store) -> None:
    def overtaken() -> Iterator[bytes]:
        yield from _chunks(LARGE)
        store.put("x.csv", _chunks(LARGE[::-1]))

    with pytest.raises(Conflict):
        store.put("x.csv", overtaken())
    assert _read(store, "x.csv") == LARGE[::-1]
    assert _unfinished(store) == []


def test_old_parts_of_a_dead_writer_are_swept(store: S3Store) -> None:
    for key in ("in/x.csv", "elsewhere/x.csv"):
        boto3.client("s3").create_multipart_upload(Bucket=store.bucket, Key=key)
    began = _unfinished(store)[0]["Initiated"]  # years ago, whenever this runs
    assert store.abort_uploads("", began_before=began) == 0, "it may still be alive"
    assert store.sweep() == 1
    assert [upload["Key"] for upload in _unfinished(store)] == ["elsewhere/x.csv"]


def test_a_full_store_says_so(store: S3Store, proxy: Proxy) -> None:
    proxy.plan = [("PUT ", "507")] * 5
    with pytest.raises(DiskFull):
        store.put("x.csv", [b"1"])


def test_a_bucket_that_is_not_there_says_what_to_do(proxy: Proxy) -> None:
    absent = S3Store("no-such-bucket", timeout=TIMEOUT)
    for act in (absent.check, lambda: list(absent.list()), lambda: absent.put("x", [b"1"])):
        with pytest.raises(StoreUnavailable, match="does not exist"):
            act()


def test_missing_credentials_are_named(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    with pytest.raises(StoreUnavailable, match="AWS_ACCESS_KEY_ID"):
        S3Store("bucket", timeout=TIMEOUT).stat("x")


def test_objects_dropped_by_other_means_are_found(store: S3Store) -> None:
    client = boto3.client("s3")
    for key in ("in/students/by hand.csv", "in/folder/", "in/.hidden", "outside.csv", "in/bad//name.csv"):
        client.put_object(Bucket=store.bucket, Key=key, Body=b"x")
    assert [found.key for found in store.list()] == ["students/by hand.csv"]
    assert _read(store, "students/by hand.csv") == b"x"
    with pytest.raises(NotFound):
        store.open("outside.csv")
