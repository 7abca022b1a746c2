"""Metrics for Prometheus.

Counters are kept per process and summed over all of gunicorn's workers when they are asked for; what the
database knows (uploads, rows, runs) is read from it at that moment, so it is the same whoever answers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from elt.errors import DatabaseUnavailable
from elt.warehouse import Connection

if TYPE_CHECKING:  # services count viewers
    from backend.services import Services

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
_EVENTS = Counter("laurel_live_events", "Events sent to viewers of the live picture.")
_VIEWERS = Gauge("laurel_live_viewers", "Open streams of the live picture.", multiprocess_mode="livesum")

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
_LIVE_COUNTRIES = "select country, sum(responses) as responses from live.countries group by country"
_LIVE_SOURCES = """
select
    source, lag_seconds, (problem is null and read_at is not null)::integer as up,
    extract(epoch from now() - read_at)::float8 as age,
    (select count(*) from live.rejects where rejects.source = sources.source) as rejects
from live.sources
"""
_LIVE = {
    "up": ("laurel_live_source_up", "1 if the country database is followed now."),
    "age": ("laurel_live_age_seconds", "Since it was known that nothing newer is there."),
    "lag_seconds": ("laurel_live_lag_seconds", "From commit there to pushed, when measured last."),
    "rejects": ("laurel_live_rejects", "Rows there that are not counted, because they break a rule."),
}


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


def count_viewers(number: int) -> None:
    """How many viewers this process has now."""
    _VIEWERS.set(number)


def count_events(number: int) -> None:
    """Count events that were sent to viewers."""
    _EVENTS.inc(number)


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
                yield from _read_live_figures(connection)
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
        age = "Seconds since a run last ended that succeeded or had nothing to do."
        yield GaugeMetricFamily("laurel_last_successful_run_age_seconds", age, value=found["run_age"])


def _read_live_figures(connection: Connection) -> Iterator[Metric]:
    responses = GaugeMetricFamily(
        "laurel_live_responses", "Responses that the country databases hold.", labels=["country"]
    )
    for row in connection.execute(_LIVE_COUNTRIES):
        responses.add_metric([row["country"]], row["responses"])
    yield responses
    sources = connection.execute(_LIVE_SOURCES).fetchall()
    for column, (name, description) in _LIVE.items():
        metric = GaugeMetricFamily(name, description, labels=["source"])
        for row in sources:
            if row[column] is not None:
                metric.add_metric([row["source"]], row[column])
        yield metric
