"""E-mails that wait to be sent to people: each is told once, tried again, and given up at last.

A line of `ops.mails` holds identifiers only. The text is written when it is sent, by the writer of its kind,
from what is known then. Whatever goes wrong with one puts off that one, and none of the others. A sender that
is killed between the mail server's answer and its own note of it sends again under the same Message-ID.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb
from uuid6 import uuid7

from elt.errors import public_text
from elt.log import get_logger
from elt.mail import Mail, NotMailedError, can_mail, send_mail
from elt.people.users import UserRecord, get_user
from elt.settings import Settings
from elt.warehouse import Connection, connect

ATTEMPTS = 8
_FIRST_WAIT = timedelta(minutes=5)  # doubled after each attempt: ten hours in all outlast a night
_FAILURES_AT_ONCE = 3  # a server that is away costs a run no more time than this

Kind = Literal["upload", "report"]
Writer = Callable[[Settings, Connection, UserRecord, dict[str, Any]], Mail | None]
"""Writes a mail to a person from its detail; None: it is not wanted, or not allowed any more.

What it raises puts the mail off: it is not possible yet.
"""

_log = get_logger(__name__)


def put_mail(
    connection: Connection, about: str, kind: Kind, user_id: UUID, detail: Mapping[str, Any]
) -> bool:
    """Let a person be told of something, in the caller's transaction; False: they were, or will be already.

    Args:
        about: names what happened.
        detail: what its writer needs: identifiers, no names and no cells.
    """
    added = connection.execute(
        """
        insert into ops.mails (mail_id, about, kind, user_id, detail) values (%s, %s, %s, %s, %s)
        on conflict (about) do nothing
        """,
        (UUID(int=uuid7().int), about, kind, user_id, Jsonb(dict(detail))),
    )
    return added.rowcount > 0


def send_due(settings: Settings, writers: Mapping[Kind, Writer]) -> int:
    """Send what is due, of the kinds that there are writers for; returns how many were sent.

    Safe to call by several processes at once. Without a mail server nothing is tried, and it waits.

    Raises:
        DatabaseUnavailable: the database went away.
    """
    if not can_mail(settings):
        return 0
    sent = failures = 0
    with connect(settings.database_url.get_secret_value(), application_name="laurel-mail") as connection:
        while failures < _FAILURES_AT_ONCE:
            with connection.transaction():
                waiting = _next(connection, list(writers))
                if waiting is None:
                    break
                try:
                    with connection.transaction():
                        sent += _send(settings, connection, writers[waiting["kind"]], waiting)
                except Exception as error:  # whatever it is, the others are sent
                    failures += not _is_final(error)
                    _put_off(connection, waiting, error)
    return sent


def _next(connection: Connection, kinds: list[Kind]) -> dict[str, Any] | None:
    return connection.execute(
        """
        select mail_id, kind, user_id, detail, attempts from ops.mails
        where sent_at is null and given_up_at is null and due_at <= now() and kind = any(%s)
        order by due_at, mail_id limit 1
        for update skip locked
        """,
        (kinds,),
    ).fetchone()


def _send(settings: Settings, connection: Connection, write: Writer, waiting: dict[str, Any]) -> bool:
    """Write and send one; False: there is nothing to tell any more."""
    person = get_user(connection, waiting["user_id"])
    mail = write(settings, connection, person, waiting["detail"]) if person.state == "active" else None
    if mail is None:
        _log.info("mail_not_wanted", mail_id=str(waiting["mail_id"]), kind=waiting["kind"])
        _end(connection, waiting, "given_up_at")
        return False
    send_mail(settings, replace(mail, message_id=str(waiting["mail_id"])))
    _end(connection, waiting, "sent_at")
    _log.info("mail_sent", mail_id=str(waiting["mail_id"]), kind=waiting["kind"])
    return True


def _end(connection: Connection, waiting: dict[str, Any], how: Literal["sent_at", "given_up_at"]) -> None:
    connection.execute(
        """
        update ops.mails
        set attempts = attempts + 1,
            sent_at = case when %(how)s = 'sent_at' then now() end,
            given_up_at = case when %(how)s = 'given_up_at' then now() end
        where mail_id = %(id)s
        """,
        {"how": how, "id": waiting["mail_id"]},
    )


def _is_final(error: Exception) -> bool:
    return isinstance(error, NotMailedError) and error.is_final


def _put_off(connection: Connection, waiting: dict[str, Any], error: Exception) -> None:
    reason = str(error) if isinstance(error, NotMailedError) else public_text(error)
    told = {"mail_id": str(waiting["mail_id"]), "kind": waiting["kind"], "reason": reason}
    attempts = waiting["attempts"] + 1
    if _is_final(error) or attempts >= ATTEMPTS:
        _log.error("mail_given_up", attempts=attempts, **told)
        _end(connection, waiting, "given_up_at")
        return
    _log.warning("mail_put_off", attempts=attempts, **told)
    connection.execute(
        "update ops.mails set attempts = %s, due_at = now() + %s where mail_id = %s",
        (attempts, _FIRST_WAIT * 2 ** (attempts - 1), waiting["mail_id"]),
    )
