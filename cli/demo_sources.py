"""What the demo reads beside its files: a school's RosarioSIS, the exam boards, and twenty countries."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import yaml
from rich.table import Table

from cli.tables import print_table
from demo import defaults
from elt.settings import Settings
from elt.sources.configuration import find_source, load_sources, sources_dir
from elt.sources.sync import sync_source
from elt.store.base import open_store
from local import demo_sources, mariadb
from local.environment import add_to_env_file, is_embedded, read_embedded
from local.platform import Platform

if TYPE_CHECKING:
    from demo.school import DemoSchool

_STUDENTS = 120
_SCHOOL = "demo-rosariosis"
_COLUMNS = 8  # of a country's table; only those that are followed, so that the start is quick


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
    _fill_countries(platform, seed, say)
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
    print_table(table)


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


def _fill_countries(platform: Platform, seed: int, say: Callable[[str], None]) -> None:
    """A database for each country, in which respondents submit from now on (service `demo-pisa`)."""
    from cli.demo_countries import Wanted, set_up
    from demo.pisa import COUNTRIES

    server = read_embedded(platform.where).url()
    set_up(platform.settings(), server, Wanted(COUNTRIES, _COLUMNS, defaults.RESPONSES, seed), say)


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
