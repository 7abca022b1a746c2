"""Telling others: Airflow that something arrived, people that something is wrong.

Both are best effort and never raise. What Airflow does not hear it finds by itself within five minutes.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Literal
from uuid import UUID

import httpx
import psycopg
import stamina

from elt.errors import DatabaseUnavailable
from elt.log import get_logger
from elt.mail import Mail, NotMailedError, can_mail, send_mail
from elt.outgoing import NotCalledError, post_json
from elt.settings import Settings
from elt.warehouse import connect

UPLOADS_ASSET = "laurel://uploads"

Way = Literal["webhook", "mail"]

_TIMEOUT = httpx.Timeout(5.0, connect=1.0)

_log = get_logger(__name__)

# httpx tells each address at level INFO; the webhook's is a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)


def announce_upload(settings: Settings, upload_id: UUID, *, wait: bool = False) -> None:
    """Ask Airflow to run the DAG `uploads` now, in the background.

    While one announcement is under way, those that come in become one more after it: an event only says that
    there is something to find. `wait` returns after the announcement, for processes that end at once.
    """
    if settings.airflow_password is None:
        _log.debug("airflow_not_configured")
        return
    with _announcers_lock:
        announcer = _announcers.setdefault(settings.resolved_airflow_url, _Announcer(settings))
    announcer.announce(upload_id)
    if wait:
        announcer.join()


def alert(settings: Settings, event: str, detail: str) -> bool:
    """Tell people by webhook and e-mail, the same event at most once an hour unless it was over meanwhile.

    Each way that is configured is told for itself: one that fails neither silences nor repeats the other.
    `detail` holds no personal values. False: a way did not take it, and it is due there again.
    """
    _log.warning("alert_raised", event_name=event, detail=detail)
    message = {"text": f"Laurel: {event}. {detail}", "event": event, "detail": detail, "source": "laurel"}
    due = [way for way in _ways(settings) if _is_due(settings, way, event)]
    told = [_tell(settings, way, event, message) for way in due]  # by all ways, also where one fails
    return all(told)


def all_clear(settings: Settings, event: str, detail: str) -> bool:
    """Tell that what `alert` told is over; nobody is told who heard no alert since the last time.

    False: a way was not told, since it did not take it, or the database did not say whether it is due.
    """
    message = {
        "text": f"Laurel: {event} is over. {detail}",
        "event": event, "detail": detail, "is_over": True, "source": "laurel",
    }  # fmt: skip
    told = []
    for way in _ways(settings):
        try:
            is_due = _is_waited_for(settings, way, event)
        except (DatabaseUnavailable, psycopg.Error) as error:
            _log.warning("alert_not_ended", event_name=event, way=way, reason=type(error).__name__)
            told.append(False)
            continue
        if is_due:
            _log.info("alert_over", event_name=event, way=way, detail=detail)
            told.append(_tell(settings, way, _over(event), message))
    return all(told)


def _ways(settings: Settings) -> list[Way]:
    """How people are told here."""
    is_set: dict[Way, bool] = {
        "webhook": settings.alert_webhook_url is not None,
        "mail": can_mail(settings) and bool(_alert_addresses(settings)),
    }
    return [way for way, here in is_set.items() if here]


def _tell(settings: Settings, way: Way, event: str, message: dict[str, Any]) -> bool:
    """Tell it by one way; what is not taken is due again."""
    post = {"webhook": _post_alert, "mail": _mail_alert}[way]
    try:
        for attempt in stamina.retry_context(
            on=_NotSentError, attempts=4, timeout=30, wait_initial=0.5, wait_max=5.0
        ):
            with attempt:
                post(settings, message)
    except _NotSentError as error:
        _log.error("alert_not_sent", event_name=message["event"], way=way, reason=str(error))
        _forget_alert(settings, way, event)
        return False
    return True


class _Announcer:
    """Sends announcements to one Airflow, one at a time."""

    def __init__(self, settings: Settings) -> None:
        self._airflow = _Airflow(settings)
        self._lock = threading.Lock()
        self._waiting: UUID | None = None
        self._thread: threading.Thread | None = None

    def announce(self, upload_id: UUID) -> None:
        with self._lock:
            self._waiting = upload_id
            if self._thread is None or not self._thread.is_alive():  # not alive: after a fork
                self._thread = threading.Thread(target=self._work, name="announce-uploads")
                self._thread.start()

    def join(self) -> None:
        thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while (upload_id := self._next()) is not None:
            try:
                self._airflow.emit(upload_id)
                _log.info("upload_announced", upload_id=str(upload_id))
            except _UNANSWERED as error:
                _log.info("upload_not_announced", upload_id=str(upload_id), reason=_reason(error))

    def _next(self) -> UUID | None:
        with self._lock:
            upload_id, self._waiting = self._waiting, None
            if upload_id is None:
                self._thread = None
            return upload_id


_announcers: dict[str, _Announcer] = {}
_announcers_lock = threading.Lock()


class _NotReadyError(Exception):
    """Airflow answers, but has not read the DAG yet."""


class _NotSentError(Exception):
    """A way did not take an alert. Says no address, which may be a secret and would be logged."""


# The last two: an answer that is not Airflow's.
_UNANSWERED = (httpx.HTTPError, httpx.InvalidURL, _NotReadyError, ValueError, KeyError)


class _Airflow:
    """The three calls of Airflow's API that an announcement takes; token and asset id are kept."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.resolved_airflow_url
        self._user = settings.airflow_user
        self._password = settings.airflow_password
        self._token: str | None = None
        self._asset_id: int | None = None

    def emit(self, upload_id: UUID) -> None:
        """Emit the asset's event; a stale token or asset id is looked up again."""
        for attempt in stamina.retry_context(
            on=(httpx.HTTPError, _NotReadyError), attempts=3, timeout=10, wait_initial=0.3, wait_max=2.0
        ):
            with attempt, httpx.Client(base_url=self._url, timeout=_TIMEOUT) as client:
                try:
                    self._emit_once(client, upload_id)
                except httpx.HTTPStatusError:
                    self._token = self._asset_id = None
                    raise

    def _emit_once(self, client: httpx.Client, upload_id: UUID) -> None:
        if self._token is None:
            self._token = self._log_in(client)
        client.headers["Authorization"] = f"Bearer {self._token}"
        if self._asset_id is None:
            self._asset_id = self._find_asset(client)
        event = {"asset_id": self._asset_id, "extra": {"upload_id": str(upload_id)}}
        client.post("/api/v2/assets/events", json=event).raise_for_status()

    def _log_in(self, client: httpx.Client) -> str:
        password = self._password.get_secret_value() if self._password else ""
        answer = client.post("/auth/token", json={"username": self._user, "password": password})
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    def _find_asset(self, client: httpx.Client) -> int:
        answer = client.get("/api/v2/assets", params={"uri_pattern": UPLOADS_ASSET}).raise_for_status()
        for asset in answer.json()["assets"]:
            if asset["uri"].rstrip("/") == UPLOADS_ASSET:
                found: int = asset["id"]
                return found
        raise _NotReadyError(f"Airflow knows no asset {UPLOADS_ASSET}.")


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return type(error).__name__


