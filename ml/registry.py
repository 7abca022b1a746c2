"""Keeps every model that was tried: published or refused, with what the gate found.

The fitted pipeline of a published one lies in the store as a skops file, which can hold data but no code to
run. It is loaded only if its bytes are those that were registered and its types are those we know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version as installed_version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from psycopg.types.json import Jsonb
from uuid6 import uuid7

from elt.errors import Conflict, NotFound
from elt.store.base import Store
from elt.warehouse import Connection
from ml.errors import ModelRefused
from ml.target import Target, load_target

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from ml.learning import Learnt

# What our pipelines hold beside the types that skops trusts by itself. Anything else is refused.
TRUSTED_TYPES = (
    "ml.pipeline.RangeScaler",
    "ml.pipeline.RecalibratedClassifier",
    "ml.scores.ScoreClassifier",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
_COLUMNS = (
    "model_id, target, version, algorithm, created_at, code_version, data_window, features, metrics, gate,"
    " object_key, is_published, accepted_by, accepted_at, accepted_reason"
)


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """One line of `ml.model_versions`: an attempt, and who let it pass where the gate did not."""

    model_id: UUID
    target: str
    version: int
    algorithm: str
    created_at: datetime
    code_version: str
    data_window: dict[str, Any]
    features: dict[str, Any]
    metrics: dict[str, Any]
    gate: dict[str, Any]
    object_key: str | None
    is_published: bool
    accepted_by: str | None
    accepted_at: datetime | None
    accepted_reason: str | None

    @property
    def covered_schools(self) -> list[str]:
        """The schools on which the model was checked; for all others the rule speaks."""
        return [school["school_id"] for school in self.gate.get("schools", []) if school["covered"]]

    def to_dict(self) -> dict[str, Any]:
        """The line as plain JSON values."""
        facts = {name: getattr(self, name) for name in _COLUMNS.replace(" ", "").split(",")}
        accepted_at = self.accepted_at.isoformat() if self.accepted_at else None
        return {
            **facts,
            "model_id": str(self.model_id),
            "created_at": self.created_at.isoformat(),
            "accepted_at": accepted_at,
        }


def find_published(
    connection: Connection, target: Target, thresholds: Mapping[str, float]
) -> RegisteredModel | None:
    """The newest published model that takes the features, and answers the question, of today."""
    return _find(
        connection,
        "target = %s and is_published and features ->> 'digest' = %s and data_window ->> 'question' = %s",
        (target.name, target.features_digest, target.question_digest(thresholds)),
    )


def find_latest(connection: Connection, target: str) -> RegisteredModel | None:
    """The newest attempt, published or not."""
    return _find(connection, "target = %s", (target,))


def list_models(connection: Connection, target: str | None = None) -> list[RegisteredModel]:
    """All attempts, newest first."""
    rows = connection.execute(
        f"select {_COLUMNS} from ml.model_versions where %(target)s::text is null or target = %(target)s"  # noqa: S608
        " order by created_at desc, version desc",
        {"target": target},
    )
    return [RegisteredModel(**row) for row in rows]


def register(connection: Connection, store: Store, target: Target, learnt: Learnt) -> RegisteredModel:
    """Record an attempt; the pipeline of a published one is in the store before its line is in the table.

    The caller holds the target's training lock, so that versions follow one another.
    """
    row = connection.execute(
        "select coalesce(max(version), 0) + 1 as version from ml.models where target = %s", (target.name,)
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers with one row
    key, facts = None, dict(learnt.metrics)
    if learnt.pipeline is not None:
        key = f"models/{target.name}/{row['version']}.skops"
        # An attempt that was killed before its line was written may have left an object under this key.
        stored = store.put(key, [dump_pipeline(learnt.pipeline)], replace=True)
        facts["object"] = {"sha256": stored.sha256, "bytes": stored.size}
    connection.execute(
        "insert into ml.models (model_id, target, version, algorithm, code_version, data_window, features,"
        " metrics, gate, is_published, object_key) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            uuid7(),
            target.name,
            row["version"],
            learnt.algorithm,
            code_version(),
            Jsonb(learnt.window),
            Jsonb({"digest": target.features_digest, "columns": target.feature_facts()}),
            Jsonb(facts),
            Jsonb(learnt.verdict.to_dict()),
            learnt.verdict.is_published,
            key,
        ),
    )
    registered = find_latest(connection, target.name)
    assert registered is not None  # noqa: S101 - it was written in this session a moment ago
    _store_card(store, registered, target)
    return registered


def _store_card(store: Store, model: RegisteredModel, target: Target) -> None:
    from ml.card import render_card

    store.put(card_key(model), [render_card(model.to_dict(), target).encode()], replace=True)


def card_key(model: RegisteredModel) -> str:
    """Where the store has the model card, a page."""
    return f"models/{model.target}/{model.version}.html"


def accept(
    connection: Connection, store: Store, target: str, version: int, *, by: str, reason: str
) -> RegisteredModel:
    """Let a model pass which only gaps between groups of students stand against.

    Args:
        by: the principal who decides.

    Raises:
        NotFound: no such version.
        Conflict: the version is published already, or more than gaps stands against it.
    """
    if not reason.strip():
        raise Conflict("Say why the gaps may be: the reason is kept with the model.")
    model = _find(connection, "target = %s and version = %s", (target, version))
    if model is None:
        raise NotFound(f"There is no version {version} of {target}.")
    if model.is_published:
        raise Conflict(f"{target} version {version} is published already.")
    newest = find_latest(connection, target)
    if newest and newest.version != version:
        raise Conflict(
            f"{target} version {newest.version} is newer. Only the newest version can be accepted."
        )
    if not model.gate.get("awaits_acceptance"):
        reasons = " ".join(f"{text}." for text in model.gate.get("reasons", []))
        raise Conflict(
            f"{target} version {version} was not refused for gaps between groups alone, and nothing else can "
            f"be accepted. {reasons}"
        )
    connection.execute(
        "insert into ml.acceptances (model_id, accepted_by, reason, gaps) values (%s, %s, %s, %s)"
        " on conflict do nothing",
        (model.model_id, by, reason, Jsonb(model.gate["reasons"])),
    )
    accepted = _find(connection, "target = %s and version = %s", (target, version))
    assert accepted is not None  # noqa: S101 - it was there a moment ago
    _store_card(store, accepted, load_target(target))
    return accepted


def load_pipeline(store: Store, model: RegisteredModel) -> Pipeline:
    """Read a published model's pipeline.

    Raises:
        ModelRefused: the object is gone, its bytes are not the registered ones, or it holds foreign types.
    """
    try:
        with store.open(model.object_key or "") as stream:
            content = stream.read()
    except NotFound:
        raise ModelRefused(f"{model.object_key} is not in the store. Run `laurel train`.") from None
    found = hashlib.sha256(content).hexdigest()
    if found != model.metrics.get("object", {}).get("sha256"):
        raise ModelRefused(
            f"{model.object_key} has SHA-256 {found[:12]}…, which is not what {model.target} version "
            f"{model.version} was registered with. Somebody changed it. Run `laurel train`."
        )
    return parse_pipeline(content, model.object_key or "")


def parse_pipeline(content: bytes, name: str) -> Pipeline:
    """Rebuild a pipeline from a skops file.

    Raises:
        ModelRefused: it holds types that no model of ours has, or is no skops file.
    """
    import skops.io

    try:
        foreign = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES))
        if not foreign:
            return skops.io.loads(content, trusted=list(TRUSTED_TYPES))
    except Exception as error:  # skops raises whatever a broken file leads to
        raise ModelRefused(f"{name} is not a model file: {type(error).__name__}") from error
    raise ModelRefused(f"{name} holds types that no model of ours has: {', '.join(foreign)}")


def dump_pipeline(pipeline: Pipeline) -> bytes:
    """The pipeline as a skops file; the same pipeline gives the same bytes.

    skops names arrays by memory addresses and stamps the time, which say nothing about the model, so both are
    replaced: addresses by their order, the time by a constant.
    """
    import skops.io

    answer = BytesIO()
    with ZipFile(BytesIO(skops.io.dumps(pipeline))) as written:
        schema = json.loads(written.read("schema.json"))
        names = _renumber(schema, {}, {})
        with ZipFile(answer, "w", compression=ZIP_DEFLATED) as file:
            for old, new in sorted(names.items(), key=lambda pair: pair[1]):
                file.writestr(_entry(new), written.read(old))
            file.writestr(_entry("schema.json"), json.dumps(schema, sort_keys=True))
    return answer.getvalue()


@lru_cache
def code_version() -> str:
    """The installed version and a digest of the model's own code and declarations."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.py"), *folder.rglob("*.yaml")]):
        digest.update(path.read_bytes())
    return f"{installed_version('laurel')}+{digest.hexdigest()[:8]}"


def _find(connection: Connection, condition: str, values: tuple[object, ...]) -> RegisteredModel | None:
    row = connection.execute(
        f"select {_COLUMNS} from ml.model_versions where {condition} order by version desc limit 1",  # noqa: S608
        values,
    ).fetchone()
    return RegisteredModel(**row) if row else None


def _renumber(node: Any, ids: dict[int, int], names: dict[str, str]) -> dict[str, str]:
    """Number ids and files in order of appearance, in place; returns old file name → new one."""
    if isinstance(node, dict):
        if isinstance(node.get("__id__"), int):
            node["__id__"] = ids.setdefault(node["__id__"], len(ids))
        if isinstance(node.get("file"), str) and "__loader__" in node:
            old = node["file"]
            node["file"] = names.setdefault(old, f"{len(names):06d}{Path(old).suffix}")
        for key in sorted(node):
            _renumber(node[key], ids, names)
    elif isinstance(node, list):
        for item in node:
            _renumber(item, ids, names)
    return names


def _entry(name: str) -> ZipInfo:
    entry = ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = ZIP_DEFLATED
    return entry
