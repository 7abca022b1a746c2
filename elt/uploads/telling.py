"""Telling who handed in a file what became of it, by e-mail."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from elt.errors import NotFound
from elt.mail import Mail, one_line
from elt.outbox import put_mail
from elt.people.principals import SENDERS
from elt.people.users import UserRecord
from elt.settings import Settings
from elt.uploads.ledger import Counts, get_version
from elt.warehouse import Connection

_BECAME = {
    "loaded": "was loaded",
    "rejected": "was rejected",
    "held": "waits for a second person",
    "failed": "could not be loaded",
}
_NEXT = {
    "loaded": "See it, and the rows that were rejected",
    "rejected": "See what is wrong, and hand in a corrected file",
    "held": "See what it would change; somebody else releases it, or you withdraw it",
    "failed": "The fault is Laurel's, and those who run it were told. See the file",
}
# Runs come every few minutes; this is for one that was killed, or a platform that was off for a night. What
# replay loads has no run.
_OUTCOMES = """
select v.upload_id, v.version, v.status, v.attempts, u.user_id
from ops.upload_versions as v join ops.users as u on 'user:' || u.user_id = v.uploader
where v.run_id is not null and v.loading_at > now() - interval '2 days' and v.status = any(%s)
  and not exists (
      select from ops.mails as m
      where m.about = format('upload:%%s:%%s:%%s:%%s', v.upload_id, v.version, v.status, v.attempts)
  )
order by v.loading_at, v.upload_id
"""


def queue_outcomes(connection: Connection) -> int:
    """Note of each file that has met its fate lately that its sender, if a person, is to be told; once each.

    Returns:
        How many were noted.
    """
    rows = connection.execute(_OUTCOMES, (list(_BECAME),)).fetchall()
    return sum(
        put_mail(
            connection,
            f"upload:{row['upload_id']}:{row['version']}:{row['status']}:{row['attempts']}",
            "upload",
            row["user_id"],
            {"upload_id": str(row["upload_id"]), "version": row["version"], "status": row["status"]},
        )
        for row in rows
    )


def write_outcome(
    settings: Settings, connection: Connection, person: UserRecord, detail: dict[str, Any]
) -> Mail | None:
    """The mail about a version; None: the person does not want it or may not hand in any more, or the version
    is gone or has become something else since.
    """
    status = detail["status"]
    wanted = person.mails_loaded if status == "loaded" else person.mails_troubled
    if not wanted or person.role not in SENDERS:
        return None
    try:
        version = get_version(connection, UUID(detail["upload_id"]), detail["version"])
    except NotFound:
        return None
    if version.status != status:
        return None
    here = settings.resolved_public_url
    filename = one_line(version.filename)
    text = (
        f"Your file {filename} {_BECAME[status]}.\n\n"
        f"{version.reason + chr(10) if version.reason else ''}{_counted(version.counts)}\n"
        f"{_NEXT[status]}: {here}/uploads/{detail['upload_id']}\n\n"
        f"Which e-mails you get: {here}/account\n"
    )
    return Mail((person.email,), f"Laurel: {filename} {_BECAME[status]}", text)


def _counted(counts: Counts) -> str:
    if counts.read is None:
        return ""
    return (
        f"Rows: {counts.read} read, {counts.accepted} accepted, {counts.rejected} rejected, "
        f"{counts.repeated} repeated.\n"
    )
