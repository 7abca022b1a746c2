"""Calls to configured addresses reach only what may be called, also when a name or a redirect misleads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from elt.outgoing import NotCalledError, post_json


class Listener(ThreadingHTTPServer):
    """Answers every POST with a redirect to itself; keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Listener)
        self.server.asked.append((self.path, self.headers.get("Host")))
        self.send_response(302)
        self.send_header("Location", f"http://127.0.0.1:{self.server.port}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A name service of the test: which addresses a name has."""
    names: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def answer(host: str, port: Any, *arguments: Any, **named: Any) -> Any:
        if host not in names:
            return real(host, port, *arguments, **named)
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in names[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return names


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.100.100.200", "168.63.129.16", "[::1]", "[fd00:ec2::254]", "[fe80::1]", "[::ffff:127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "2130706433", "0x7f.1", "127.1", "224.0.0.1",
    ],
)  # fmt: skip
def test_what_is_not_public_is_not_called(listener: Listener, host: str) -> None:
    with pytest.raises(NotCalledError, match="own network"):
        post_json(f"http://{host}:{listener.port}/", {})
    assert listener.asked == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/", "https://", "nothing"])
def test_other_schemes_are_not_called(url: str) -> None:
    with pytest.raises(NotCalledError, match="https://"):
        post_json(url, {})


def test_one_inner_address_among_public_ones_is_enough_to_refuse(
    listener: Listener, resolves: dict[str, list[str]]
) -> None:
    resolves["hooks.example"] = ["93.184.216.34", "127.0.0.1"]
    with pytest.raises(NotCalledError, match="own network"):
        post_json(f"http://hooks.example:{listener.port}/", {})


@pytest.mark.parametrize("allow", ["127.0.0.0/8", "hooks.example", "10.0.0.0/8, HOOKS.example"])
def test_what_is_listed_is_called_under_its_name_and_redirects_are_not_followed(
    listener: Listener, resolves: dict[str, list[str]], allow: str
) -> None:
    resolves["hooks.example"] = ["127.0.0.1"]
    answer = post_json(f"http://hooks.example:{listener.port}/hook", {"text": "x"}, allow=allow)
    assert answer.status_code == 302
    assert listener.asked == [("/hook", f"hooks.example:{listener.port}")]


def test_the_address_that_was_looked_at_is_the_one_that_is_called(
    listener: Listener, resolves: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[str] = []
    first = socket.getaddrinfo

    def changing(host: str, *arguments: Any, **named: Any) -> Any:
        questions.append(host)
        resolves["rebind.example"] = ["127.0.0.1"] if "rebind.example" in questions[:-1] else ["127.0.0.2"]
        return first(host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    with pytest.raises(httpx.ConnectError):  # nobody listens on 127.0.0.2, where the name led at first
        post_json(f"http://rebind.example:{listener.port}/", {}, allow="127.0.0.2")
    assert questions.count("rebind.example") == 1
    assert listener.asked == []


def test_a_proxy_of_the_environment_is_not_asked(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert post_json(f"http://127.0.0.1:{listener.port}/", {}, allow="127.0.0.1").status_code == 302
