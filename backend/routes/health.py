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
from elt.errors import LaurelError
from elt.log import get_logger

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
    "Can files be handed in now", {200: Answer("Database and store answer.", Readiness)}, problems=(503,)
)
def check_readiness() -> Readiness | Response:
    """Asks database and store."""
    faults = {
        name: detail
        for name, detail in (("database", _database_fault()), ("store", _store_fault()))
        if detail is not None
    }
    if not faults:
        return Readiness(checks={"database": "ok", "store": "ok"})
    for name, detail in faults.items():
        _log.warning("not_ready", dependency=name, detail=detail)
    away = ", ".join(f"{name}: away" for name in faults)  # no more: anyone may ask
    return problem(503, "Not ready", away, kind="urn:laurel:problem:not-ready", headers={"Retry-After": "5"})


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


def _database_fault() -> str | None:
    try:
        with services().connection() as connection:
            connection.execute("select from ops.uploads limit 1")
    except LaurelError as error:
        return error.detail
    return None


def _store_fault() -> str | None:
    try:
        services().store.check()
    except LaurelError as error:
        return error.detail
    return None
