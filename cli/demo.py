"""`laurel demo` and `laurel demo-school`: the whole platform, shown with a school that does not exist."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import httpx

from cli.demo_report import list_stages, show_model, show_outcome, show_runs, show_worklist
from cli.platform import print_addresses
from demo import defaults
from elt.errors import ConfigurationError, LaurelError, UploadRejected
from elt.people.keys import create_key
from elt.settings import Settings
from elt.warehouse import connect
from local.platform import Platform
from local.services import local_url

_PATIENCE_SECONDS = 1200
_FINAL = frozenset({"loaded", "rejected", "held", "failed", "withdrawn"})

Json = dict[str, Any]


@click.command(epilog="Example: laurel demo --students 1200")
@click.option("--seed", default=defaults.SEED, show_default=True, help="Another seed, another school.")
@click.option(
    "--students",
    default=defaults.STUDENTS,
    show_default=True,
    type=click.IntRange(60),
    help="How many students, those who have left included.",
)
@click.option("--sources/--no-sources", default=True, help="Also read databases and examination boards.")
def demo(seed: int, students: int, sources: bool) -> None:
    """Show the whole way: make a school, hand its files in, wait, list the students at risk.

    Then databases and examination boards are read. Starts the platform where it does not run. Safe to repeat:
    the same files are taken once.
    """
    from cli.demo_sources import print_sources, show_sources
    from demo.school import write_demo_school  # needs NumPy, which `laurel --help` should not wait for

    started = time.monotonic()
    platform = Platform(click.echo)
    settings = platform.up()
    folder = platform.where.home / "demo" / f"seed-{seed}-students-{students}"
    click.echo(f"\nMaking a school of {students} students, who do not exist, in {folder} …")
    answers = write_demo_school(folder, seed=seed, students=students)
    key = _find_or_make_key(settings, platform.where.home / "demo" / "api-key")
    with _Api(local_url(settings, settings.port), key) as api:
        click.echo("Handing its files in through the API …")
        uploads = [api.hand_in(folder / name, answer.dataset) for name, answer in answers.files.items()]
        uploads, runs = _Waiting(api, [upload["id"] for upload in uploads], click.echo).wait()
        shown = show_sources(platform, seed, click.echo) if sources else []
        if batches := [str(upload_id) for source in shown for upload_id in source.uploads]:
            runs += _Waiting(api, batches, click.echo).wait()[1]
        worklist = api.get("/api/v1/risk", limit=1000)["items"]
        models = api.get("/api/v1/models")["items"]
    is_as_expected = show_outcome(uploads, answers.files)
    if shown:
        print_sources(shown)
    show_runs(runs)
    show_model(models)
    show_worklist(worklist)
    click.echo(f"\nAll of it took {time.monotonic() - started:.0f} s. Where to look now:")
    print_addresses(settings)
    if shown:
        click.echo(f"Live     {local_url(settings, settings.port)}/live   (country databases)")
    click.echo(f"Key      {key}   (role admin; Swagger UI: Authorize)")
    if not is_as_expected:
        raise LaurelError(f"The counts differ from the answer key, {folder / 'answer_key.json'}.")
    if not worklist:
        raise LaurelError("No student was found at risk, though the school was made with some.")


@click.command(
    "demo-school",
    epilog="Examples: laurel demo-school /tmp/school --seed 3 --students 1200; "
    "laurel demo-school --into mysql://user:password@127.0.0.1:3306/rosariosis",
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option(
    "--into",
    metavar="ADDRESS",
    help="Write one of the schools as RosarioSIS holds it into an empty database: "
    "mysql://user:password@host:port/database.",
)
@click.option("--school", help="Which school to write with --into; the first unless named.")
@click.option("--force", is_flag=True, help="With --into: replace an earlier demo school. Other tables stay.")
@click.option("--seed", default=defaults.SEED, show_default=True, help="Another seed, another school.")
@click.option(
    "--students",
    default=defaults.STUDENTS,
    show_default=True,
    type=click.IntRange(60),
    help="How many students, those who have left included.",
)
@click.option(
    "--schools", default=defaults.SCHOOLS, show_default=True, type=click.IntRange(1), help="How many schools."
)
@click.option(
    "--years",
    default=defaults.YEARS,
    show_default=True,
    type=click.IntRange(2),
    help="School years of history.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def demo_school(
    directory: Path | None,
    into: str | None,
    school: str | None,
    force: bool,
    seed: int,
    students: int,
    schools: int,
    years: int,
    as_json: bool,
) -> None:
    """Write a synthetic school: files and their answer key into DIRECTORY, or RosarioSIS's tables.

    The people and scores in the tables are those of the same school's files.
    """
    from demo.rosariosis import write_rosariosis  # NumPy, which `laurel --help` should not wait for
    from demo.school import draw_demo_school, write_files

    if directory is None and into is None:
        raise click.UsageError("Name a DIRECTORY for files, or a database with --into.")
    try:
        drawn = draw_demo_school(seed=seed, students=students, schools=schools, years=years)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    names = drawn.roster.schools
    school = school or names[0]
    if school not in names:
        raise click.UsageError(f"There is no school {school!r}; there are {', '.join(names)}.")
    written: Json = {}
    if directory is not None:
        answers = write_files(drawn, directory)
        files = {name: asdict(answer) for name, answer in answers.files.items()}
        written |= {"answer_key": str(directory / "answer_key.json"), "files": files}
    if into is not None:
        written["tables"] = write_rosariosis(into, drawn, school, replace=force)
    if as_json:
        click.echo(json.dumps(written, indent=2))
    else:
        _show_written(written, school)


def _show_written(written: Json, school: str) -> None:
    for name, answer in written.get("files", {}).items():
        click.echo(f"{name:<32}{answer['read']:>9} rows, {answer['rejected']} of them planted to be rejected")
    for name, rows in written.get("tables", {}).items():
        click.echo(f"{name:<32}{rows:>9} rows of {school}")
    answers = f" The answers: {written['answer_key']}" if "answer_key" in written else ""
    click.echo(f"Synthetic: nobody in it exists.{answers}")


class _Api:
    """Laurel's API with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120, trust_env=False
        )

    def __enter__(self) -> _Api:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def get(self, path: str, **query: str | int) -> Json:
        """One JSON document.

        Raises:
            LaurelError: the API refuses or does not answer.
        """
        return self._read(lambda: self._client.get(path, params=query))

    def hand_in(self, file: Path, dataset: str) -> Json:
        """Send one file as the body of a request; the same file again is not taken twice."""
        with file.open("rb") as body:
            upload = self._read(
                lambda: self._client.post(
                    "/api/v1/uploads",
                    params={"dataset": dataset, "filename": file.name, "note": "demo school, synthetic"},
                    content=body,
                    headers={"Content-Type": "text/csv"},
                )
            )
        click.echo(f"  {file.name:<32}{file.stat().st_size / 1e6:7.2f} MB  {upload['status']}")
        return upload

    def _read(self, request: Callable[[], httpx.Response]) -> Json:
        try:
            answer = request()
        except httpx.HTTPError as error:
            raise LaurelError(
                f"The API does not answer ({type(error).__name__}). ./start.sh status"
            ) from None
        if answer.is_error:
            problem = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
            detail = problem.get("detail") or answer.reason_phrase
            raise UploadRejected(f"{answer.request.url.path} answers {answer.status_code}: {detail}")
        document: Json = answer.json()
        return document


