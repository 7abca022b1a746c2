"""The audit trail: who did what, when and why, in a chain of lines that no one can change unseen.

Each line of `ops.audit` holds the hash of the line before, so a line that was changed, removed or moved
breaks the chain. A tail that was cut off leaves a sound chain: `elt.audit.anchors` keeps heads in the object
store to compare with. People are named by keyed hashes only, so the trail needs no change when a person is
erased.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from elt.audit.numbers import leave_out_known
from elt.privacy.tombstones import plain
from elt.settings import Settings
from elt.warehouse import Connection

_NO_HASH = bytes(32)  # what the first line holds for the line before
_MAX_FAULTS = 100
_TYPED = ("reason", "sql")  # of `detail`: what people write as they like

PersonKind = Literal["student", "guardian", "teacher"]


@dataclass(frozen=True, slots=True, order=True)
class Anchor:
    """A line that was the last one at some time, as it is kept outside the database."""

    audit_id: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the chain, and the number of the line where it shows."""

    audit_id: int
    what: str


@dataclass(slots=True)
class AuditReport:
    """What `verify` found: how many lines and anchors it read, the last line, and at most 100 faults."""

    lines: int = 0
    anchors: int = 0
    head: Anchor = Anchor(0, _NO_HASH)
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def record(
    connection: Connection,
    actor: str,
    action: str,
    subject: str = "",
    detail: Mapping[str, Any] | None = None,
) -> int:
    """Add a line in the caller's transaction, so that an act and its line are kept or lost together.

    Call this last in a transaction: until it ends, all others who add a line wait. `detail` holds plain
    JSON values and never names, cells or secrets. Numbers of people are taken out of what is typed freely in
    it (`reason`, `sql`).

    Returns:
        The line's number.
    """
    told = dict(detail or {})
    for name in _TYPED:
        if isinstance(typed := told.get(name), str):
            told[name] = leave_out_known(connection, _clean(typed))
    with connection.transaction():
        connection.execute("select from ops.audit_turn for update")
        # A statement of its own, so that it sees what the last holder of the lock has written. `detail` is
        # hashed as the database gives it back, which may write a number in another way than Python does.
        last = connection.execute(
            """
            select %s::jsonb as detail, clock_timestamp() as occurred_at, head.audit_id, head.sha256
            from (select) as always
            left join (select audit_id, sha256 from ops.audit order by audit_id desc limit 1) as head on true
            """,
            (_to_json(told),),
        ).fetchone()
        assert last is not None  # noqa: S101 - a select without a where answers one row
        line = {
            "audit_id": (last["audit_id"] or 0) + 1,
            "occurred_at": last["occurred_at"],
            "actor": _clean(actor),
            "action": _clean(action),
            "subject": _clean(subject),
            "detail": last["detail"],
            "previous_sha256": last["sha256"] or _NO_HASH,
        }
        connection.execute(
            """
            insert into ops.audit
                (audit_id, occurred_at, actor, action, subject, detail, previous_sha256, sha256)
            values (%(audit_id)s, %(occurred_at)s, %(actor)s, %(action)s, %(subject)s, %(json)s::jsonb,
                    %(previous_sha256)s, %(sha256)s)
            """,
            {**line, "json": _to_json(line["detail"]), "sha256": hash_line(line)},
        )
    number: int = line["audit_id"]
    return number


def person_subject(settings: Settings, kind: PersonKind, school_id: str, identifier: str) -> str:
    """How lines name a person: the same for all spellings; nobody without the key can tell whom."""
    return f"{kind}:{keyed_mark(settings, json.dumps([kind, school_id, plain(identifier)]))[:32]}"


def keyed_mark(settings: Settings, value: str) -> str:
    """A hash that stands for a value in the trail: hexadecimal, made with the platform's secret key."""
    key = hmac.digest(settings.secret_key.get_secret_value().encode(), b"laurel audit trail", "sha256")
    return hmac.new(key, value.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def verify(connection: Connection, anchors: Iterable[Anchor] = ()) -> AuditReport:
    """Read the whole chain and say what is wrong with it, in flat memory.

    Args:
        anchors: lines that are known to have been there, oldest first (`elt.audit.anchors.read_anchors`).
    """
    report = AuditReport()
    known = iter(anchors)
    due = next(known, None)
    # The server's cursor lives in a transaction, which sees the chain as it was at its beginning.
    with connection.transaction(), connection.cursor(name="laurel_audit") as cursor:
        cursor.itersize = 2000
        for line in cursor.execute("select * from ops.audit order by audit_id"):
            _check_line(report, line)
            while due is not None and due.audit_id <= line["audit_id"]:
                report.anchors += 1
                if due.audit_id == line["audit_id"] and due.sha256 != line["sha256"]:
                    _fault(report, due.audit_id, "differs from what the object store knows of it")
                due = next(known, None)
            report.lines += 1
            report.head = Anchor(line["audit_id"], line["sha256"])
    while due is not None:
        report.anchors += 1
        _fault(report, due.audit_id, "is gone: the object store knows of it, the table ends before it")
        due = next(known, None)
    return report


def hash_line(line: Mapping[str, Any]) -> bytes:
    """The SHA-256 of a line in canonical JSON: sorted names, no spaces, UTF-8, the time in UTC."""
    occurred_at: datetime = line["occurred_at"]
    return hashlib.sha256(
        _to_json(
            {
                "audit_id": line["audit_id"],
                "occurred_at": occurred_at.astimezone(UTC).isoformat(timespec="microseconds"),
                "actor": line["actor"],
                "action": line["action"],
                "subject": line["subject"],
                "detail": line["detail"],
                "previous_sha256": bytes(line["previous_sha256"]).hex(),
            }
        ).encode()
    ).digest()


def _check_line(report: AuditReport, line: Mapping[str, Any]) -> None:
    number, before = line["audit_id"], report.head
    if number != before.audit_id + 1:
        _fault(report, number, f"follows line {before.audit_id}: the lines between are gone")
    elif line["previous_sha256"] != before.sha256:
        _fault(report, number, "does not hold the hash of the line before: that line was changed or replaced")
    if hash_line(line) != line["sha256"]:
        _fault(report, number, "does not match its own hash: it was changed")


def _fault(report: AuditReport, audit_id: int, what: str) -> None:
    if len(report.faults) < _MAX_FAULTS:
        report.faults.append(Fault(audit_id, what))


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(
        _clean_values(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _clean_values(value: Any) -> Any:
    """Plain JSON values that the database can hold; identifiers and times become text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_clean(str(name)): _clean_values(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean_values(each) for each in value]
    return _clean(str(value))


def _clean(text: str) -> str:
    """The text as PostgreSQL and UTF-8 can hold it: no NUL, no half of a surrogate pair."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
