"""The processes that `bench.sources` measures: ours, and what others do with a MySQL table.

Each takes what `bench.platform.run_child` hands over, and says what `Watch` reads when its work is done.
Peers take `source` (mysql://…), `table` and `rows` (how many there are to read).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from bench.child import child_settings, peak_rss_mb

_CHUNK = 50_000


class Watch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._worked = time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds that went by, seconds that this process worked, and its largest memory in MB."""
        return {
            "seconds": time.perf_counter() - self._started,
            "cpu_seconds": time.process_time() - self._worked,
            "peak_rss_mb": peak_rss_mb(),
        }


def main() -> None:
    """Do the one thing that is asked for, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", required=True, help="a JSON object; `work` says what to do")
    payload = json.loads(parser.parse_args().child)
    print(json.dumps(WORK[payload["work"]](payload)))


def read_source(payload: dict[str, Any]) -> dict[str, Any]:
    """Read the source `name`; says how many rows were new or changed, and which uploads have them."""
    from elt.sources.configuration import find_source
    from elt.sources.sync import sync_source
    from elt.store.base import open_store

    settings = child_settings(payload)
    store = open_store(settings.resolved_store_url)
    source = find_source(settings, payload["name"])
    watch = Watch()
    report = sync_source(settings, store, source)
    return {
        **watch.read(),
        "changed": report.changed,
        "uploads": [str(upload) for upload in report.uploads],
    }


def load_uploads(payload: dict[str, Any]) -> dict[str, Any]:
    """Load the uploads that a reading made, one after the other."""
    from elt.loading.loader import load_version
    from elt.store.base import open_store

    settings = child_settings(payload)
    store = open_store(settings.resolved_store_url)
    watch = Watch()
    for upload_id in payload["uploads"]:
        outcome = load_version(settings, store, UUID(upload_id), 1, run_id=None)
        if outcome.status != "loaded":
            raise SystemExit(f"the load ended as {outcome.status}")
    return watch.read()


def bring_by_dlt(payload: dict[str, Any]) -> dict[str, Any]:
    """All rows by dlt's own source for databases, as Arrow tables, loaded as CSV: its quickest way."""
    import dlt
    from dlt.sources.sql_database import sql_table

    pipeline = dlt.pipeline(
        "bench_sources",
        destination=dlt.destinations.postgres(payload["database_url"]),
        dataset_name="by_dlt",
        pipelines_dir=f"{payload['home']}/dlt",
    )
    watch = Watch()
    table = sql_table(_for_sqlalchemy(payload), payload["table"], backend="pyarrow", chunk_size=_CHUNK)
    pipeline.run(table, loader_file_format="csv")
    found = watch.read()
    with pipeline.sql_client() as client:
        rows = client.execute_sql(f"select count(*) from {payload['table']}")
    _check(payload, int(rows[0][0]) if rows else 0)
    return found


def bring_by_pandas(payload: dict[str, Any]) -> dict[str, Any]:
    """The first rows by `read_sql` and `to_sql`, in chunks."""
    import pandas as pd
    from sqlalchemy import create_engine

    source = create_engine(_for_sqlalchemy(payload))
    target = create_engine(payload["database_url"].replace("postgresql://", "postgresql+psycopg2://"))
    rows = 0
    watch = Watch()
    with source.connect().execution_options(stream_results=True) as connection:
        for part in pd.read_sql(_query(payload), connection, chunksize=_CHUNK):
            part.to_sql("by_pandas", target, schema="public", index=False, if_exists="append")
            rows += len(part)
    _check(payload, rows)
    return watch.read()


def read_by_sqlalchemy(payload: dict[str, Any]) -> dict[str, Any]:
    """Read the rows with SQLAlchemy and pymysql, and keep none."""
    from sqlalchemy import create_engine, text

    engine = create_engine(_for_sqlalchemy(payload))
    watch = Watch()
    with engine.connect().execution_options(stream_results=True) as connection:
        rows = sum(len(part) for part in connection.execute(text(_query(payload))).partitions(_CHUNK))
    _check(payload, rows)
    return watch.read()


def read_by_asyncmy(payload: dict[str, Any]) -> dict[str, Any]:
    """Read the rows with asyncmy, and keep none."""
    watch = Watch()
    rows = asyncio.run(_count_by_asyncmy(payload))
    _check(payload, rows)
    return watch.read()


async def _count_by_asyncmy(payload: dict[str, Any]) -> int:
    import asyncmy
    from asyncmy.cursors import SSCursor

    parts = urlsplit(payload["source"])
    connection = await asyncmy.connect(
        host=parts.hostname, port=parts.port, user=parts.username, password=unquote(parts.password or ""),
        database=parts.path.strip("/"),
    )  # fmt: skip
    count = 0
    async with connection, connection.cursor(SSCursor) as cursor:
        await cursor.execute(_query(payload))
        while rows := await cursor.fetchmany(_CHUNK):
            count += len(rows)
    return count


def _check(payload: dict[str, Any], rows: int) -> None:
    if rows != payload["rows"]:
        raise SystemExit(f"{rows} rows were read, not {payload['rows']}")


def _for_sqlalchemy(payload: dict[str, Any]) -> str:
    source: str = payload["source"]
    return source.replace("mysql://", "mysql+pymysql://")


def _query(payload: dict[str, Any]) -> str:
    return f"select * from {payload['table']} limit {payload['rows']}"


WORK: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "read": read_source,
    "load": load_uploads,
    "dlt": bring_by_dlt,
    "pandas": bring_by_pandas,
    "sqlalchemy": read_by_sqlalchemy,
    "asyncmy": read_by_asyncmy,
}


if __name__ == "__main__":
    main()
