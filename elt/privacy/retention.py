"""What is kept no longer than needed: the rules are data (`retention.yaml`), here is how each works.

One rule only proposes: students who have left are erased when a person says so (`elt.privacy.left_students`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pydantic
import yaml
from psycopg import sql
from pydantic import ConfigDict, TypeAdapter

from elt.audit.trail import record
from elt.errors import ConfigurationError
from elt.log import get_logger
from elt.notify import alert
from elt.privacy.left_students import find_left
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.claims import keep_replay_out
from elt.warehouse import Connection, connect

RULES_FILE = Path(__file__).with_name("retention.yaml")
LEFT_STUDENTS = "left_students"
_SHORTEST_LEFT = 365  # days: a rule that is switched on by a slip of the pen takes nobody of this year

log = get_logger(__name__)


class Rule(pydantic.BaseModel):
    """One rule: what is removed, how many days after what. `days` None: never."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: str
    days: int | None = pydantic.Field(ge=1)
    since: str
    what: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What a rule came to: how many things are due, and whether they were removed."""

    rule: Rule
    due: int
    is_removed: bool


# When a version stopped being live: its upload was withdrawn, or the version after it loaded.
_ENDED = sql.SQL(
    """
    select v.upload_id, v.version, v.object_key, v.bytes_removed_at
    from ops.upload_versions v join ops.uploads u using (upload_id)
    left join ops.upload_versions live on live.upload_id = v.upload_id and live.version = u.live_version
    where v.status = 'withdrawn' and coalesce(u.withdrawn_at, live.loaded_at) < %(before)s
      and (u.live_version is null or v.version < u.live_version)
    """
)

_UNREADABLE = sql.SQL(
    """
    select v.upload_id, v.version, v.object_key, v.bytes_removed_at from ops.upload_versions v
    where v.status = 'rejected' and coalesce(v.rows_read, 0) = 0 and v.received_at < %(before)s
    """
)

_ROWS = {
    # Not before the bytes: erasure knows from the findings what had become of a row.
    "row_issues": (
        "row_issues",
        sql.SQL(
            "(upload_id, version) in "
            "(select upload_id, version from ({}) ended where bytes_removed_at is not null)"
        ).format(_ENDED),
    ),
    "idempotency_keys": ("idempotency_keys", sql.SQL("created_at < %(before)s")),
    "sessions": ("sessions", sql.SQL("expires_at < %(before)s")),
    "rates": ("rates", sql.SQL("expires_at < %(before)s")),
    "scopes": ("scopes", sql.SQL("expires_at < %(before)s")),
    "mails": (
        "mails",
        sql.SQL("created_at < %(before)s and (sent_at is not null or given_up_at is not null)"),
    ),
    "student_assignments": ("student_assignments", sql.SQL("ended_at < %(before)s")),
    "runs": ("runs", sql.SQL("started_at < %(before)s and status <> 'running'")),
}

Act = Callable[[Connection, Store, datetime, bool], int]


def load_rules(path: Path | None = None) -> list[Rule]:
    """The rules, in the order in which they are kept; those of `RULES_FILE` by default.

    Raises:
        ConfigurationError: the file is wrong, or names a rule that there is not.
    """
    path = path or RULES_FILE
    try:
        rules = TypeAdapter(list[Rule]).validate_python(yaml.safe_load(path.read_text("utf-8")))
    except (yaml.YAMLError, pydantic.ValidationError) as error:
        raise ConfigurationError(f"{path.name} is not a list of rules: {error}") from error
    known = {*_ACTS, "audit"}
    if unknown := sorted({rule.rule for rule in rules} - known):
        raise ConfigurationError(
            f"{path.name}: no such rule: {', '.join(unknown)}; known: {', '.join(known)}."
        )
    days = {rule.rule: rule.days for rule in rules}
    if days.get("audit") is not None:
        raise ConfigurationError(f"{path.name}: the audit trail is a chain, and kept for ever.")
    if (days.get(LEFT_STUDENTS) or _SHORTEST_LEFT) < _SHORTEST_LEFT:
        raise ConfigurationError(
            f"{path.name}: {LEFT_STUDENTS} takes {_SHORTEST_LEFT} days and more. "
            "Who is to go sooner is erased by `laurel erase`."
        )
    return rules


def left_before(now: datetime | None = None) -> date:
    """The day before which students must have left to be due.

    Raises:
        ConfigurationError: the rule is off.
    """
    days = next((rule.days for rule in load_rules() if rule.rule == LEFT_STUDENTS), None)
    if days is None:
        raise ConfigurationError(
            f"The rule {LEFT_STUDENTS} is off. Give it `days` in {RULES_FILE} if students who have left "
            "shall be erased after some time."
        )
    return ((now or datetime.now(UTC)) - timedelta(days=days)).date()


def apply_retention(
    settings: Settings,
    store: Store,
    *,
    dry_run: bool,
    rules: Sequence[Rule] | None = None,
    now: datetime | None = None,
) -> list[Kept]:
    """Remove what is due by the rules, or only count it. Safe to repeat, and to be killed.

    Raises:
        TransientError: store or database went away, or a replay is running.
    """
    now = now or datetime.now(UTC)
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-retention") as connection, keep_replay_out(connection):
        kept = []
        for rule in load_rules() if rules is None else rules:
            if rule.days is None:
                kept.append(Kept(rule, 0, is_removed=False))
                continue
            due = _ACTS[rule.rule](connection, store, now - timedelta(days=rule.days), dry_run)
            is_removed = not dry_run and due > 0 and rule.rule != LEFT_STUDENTS
            kept.append(Kept(rule, due, is_removed))
        if removed := {each.rule.rule: each.due for each in kept if each.is_removed}:
            with connection.transaction():
                record(connection, "system", "retention:applied", "", removed)
            log.info("retention_applied", **removed)
    return kept


def tell_who_decides(settings: Settings, kept: Sequence[Kept]) -> None:
    """Tell people how many wait for their decision; never who."""
    for each in kept:
        if each.rule.rule == LEFT_STUDENTS and each.due:
            detail = (
                f"{each.due} students left more than {each.rule.days} days ago. "
                "See who: laurel retention --left. Erase them: laurel retention --erase-left."
            )
            alert(settings, "students_left", detail)


def _count_left(connection: Connection, _store: Store, before: datetime, _dry_run: bool) -> int:
    return len(find_left(connection, before.date()).due)


def _remove_rows(
    table: str,
    condition: sql.Composable,
    connection: Connection,
    _store: Store,
    before: datetime,
    dry_run: bool,
) -> int:
    what = sql.SQL("{} where {}").format(sql.Identifier("ops", table), condition)
    if not dry_run:
        return connection.execute(sql.SQL("delete from {}").format(what), {"before": before}).rowcount
    count = sql.SQL("select count(*) as due from {}").format(what)
    row = connection.execute(count, {"before": before}).fetchone()
    return int(row["due"]) if row else 0


def _remove_bytes(
    versions: sql.SQL, connection: Connection, store: Store, before: datetime, dry_run: bool
) -> int:
    """The object first: what is killed between is done again."""
    due = sql.SQL("select * from ({}) due where bytes_removed_at is null").format(versions)
    rows = connection.execute(due, {"before": before}).fetchall()
    for row in [] if dry_run else rows:
        store.delete(row["object_key"])
        store.forget(row["object_key"])
        connection.execute(
            "update ops.upload_versions set bytes_removed_at = now() where upload_id = %s and version = %s",
            (row["upload_id"], row["version"]),
        )
    return len(rows)


_ACTS: dict[str, Act] = {
    "withdrawn_bytes": partial(_remove_bytes, _ENDED),
    "unreadable_bytes": partial(_remove_bytes, _UNREADABLE),
    **{name: partial(_remove_rows, *where) for name, where in _ROWS.items()},
    LEFT_STUDENTS: _count_left,
}
