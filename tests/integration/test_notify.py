"""Announcements to Airflow and alerts to people, sent to a real HTTP server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import pytest
import stamina
from pydantic import SecretStr
from structlog.testing import CapturingLogger

from elt import notify
from elt.settings import Settings
from elt.warehouse import Connection


@dataclass
class Listener:
    """An HTTP server that keeps what it was sent and answers as Airflow does, or with `failures` first."""

    requests: list[tuple[str, str, Any, str | None]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def events(self) -> list[str]:
        return [
            body["extra"]["upload_id"]
            for _, path, body, _ in self.requests
            if path == "/api/v2/assets/events"
        ]


@pytest.fixture
def listener() -> Iterator[Listener]:
    kept = Listener()
    kept.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept.hold.wait(60)
            kept.requests.append(
                (self.command, self.path, json.loads(body or "null"), self.headers.get("Authorization"))
            )
            if kept.failures:
                self._answer(kept.failures.pop(0), {})
            elif self.path == "/auth/token":
                self._answer(201, {"access_token": f"token-{len(kept.requests)}"})
            elif self.path.startswith("/api/v2/assets?"):
                uris = ["laurel://uploads-of-others", "laurel://uploads"]
                self._answer(200, {"assets": [{"id": n, "uri": uri} for n, uri in enumerate(uris, 6)]})
            else:
                self._answer(200, {})

        do_GET = do_POST  # noqa: N815

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield kept
    kept.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def airflow(settings: Settings, listener: Listener) -> Settings:
    return settings.model_copy(update={"airflow_url": listener.url, "airflow_password": SecretStr("pw")})


@pytest.fixture
def webhook(settings: Settings, listener: Listener) -> Settings:
    url = SecretStr(f"{listener.url}/hook/very-secret")
    return settings.model_copy(update={"alert_webhook_url": url, "outgoing_allow": "127.0.0.0/8"})


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """What the module logs, whichever test has set up logging before."""
    logger = CapturingLogger()
    monkeypatch.setattr(notify, "_log", logger)
    return logger


@pytest.fixture
def quick_retries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


def test_an_upload_is_announced_with_its_id(airflow: Settings, listener: Listener) -> None:
    upload_id = uuid4()
    notify.announce_upload(airflow, upload_id, wait=True)
    assert [(path.split("?")[0], authorization) for _, path, _, authorization in listener.requests] == [
        ("/auth/token", None),
        ("/api/v2/assets", "Bearer token-1"),
        ("/api/v2/assets/events", "Bearer token-1"),
    ]
    assert listener.requests[0][2] == {"username": "admin", "password": "pw"}
    assert listener.requests[2][2] == {"asset_id": 7, "extra": {"upload_id": str(upload_id)}}


def test_token_and_asset_are_asked_for_once_until_refused(
    airflow: Settings, listener: Listener, quick_retries: None
) -> None:
    first, second, third = uuid4(), uuid4(), uuid4()
    notify.announce_upload(airflow, first, wait=True)
    notify.announce_upload(airflow, second, wait=True)
    assert len(listener.requests) == 4
    listener.failures = [401]
    notify.announce_upload(airflow, third, wait=True)
    assert listener.events() == [str(first), str(second), str(third), str(third)]
    assert sum(path == "/auth/token" for _, path, _, _ in listener.requests) == 2


def test_a_burst_becomes_two_announcements_and_delays_nobody(airflow: Settings, listener: Listener) -> None:
    listener.hold.clear()
    uploads = [uuid4() for _ in range(50)]
    for upload_id in uploads:
        notify.announce_upload(airflow, upload_id)  # returns although the listener answers nothing
    assert listener.requests == []
    listener.hold.set()
    _wait_until(lambda: str(uploads[-1]) in listener.events())
    assert len(listener.events()) <= 2


def test_an_airflow_that_is_away_or_fails_is_no_error(
    airflow: Settings, listener: Listener, quick_retries: None
) -> None:
    listener.failures = [500] * 3
    notify.announce_upload(airflow, uuid4(), wait=True)
    away = airflow.model_copy(update={"airflow_url": "http://127.0.0.1:9"})
    notify.announce_upload(away, uuid4(), wait=True)
    later = uuid4()
    notify.announce_upload(airflow, later, wait=True)
    assert listener.events()[-1] == str(later)


def test_without_a_password_airflow_is_left_alone(settings: Settings, listener: Listener) -> None:
    notify.announce_upload(settings.model_copy(update={"airflow_url": listener.url}), UUID(int=1), wait=True)
    assert listener.requests == []


def test_an_alert_is_sent_once_an_hour(webhook: Settings, listener: Listener, connection: Connection) -> None:
    for detail in ("first", "second"):
        notify.alert(webhook, "run_failed", detail)
    notify.alert(webhook, "disk_full", "other")
    assert [body["text"] for _, _, body, _ in listener.requests] == [
        "Laurel: run_failed. first",
        "Laurel: disk_full. other",
    ]
    assert listener.requests[0][2] == {
        "text": "Laurel: run_failed. first",
        "event": "run_failed",
        "detail": "first",
        "source": "laurel",
    }
    connection.execute(
        "update ops.alerts set sent_at = now() - interval '61 minutes' where event = 'run_failed'"
    )
    notify.alert(webhook, "run_failed", "an hour later")
    assert listener.requests[-1][2]["detail"] == "an hour later"


def test_the_end_of_an_alert_is_told_once_to_those_who_heard_of_it(
    webhook: Settings, listener: Listener
) -> None:
    notify.all_clear(webhook, "live_late:pisa-alb", "nobody heard of it")
    notify.alert(webhook, "live_late:pisa-alb", "first")
    for detail in ("in time", "still in time"):
        notify.all_clear(webhook, "live_late:pisa-alb", detail)
    assert [body["text"] for _, _, body, _ in listener.requests] == [
        "Laurel: live_late:pisa-alb. first",
        "Laurel: live_late:pisa-alb is over. in time",
    ]
    assert listener.requests[1][2]["is_over"] is True
    # Who was told that it is over would believe so.
    for detail in ("within the hour", "still"):
        notify.alert(webhook, "live_late:pisa-alb", detail)
    notify.all_clear(webhook, "live_late:pisa-alb", "again")
    assert [body["detail"] for _, _, body, _ in listener.requests[2:]] == ["within the hour", "again"]


def test_the_end_of_an_alert_that_nobody_got_is_told_later(
    webhook: Settings, listener: Listener, quick_retries: None
) -> None:
    notify.alert(webhook, "run_failed", "x")
    listener.failures = [500, 500, 500]
    assert not notify.all_clear(webhook, "run_failed", "lost")
    assert notify.all_clear(webhook, "run_failed", "told")
    assert listener.requests[-1][2]["detail"] == "told"
    assert listener.requests[-2][2]["detail"] == "lost"


def test_an_alert_is_tried_again_and_its_address_is_not_logged(
    webhook: Settings,
    listener: Listener,
    quick_retries: None,
    log: CapturingLogger,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listener.failures = [503, 502]
    notify.alert(webhook, "run_failed", "x")
    assert len(listener.requests) == 3
    assert not any(call.args == ("alert_not_sent",) for call in log.calls)
    assert "very-secret" not in str(log.calls) + "".join(capsys.readouterr())


def test_an_alert_that_nobody_got_is_due_again(
    webhook: Settings, listener: Listener, quick_retries: None, log: CapturingLogger
) -> None:
    listener.failures = [500, 500, 500]
    assert not notify.alert(webhook, "run_failed", "lost")
    assert [call.kwargs["reason"] for call in log.calls if call.args == ("alert_not_sent",)] == ["HTTP 500"]
    assert notify.alert(webhook, "run_failed", "told")
    assert listener.requests[-1][2]["detail"] == "told"


def test_an_alert_about_the_database_is_sent_without_one(webhook: Settings, listener: Listener) -> None:
    broken = webhook.model_copy(update={"database_url": SecretStr("postgresql://nobody@127.0.0.1:9/none")})
    assert notify.alert(broken, "database_away", "no answer")
    assert not notify.all_clear(broken, "database_away", "nobody knows whether it was told")
    assert listener.requests[0][2]["event"] == "database_away"


def _wait_until(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("did not come true within a minute")
