"""Writing the changed marts to the store, as CSV and as Parquet, with a manifest of what is there.

The files are derived, so they are replaced: `marts/<mart>.csv`, `marts/<mart>.parquet` and
`marts/manifest.json`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from elt.errors import NotFound
from elt.log import get_logger
from elt.serving.marts import MEDIA_TYPES, MartRows, list_marts, open_mart
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection, connect

MANIFEST_KEY = "marts/manifest.json"

# They name people, or hold what was predicted of them; of that mart_student_risk has the newest. Offences are
# nobody's outside the school. Features of exams are for the model, and they or the results of each subject
# would be the largest files of every run.
NEVER_PUBLISHED = frozenset(
    {
        "mart_students", "mart_guardians", "mart_jamb_performance", "mart_sat_performance",
        "mart_waec_performance", "mart_student_flags", "mart_student_predictions", "mart_prediction_record",
        "mart_exam_features", "mart_student_profiles", "mart_student_subjects",
        "mart_student_summary",
    }
)  # fmt: skip

_FORMATS: tuple[Literal["csv", "parquet"], ...] = ("csv", "parquet")
_log = get_logger(__name__)


def publish(
    settings: Settings,
    store: Store,
    *,
    changed_marts: Collection[str] | None = None,
    run_id: UUID | None = None,
) -> list[str]:
    """Write the marts that a run has changed; all of them if `changed_marts` is None, nothing if it is empty.

    Both files of a mart hold the same rows. Safe to repeat; killed at any point it leaves whole files, and a
    manifest that tells by its digests which of them it describes.

    Returns:
        The keys of the files written.

    Raises:
        DatabaseUnavailable, StoreUnavailable, DiskFull: what is written stays written.
    """
    if changed_marts is not None and not changed_marts:
        return []
    with connect(settings.database_url.get_secret_value(), application_name="laurel-publish") as connection:
        names = [mart.name for mart in list_marts(connection)]
        for missing in sorted(set(changed_marts or ()).difference(names)):
            _log.warning("mart_not_found", mart=missing)
        written: list[str] = []
        for name in names:
            if name not in NEVER_PUBLISHED and (changed_marts is None or name in changed_marts):
                entry = _write_mart(connection, store, name)
                _note(store, name, {**entry, "run_id": str(run_id) if run_id else None})
                written += [file["key"] for file in entry["files"]]
    return written


def read_manifest(store: Store) -> dict[str, Any]:
    """What was published: per mart its rows, when, by which run, and its files with size and SHA-256."""
    try:
        with store.open(MANIFEST_KEY) as stream:
            manifest: dict[str, Any] = json.load(stream)
    except NotFound:
        return {"marts": {}}
    return manifest


def _write_mart(connection: Connection, store: Store, name: str) -> dict[str, Any]:
    built_at = datetime.now(UTC)
    with closing(open_mart(connection, name, format="csv")) as rows:
        files = [_write_file(store, rows, name, format) for format in _FORMATS]
        _log.info("mart_published", mart=name, rows=rows.count)
        return {"rows": rows.count, "built_at": built_at.isoformat(timespec="seconds"), "files": files}


def _write_file(store: Store, rows: MartRows, name: str, format: Literal["csv", "parquet"]) -> dict[str, Any]:
    stored = store.put(
        f"marts/{name}.{format}", rows.write(format), media_type=MEDIA_TYPES[format], replace=True
    )
    return {"key": stored.key, "size": stored.size, "sha256": stored.sha256}


def _note(store: Store, name: str, entry: dict[str, Any]) -> None:
    """Mart by mart, so that a run that is killed leaves a manifest of what it had written."""
    marts = {**read_manifest(store)["marts"], name: entry}
    content = json.dumps({"marts": dict(sorted(marts.items()))}, indent=2).encode()
    store.put(MANIFEST_KEY, [content], media_type="application/json", replace=True)
