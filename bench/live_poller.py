"""The peer of `bench.live`: counts and offsets once a second, as the systems did that Laurel replaces.

    BENCH_POLLER='{"central": "postgresql://…", "countries": {"ALB": "postgresql://…"}}' \\
        python -m bench.live_poller --out polled.json

Each second it reads every country from the row that it holds already (`offset`, no order), writes row by row
with a commit per country, and then asks the dashboard's five questions, each a scan of the whole table. It
ends when its standard input is closed, and writes after how many seconds which country had how many rows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

PERIOD_SECONDS = 1.0

_TABLE = """
create table if not exists pisa (
    id integer, cnt text, escs numeric(15, 4), tmins integer, belong numeric(15, 4), durecec integer,
    time_submitted timestamp, primary key (id, cnt)
)
"""
_READ = "select id, cnt, escs::text, tmins::text, belong::text, durecec::text from responses offset {}"
_WRITE = """
insert into pisa values (%s, %s, %s, %s, %s, %s, now()::timestamp)
on conflict (id, cnt) do update set escs = excluded.escs, tmins = excluded.tmins, belong = excluded.belong,
    durecec = excluded.durecec, time_submitted = excluded.time_submitted
"""
_DASHBOARD = (
    "select count(*) from pisa",
    "select cnt, round(avg(tmins / 60), 1) from pisa where tmins is not null group by cnt order by 2 desc",
    "select cnt, round(avg(escs), 1) from pisa where escs is not null group by cnt",
    """select cnt, round(avg(durecec), 2), round(avg(belong), 4),
        count(*) filter (where durecec is not null and belong is not null) from pisa group by cnt""",
    """select to_char(time_submitted, 'HH24:00'), count(*) from pisa
        where time_submitted > now() - interval '24 hours' group by 1 order by 1""",
)
_COUNTS = "select cnt, count(*) from pisa group by cnt"


def poll(
    central: str, countries: dict[str, str], ended: threading.Event
) -> list[tuple[float, dict[str, int]]]:
    """Poll until told to end; what the dashboard showed, and when."""
    shown = []
    with psycopg.connect(central, application_name="bench-poller") as store:
        store.execute(_TABLE)
        store.commit()
        sources = {
            country: psycopg.connect(address, autocommit=True, application_name="bench-poller")
            for country, address in countries.items()
        }
        while not ended.is_set():
            started = time.monotonic()
            for country, source in sources.items():
                _carry(store, source, country)
            for question in _DASHBOARD:
                store.execute(question).fetchall()
            now = time.monotonic()
            counts: dict[str, int] = dict(store.execute(_COUNTS).fetchall())
            store.commit()
            shown.append((now, counts))
            ended.wait(max(0.0, PERIOD_SECONDS - (time.monotonic() - started)))
        for source in sources.values():
            source.close()
    return shown


def _carry(store: psycopg.Connection[Any], source: psycopg.Connection[Any], country: str) -> None:
    held = store.execute("select count(*) from pisa where cnt = %s", (country,)).fetchone()
    rows = source.execute(sql.SQL(_READ).format(held[0] if held else 0)).fetchall()
    for row in rows:
        store.execute(_WRITE, [None if cell == "NA" else cell for cell in row])
    store.commit()


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main() -> None:
    """Poll until standard input ends."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    given = json.loads(os.environ["BENCH_POLLER"])
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    shown = poll(given["central"], given["countries"], ended)
    arguments.out.write_text(json.dumps(shown))


if __name__ == "__main__":
    main()
