"""Is the platform alive, is it ready, and how is it doing."""

from __future__ import annotations

from importlib.metadata import version

from flask import Blueprint, Response

from backend.access import allow
from backend.errors import problem
from backend.metrics import CONTENT_TYPE, render
from backend.operations import Answer, operation
from backend.schemas.health import Health, Readiness
from backend.services import services
from elt.errors import LaurelError, SchemaMismatch
from elt.log import get_logger
from elt.schema_version import require_head

health = Blueprint("health", __name__)

_log = get_logger(__name__)


@health.get("/healthz")
@allow("health:read")
@operation("Is the API alive", {200: Answer("It is.", Health)})
def check_health() -> Health:
    """Needs nothing but the process itself."""
    return Health(version=version("laurel"))


@health.get("/readyz")
@allow("health:read")
@operation(
    "Can files be handed in now",
    {200: Answer("Database and store answer, and the tables are those of this version.", Readiness)},
    problems=(503,),
)
def check_readiness() -> Readiness | Response:
    """Asks database and store."""
    faults = {
        name: error
        for name, error in (("database", _database_fault()), ("store", _store_fault()))
        if error is not None
    }
    if not faults:
        return Readiness(checks={"database": "ok", "store": "ok"})
    for name, error in faults.items():
        _log.warning("not_ready", dependency=name, detail=error.detail)
    # No more than that: anyone may ask.
    said = ", ".join(
        f"{name}: {'of another version' if isinstance(error, SchemaMismatch) else 'away'}"
        for name, error in faults.items()
    )
    return problem(503, "Not ready", said, kind="urn:laurel:problem:not-ready", headers={"Retry-After": "5"})


@health.get("/metrics")
@allow("metrics:read")
@operation(
    "Metrics for Prometheus",
    {200: Answer("Metrics in Prometheus' text format.", media=("text/plain",))},
    description="Without a key only from the machine itself, not through a proxy; else with an admin's key.",
)
def read_metrics() -> Response:
    """Counters of all processes, and figures read from the database now."""
    return Response(render(services()), content_type=CONTENT_TYPE)


def _database_fault() -> LaurelError | None:
    try:
        with services().connection() as connection:
            require_head(connection)
    except LaurelError as error:
        return error
    return None


def _store_fault() -> LaurelError | None:
    try:
        services().store.check()
    except LaurelError as error:
        return error
    return None