def _post_alert(settings: Settings, message: dict[str, Any]) -> None:
    """As Slack and its like understand it: they show `text`."""
    assert settings.alert_webhook_url is not None  # noqa: S101 - else it is none of the ways
    url = settings.alert_webhook_url.get_secret_value()
    try:
        post_json(url, message, allow=settings.outgoing_allow).raise_for_status()
    except NotCalledError as error:
        raise _NotSentError(str(error)) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _NotSentError(_reason(error)) from None


def _mail_alert(settings: Settings, message: dict[str, Any]) -> None:
    event = _over(message["event"]) if message.get("is_over") else message["event"]
    try:
        send_mail(settings, Mail(_alert_addresses(settings), f"Laurel: {event}", f"{message['text']}\n"))
    except NotMailedError as error:
        raise _NotSentError(str(error)) from None


def _alert_addresses(settings: Settings) -> tuple[str, ...]:
    return tuple(each.strip() for each in settings.alert_mail_to.split(",") if each.strip())


def _is_due(settings: Settings, way: Way, event: str) -> bool:
    """Claim the event's hour; without a database every alert is sent, since that may be what it is about."""
    try:
        with connect(settings.database_url.get_secret_value(), application_name="laurel-alert") as connection:
            claimed = connection.execute(
                """
                insert into ops.alerts as known (event, way, sent_at) values (%(event)s, %(way)s, now())
                on conflict (event, way) do update set sent_at = now()
                where known.sent_at <= now() - interval '1 hour' or exists (
                    select from ops.alerts as ended
                    where ended.event = %(over)s and ended.way = %(way)s and ended.sent_at >= known.sent_at
                )
                returning event
                """,
                {"event": event, "way": way, "over": _over(event)},
            ).fetchone()
    except (DatabaseUnavailable, psycopg.Error):
        return True
    return claimed is not None


def _is_waited_for(settings: Settings, way: Way, event: str) -> bool:
    """Claim the end of an alert that was told; without a database nobody knows whether it was."""
    with connect(settings.database_url.get_secret_value(), application_name="laurel-alert") as connection:
        claimed = connection.execute(
            """
            insert into ops.alerts as known (event, way, sent_at)
            select %(over)s, %(way)s, now() from ops.alerts as told
            where told.event = %(event)s and told.way = %(way)s and not exists (
                select from ops.alerts as ended
                where ended.event = %(over)s and ended.way = %(way)s and ended.sent_at >= told.sent_at
            )
            on conflict (event, way) do update set sent_at = now()
            returning event
            """,
            {"event": event, "way": way, "over": _over(event)},
        ).fetchone()
    return claimed is not None


def _over(event: str) -> str:
    return f"{event} is over"


def _forget_alert(settings: Settings, way: Way, event: str) -> None:
    """Let the next occurrence be told: this one was not."""
    try:
        with connect(settings.database_url.get_secret_value(), application_name="laurel-alert") as connection:
            connection.execute("delete from ops.alerts where event = %s and way = %s", (event, way))
    except (DatabaseUnavailable, psycopg.Error) as error:
        _log.warning("alert_not_forgotten", event_name=event, reason=type(error).__name__)
