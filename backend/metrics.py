"""Metrics for Prometheus.

Counters are kept per process and summed over all of gunicorn's workers when they are asked for; what the
database knows (uploads, rows, runs) is read from it at that moment, so it is the same whoever answers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backend.services import Services
from elt.errors import DatabaseUnavailable
from elt.warehouse import Connection

CONTENT_TYPE = CONTENT_TYPE_LATEST

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUESTS = Counter("laurel_requests", "Requests answered.", ["method", "route", "status"])
_SECONDS = Histogram(
    "laurel_request_seconds",
    "Time from the request's first byte to its answer.",
    ["route"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600),
)
_UPLOAD_BYTES = Counter("laurel_upload_bytes", "Bytes of files that were stored.")

_FIGURES = """
select
    (select coalesce(jsonb_object_agg(status, n), '{}') from (
        select status, count(*) as n from ops.uploads join ops.upload_versions using (upload_id, version)
        group by status) by_status) as uploads,
    (select count(*) from ops.upload_versions where status in ('stored', 'loading')) as waiting,
    (select jsonb_build_object(
        'read', coalesce(sum(rows_read), 0), 'accepted', coalesce(sum(rows_accepted), 0),
        'rejected', coalesce(sum(rows_rejected), 0), 'repeated', coalesce(sum(rows_repeated), 0),
        'loaded', coalesce(sum(rows_loaded), 0)) from ops.upload_versions) as rows,
    (select extract(epoch from now() - max(finished_at))::float8
        from ops.runs where status = 'succeeded') as run_age
"""


def register_metrics(app: Flask) -> None:
    """Count every request."""

    @app.before_request
    def _start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def _count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.method in _METHODS else "other"  # callers may invent any
        _REQUESTS.labels(method, route, str(response.status_code)).inc()
        _SECONDS.labels(route).observe(time.perf_counter() - g.started)
        return response


def count_upload(size: int) -> None:
    """Count the bytes of a stored file."""
    _UPLOAD_BYTES.inc(size)


def render(services: Services) -> bytes:
    """All metrics in Prometheus' text format; those of the database are left out while it is away."""
    registry: CollectorRegistry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    figures = CollectorRegistry(auto_describe=False)
    figures.register(_DatabaseFigures(services))
    return generate_latest(registry) + generate_latest(figures)


class _DatabaseFigures(Collector):
    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("laurel_database_up", "1 if the database answers.")
        try:
            with self._services.connection() as connection:
                yield from _read_figures(connection)
            up.add_metric([], 1)
        except DatabaseUnavailable:
            up.add_metric([], 0)
        yield up


def _read_figures(connection: Connection) -> Iterator[Metric]:
    found = connection.execute(_FIGURES).fetchone() or {}
    uploads = GaugeMetricFamily(
        "laurel_uploads", "Uploads by status of their newest version.", labels=["status"]
    )
    for status, count in found["uploads"].items():
        uploads.add_metric([status], count)
    rows = CounterMetricFamily("laurel_rows", "Rows of all versions by outcome.", labels=["outcome"])
    for outcome, count in found["rows"].items():
        rows.add_metric([outcome], count)
    yield uploads
    yield rows
    yield GaugeMetricFamily("laurel_waiting_uploads", "Stored and not loaded yet.", value=found["waiting"])
    if found["run_age"] is not None:
        age = "Seconds since the last successful run ended."
        yield GaugeMetricFamily("laurel_last_successful_run_age_seconds", age, value=found["run_age"])
