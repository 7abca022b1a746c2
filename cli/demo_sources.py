"""What the demo reads beside its files: a school's RosarioSIS, the exam boards, and three countries."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import yaml
from psycopg import sql
from rich.console import Console
from rich.table import Table

from elt.settings import Settings
from elt.sources.configuration import find_source, load_sources, sources_dir
from elt.sources.sync import sync_source
from elt.store.base import open_store
from local import demo_sources, mariadb
from local.environment import add_to_env_file, is_embedded, read_embedded, read_env_file
from local.platform import Platform

if TYPE_CHECKING:
    from demo.school import DemoSchool

_STUDENTS = 120
_SCHOOL = "demo-rosariosis"
_COUNTRIES = ("ALB", "ARG", "AUS")
_RESPONSES = 400
_READER = "demo_pisa_reader"

_RESPONSES_TABLE = """
create table if not exists responses (
    id bigint primary key, cnt text not null, escs numeric(15, 4), tmins integer, belong numeric(15, 4),
    durecec integer, w_fstuwt numeric(15, 5), time_submitted timestamptz not null
)
"""
# Drawn from the number itself, so that a second demo finds the same responses.
_FILL = """
insert into responses
select
    n, {country}, round(((n * 7919 % 400) - 200) / 100.0, 4), 600 + n * 104729 % 1500,
    round(((n * 6101 % 300) - 150) / 100.0, 4), n % 5, 1 + n % 40, '2018-04-02'::timestamptz + n * interval
    '7 minutes'
from generate_series({first}::bigint, {last}::bigint) as n
on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class SourceShown:
    """One source as the demo read it. `problem`: why it is not shown."""

    name: str
    what: str
    rows: int = 0
    uploads: tuple[UUID, ...] = ()
    seconds: float = 0
    problem: str | None = None


def show_sources(platform: Platform, seed: int, say: Callable[[str], None]) -> list[SourceShown]:
    """Set up the demo's sources where they are not, fill them, and read each once.

    Airflow reads them again every five minutes.
    """
    settings = platform.settings()
    if not is_embedded():
        return [SourceShown("demo", "sources", problem="shown on the embedded platform only")]
    from demo.school import draw_demo_school  # needs NumPy, which `laurel --help` should not wait for

    found = demo_sources.set_up(platform.where)
    drawn = draw_demo_school(seed=seed + 1, students=_STUDENTS, schools=1)
    _fill_exam_board(platform, found, drawn)
    platform.add_services()
    skipped = []
    if found.mysql_port is None:
        reason = f"MariaDB is not installed (Debian: apt-get install {mariadb.PACKAGES})"
        skipped.append(SourceShown("demo-school", "RosarioSIS", problem=reason))
    else:
        say("Writing another school into a RosarioSIS on MariaDB …")
        _fill_rosariosis(platform, found, drawn)
    _fill_countries(platform)
    names = [source.name for source in load_sources(settings) if source.name.startswith("demo-")]
    # The register of examination numbers before the results that go by it.
    return [
        *skipped,
        *(_read(settings, name, say) for name in sorted(names, key=lambda name: name != "demo-school")),
    ]


def print_sources(shown: list[SourceShown]) -> None:
    """What was read, source by source."""
    title = "\nSources, from now on read every five minutes"
    table = Table("source", "what", "rows", "uploads", "took", title=title, title_justify="left", box=None)
    for source in shown:
        if source.problem:
            table.add_row(source.name, f"skipped: {source.problem}")
            continue
        table.add_row(
            source.name, source.what, f"{source.rows}", f"{len(source.uploads)}", f"{source.seconds:.1f} s"
        )
    Console().print(table)


def _read(settings: Settings, name: str, say: Callable[[str], None]) -> SourceShown:
    source = find_source(settings, name)
    say(f"Reading {name} ({source.kind.title}) …")
    started = time.monotonic()
    report = sync_source(settings, open_store(settings.resolved_store_url), source)
    took = time.monotonic() - started
    return SourceShown(name, source.kind.title, report.changed, tuple(report.uploads), took)


