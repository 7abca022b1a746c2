"""Brings a restored database `elt` to the present, before anybody uses it: its tables, rights and erasures.

What the store has and the backup does not (files, withdrawals, erasures) the database finds out by itself, as
after any loss of it: `elt.uploads.discover`. Erasures must not wait for that: the backup holds the people.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from elt.audit.trail import record
from elt.migrate import migrate
from elt.pipeline import Progress, Score, run
from elt.privacy.erasure import erase_pending
from elt.serving.database_roles import let_dbt_build
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.claims import keep_replay_out
from elt.uploads.discover import adopt_recent_events, list_pending
from elt.warehouse import connect


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What was done. `events`: told by the store, later than the backup; `waiting`: versions not loaded yet.

    `erased`: people whose erasure is finished now; `open_erasures`: those for whom something is left to do.
    """

    events: int
    waiting: int
    erased: int
    open_erasures: int


def bring_forward(
    settings: Settings,
    store: Store,
    url: str,
    *,
    backup: str,
    score: Score,
    by: str,
    say: Progress,
) -> Forwarded:
    """Make a restored database fit for use. `url`: its address, while the settings still name another.

    Signing in again is asked of everybody: a session that was ended after the backup would be valid again.

    Raises:
        SchemaMismatch: it is newer than the code.
        TransformError: the marts could not be built without the erased people.
        TransientError: database or store went away.
    """
    say("bringing elt up to date")
    migrate(url)
    with connect(url, application_name="laurel-restore") as connection:
        let_dbt_build(connection)
        connection.execute("delete from ops.sessions")
        record(connection, by, "database:restore", "", {"backup": backup})
        with keep_replay_out(connection):
            events = adopt_recent_events(connection, store)
    there = settings.model_copy(update={"database_url": SecretStr(url)})
    erasures = erase_pending(
        there, store, rebuild=lambda: run(there, trigger="cli", score=score, progress=say), progress=say
    )
    with connect(url, application_name="laurel-restore") as connection:
        waiting = len(list_pending(connection))
    finished = len(erasures.finished)
    return Forwarded(events, waiting, finished, len(erasures.erasures) - finished)