class _Waiting:
    """Follows uploads from the store to the marts, saying what changes."""

    def __init__(self, api: _Api, upload_ids: list[str], say: Callable[[str], None]) -> None:
        self._api = api
        self._upload_ids = upload_ids
        self._say = say
        self._started = time.monotonic()
        self._last_said = ""

    def wait(self) -> tuple[list[Json], list[Json]]:
        """Wait until every upload has ended and a run has built what was loaded; returns uploads and runs.

        Raises:
            LaurelError: the run failed, or nothing came of it in twenty minutes.
        """
        self._say("Airflow carries them to the marts …")
        while True:
            uploads = [self._api.get(f"/api/v1/uploads/{upload_id}") for upload_id in self._upload_ids]
            runs = self._runs_of(uploads)
            self._say_progress(uploads, runs)
            if self._is_done(uploads, runs):
                return uploads, runs
            if time.monotonic() - self._started > _PATIENCE_SECONDS:
                raise LaurelError(
                    "The files are safe but were not carried to the marts in twenty minutes. "
                    "./start.sh status, then ./start.sh logs airflow-scheduler."
                )
            time.sleep(1)

    def _runs_of(self, uploads: list[Json]) -> list[Json]:
        ids = sorted({run for upload in uploads for run in upload["runs"]})
        return [self._api.get(f"/api/v1/runs/{run}") for run in ids]

    def _is_done(self, uploads: list[Json], runs: list[Json]) -> bool:
        if any(upload["status"] not in _FINAL for upload in uploads):
            return False
        status = {run["id"]: run["status"] for run in runs}
        built = all(
            any(status[run] == "succeeded" for run in upload["runs"])
            for upload in uploads
            if upload["status"] == "loaded"
        )
        if not built and "running" not in status.values() and "failed" in status.values():
            failed = next(run for run in reversed(runs) if run["status"] == "failed")
            raise LaurelError(f"Run {failed['id']} failed: {failed['error']}. ./start.sh logs shows more.")
        return built

    def _say_progress(self, uploads: list[Json], runs: list[Json]) -> None:
        loaded = sum(upload["status"] in _FINAL for upload in uploads)
        stages = ", ".join(list_stages(runs[-1])) if runs else ""
        said = f"{loaded} of {len(uploads)} files read" + (f"; run: {stages} done" if stages else "")
        if said != self._last_said:
            self._say(f"  {time.monotonic() - self._started:5.0f} s  {said}")
            self._last_said = said


def _find_or_make_key(settings: Settings, file: Path) -> str:
    """The demo's own key, kept beside its files (mode 0600), so that a second demo is the same person.

    Raises:
        ConfigurationError: the API refuses the key it just got.
    """
    if file.exists():
        key = file.read_text().strip()
        if _is_accepted(settings, key):
            return key
    with connect(settings.database_url.get_secret_value(), application_name="laurel-demo") as connection:
        _, key = create_key(connection, "demo", "admin", None, "cli:demo")
    file.touch(mode=0o600)
    file.write_text(key + "\n")
    if not _is_accepted(settings, key):
        raise ConfigurationError("The API refuses a fresh key: does it use another database?")
    return key


def _is_accepted(settings: Settings, key: str) -> bool:
    url = f"{local_url(settings, settings.port)}/api/v1/uploads"
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(url, params={"limit": 1}, headers=headers, timeout=30, trust_env=False).is_success