def _fill_rosariosis(platform: Platform, found: demo_sources.DemoSources, drawn: DemoSchool) -> None:
    """A school that is in no file: its pupils are others than those of the files."""
    from demo.rosariosis import write_rosariosis

    server = demo_sources.mysql_server(platform.where, found)
    password = demo_sources.mysql_password(platform.where)
    with server.connect(password) as connection, connection.cursor() as cursor:
        cursor.execute("create database if not exists rosariosis")
    address = server.url(password, "rosariosis")
    if not _has_tables(server, password):
        write_rosariosis(address, drawn, drawn.roster.schools[0])
    add_to_env_file(platform.where, {"DEMO_ROSARIOSIS_URL": address})
    _describe(platform, "school", kind="rosariosis", address="DEMO_ROSARIOSIS_URL", school_id=_SCHOOL)


def _has_tables(server: Any, password: str) -> bool:
    with server.connect(password, "rosariosis") as connection, connection.cursor() as cursor:
        cursor.execute("show tables")
        return bool(cursor.fetchall())


def _fill_countries(platform: Platform) -> None:
    """A database for each country, which a role of its own may read."""
    embedded = read_embedded(platform.where)
    password = read_env_file(platform.where).get("DEMO_PISA_PASSWORD") or secrets.token_urlsafe(24)
    values = {"DEMO_PISA_PASSWORD": password}
    with psycopg.connect(embedded.url(), autocommit=True) as server:
        _make_reader(server, password)
        for country in _COUNTRIES:
            name = f"demo_pisa_{country.lower()}"
            if not server.execute("select from pg_database where datname = %s", (name,)).fetchone():
                server.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
            values[f"DEMO_PISA_{country}_URL"] = (
                f"postgresql://{_READER}:{password}@127.0.0.1:{embedded.port}/{name}"
            )
    for number, country in enumerate(_COUNTRIES):
        address = f"{embedded.url().rpartition('/')[0]}/demo_pisa_{country.lower()}"
        first = number * 100_000 + 1
        fill = sql.SQL(_FILL).format(country=country, first=first, last=first + _RESPONSES - 1)
        with psycopg.connect(address) as connection:
            connection.execute(_RESPONSES_TABLE)
            connection.execute(fill)
            connection.execute(sql.SQL("grant select on responses to {}").format(sql.Identifier(_READER)))
    add_to_env_file(platform.where, values)
    _describe(
        platform, "pisa", kind="pisa", address="DEMO_PISA_{country}_URL", each={"country": list(_COUNTRIES)}
    )


def _make_reader(server: psycopg.Connection[Any], password: str) -> None:
    if not server.execute("select from pg_roles where rolname = %s", (_READER,)).fetchone():
        server.execute(sql.SQL("create role {} login").format(sql.Identifier(_READER)))
    server.execute(
        sql.SQL("alter role {} password {}").format(sql.Identifier(_READER), sql.Literal(password))
    )


def _fill_exam_board(platform: Platform, found: demo_sources.DemoSources, drawn: DemoSchool) -> None:
    """What the boards know of the school's candidates, by the numbers in its RosarioSIS."""
    from demo.exams import school_exam_id, write_exam_records

    write_exam_records(demo_sources.records_folder(platform.where), drawn.roster, drawn.candidates)
    add_to_env_file(platform.where, {"DEMO_EXAM_URL": demo_sources.exam_address(found)})
    _describe(
        platform, "exams", kind="exam_results", address="DEMO_EXAM_URL", key="DEMO_EXAM_KEY",
        school_id=_SCHOOL, private_network=True,
        parameters={"school_exam_id": school_exam_id(0), "ceeb_code": school_exam_id(0)},
    )  # fmt: skip


def _describe(platform: Platform, name: str, **described: Any) -> None:
    folder = sources_dir(platform.settings())
    folder.mkdir(exist_ok=True)
    heading = "# Written by ./start.sh demo; remove the file to stop reading the source.\n"
    content = yaml.safe_dump({"name": f"demo-{name}", **described}, sort_keys=False)
    (folder / f"demo-{name}.yaml").write_text(heading + content, "utf-8")
