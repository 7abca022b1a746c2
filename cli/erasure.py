"""`laurel erase` and `laurel retention`: who asks to be forgotten, and what is kept no longer than needed."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from cli.account import caller, write_down
from elt.log import configure_logging
from elt.people.principals import Principal
from elt.settings import Settings, load_settings
from elt.store.base import open_store
from elt.warehouse import connect

if TYPE_CHECKING:
    from elt.privacy.left_students import LeftStudents


@click.command()
@click.argument("identifier", required=False)
@click.option("--school", help="The person's school (default: the school of rows that name none).")
@click.option("--reason", help="Why, without naming the person. Is kept.")
@click.option(
    "--kind", type=click.Choice(["student", "guardian", "teacher"]), default="student", show_default=True,
    help="Whose identifier it is.",
)  # fmt: skip
@click.option("--name", "names", multiple=True, help="A name to search everything for at the end. Not kept.")
@click.option("--all-pending", is_flag=True, help="Finish all erasures, also after a restore.")
@click.option("--list", "show", is_flag=True, help="List erasures.")
@click.option("--review", is_flag=True, help="List rows without an identifier that may be of erased people.")
@click.option(
    "--confirm", nargs=2, metavar="ERASURE ROW",
    help="Take out a row of --review, given as UPLOAD:VERSION:LINE.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def erase(
    identifier: str | None,
    school: str | None,
    reason: str | None,
    kind: Any,
    names: tuple[str, ...],
    all_pending: bool,
    show: bool,
    review: bool,
    confirm: tuple[str, str] | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase a person from every file, table, mart and export, for good; then search everything.

    IDENTIFIER is the school's number of the person; - reads it from standard input, so that it stays out of
    the shell's history. What was begun and killed is finished by --all-pending. Backups forget with their own
    cycle.

    \b
    Examples:
      laurel erase STU00042 --school main --reason "request of 12 May" --name "Ada Eze"
      laurel erase --all-pending
      laurel erase --review
    """
    settings = load_settings()
    configure_logging(json=settings.log_json, level="WARNING")
    if show or review:
        _show(settings, review, as_json)
    elif confirm:
        _confirm(settings, *confirm)
    elif all_pending:
        _finish(settings, {}, names, as_json)
    elif identifier and reason:
        identifier = sys.stdin.readline().strip() if identifier == "-" else identifier
        person = (kind, school or settings.default_school_id, identifier)
        if not yes:
            click.confirm("Nothing brings this person's records back. Erase them?", abort=True, err=True)
        _finish(settings, {_request(settings, person, reason): person}, names, as_json)
    else:
        raise click.UsageError("Give an identifier and --reason, or one of --all-pending, --list, --review.")


@click.command()
@click.option("--apply", "apply_", is_flag=True, help="Remove what is due.")
@click.option("--dry-run", is_flag=True, help="Only say how much is due (the default).")
@click.option("--left", is_flag=True, help="List the students who left longer ago than they are kept.")
@click.option("--erase-left", is_flag=True, help="Erase these students, as `laurel erase` does.")
@click.option("--school", help="With --left or --erase-left: of one school only.")
@click.option("--yes", is_flag=True, help="With --erase-left: do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def retention(
    apply_: bool, dry_run: bool, left: bool, erase_left: bool, school: str | None, yes: bool, as_json: bool
) -> None:
    """Remove what is kept no longer than needed, by the rules of elt/privacy/retention.yaml.

    Students who have left are erased by --erase-left only, and only where the rule left_students is on.

    \b
    Examples:
      laurel retention --dry-run
      laurel retention --apply
      laurel retention --left --school main
      laurel retention --erase-left --school main
    """
    if sum((apply_, dry_run, left, erase_left)) > 1:
        raise click.UsageError("One of --apply, --dry-run, --left and --erase-left.")
    settings = load_settings()
    configure_logging(json=settings.log_json, level="WARNING")
    if left:
        _show_left(settings, school, as_json)
    elif erase_left:
        _erase_left(settings, school, yes, as_json)
    else:
        _keep_rules(settings, apply_, as_json)


def _keep_rules(settings: Settings, apply_: bool, as_json: bool) -> None:
    from elt.privacy.retention import apply_retention

    store = open_store(settings.resolved_store_url)
    kept = apply_retention(settings, store, dry_run=not apply_)
    if as_json:
        rows = [{**each.rule.model_dump(), "due": each.due, "is_removed": each.is_removed} for each in kept]
        click.echo(json.dumps(rows, indent=2))
        return
    for each in kept:
        days = "for ever" if each.rule.days is None else f"{each.rule.days} days after {each.rule.since}"
        click.echo(
            f"{each.due:>8} {'removed' if each.is_removed else 'due':<8} {each.rule.what} (kept {days})"
        )


def _show_left(settings: Settings, school: str | None, as_json: bool) -> None:
    _, found = _find_left(settings, school)
    write_down(settings, "retention:left", school=school, students=len(found.due))
    if as_json:
        click.echo(
            json.dumps([{**asdict(each), "left_on": str(each.left_on)} for each in found.due], indent=2)
        )
        return
    for each in found.due:
        click.echo(f"{each.school_id}  {each.student_id}  left on {each.left_on}")
    if not found.due:
        click.echo("None.")


def _erase_left(settings: Settings, school: str | None, yes: bool, as_json: bool) -> None:
    from elt.privacy.left_students import request_erasures

    before, found = _find_left(settings, school)
    if not found.due:
        click.echo(f"Nobody is due: no student left before {before}.", err=True)
        return
    if not yes:
        asked = (
            f"{len(found.due)} students left before {before}. Nothing brings their records back. Erase them?"
        )
        click.confirm(asked, abort=True, err=True)
    store = open_store(settings.resolved_store_url)
    with connect(settings.database_url.get_secret_value(), application_name="laurel-erase") as connection:
        people = request_erasures(settings, connection, store, found.due, Principal(caller(), "admin"))
    _finish(settings, people, (), as_json)


def _find_left(settings: Settings, school: str | None) -> tuple[date, LeftStudents]:
    from elt.privacy.left_students import find_left
    from elt.privacy.retention import left_before

    before = left_before()
    with connect(settings.database_url.get_secret_value(), application_name="laurel-retention") as connection:
        found = find_left(connection, before, school)
    if found.contradictory:
        text = f"{found.contradictory} more graduated before they were admitted: correct their dates first."
        click.echo(text, err=True)
    return before, found


def _request(settings: Settings, person: tuple[Any, str, str], reason: str) -> UUID:
    from elt.privacy.erasure_requests import request_erasure

    kind, school_id, identifier = person
    store = open_store(settings.resolved_store_url)
    with connect(settings.database_url.get_secret_value(), application_name="laurel-erase") as connection:
        return request_erasure(
            settings, connection, store, kind=kind, school_id=school_id, identifier=identifier,
            reason=reason, principal=Principal(caller(), "admin"),
        )  # fmt: skip


def _finish(
    settings: Settings, people: dict[UUID, tuple[Any, str, str]], names: tuple[str, ...], as_json: bool
) -> None:
    from elt.privacy.erasure import Sought, erase_pending
    from local.environment import paths

    def say(text: str) -> None:
        if not as_json:
            click.echo(f"{text} …", err=True)

    report = erase_pending(
        settings, open_store(settings.resolved_store_url), rebuild=lambda: rebuild(settings),
        sought=Sought(people, names, [paths().logs]), progress=say,
    )  # fmt: skip
    if as_json:
        click.echo(json.dumps(_plain(asdict(report)), indent=2))
    else:
        for erasure_id, counts in report.counts.items():
            done = ", ".join(f"{count} of {place}" for place, count in sorted(counts.items()))
            click.echo(f"Erasure {erasure_id}: {done}.")
        places = ", ".join(f"{count} {kind}" for kind, count in report.searched.items()) or "nothing to do"
        click.echo(f"Searched: {places}.")
        for finding in report.findings:
            click.echo(f"Still found ({finding.what}): {finding.place}", err=True)
        for problem in report.problems:
            click.echo(problem, err=True)
        click.echo(f"{len(report.finished)} of {len(report.erasures)} erasures are finished.")
        if report.findings and people:
            click.echo("Settle what was found, then give the same command again.", err=True)
    if len(report.finished) < len(report.erasures):
        raise click.exceptions.Exit(1)


def rebuild(settings: Settings) -> None:
    """Bring marts and exports up to date, as a run does."""
    from elt.pipeline import run
    from ml.scoring import score_all

    run(settings, trigger="cli", score=score_all)


def _show(settings: Settings, review: bool, as_json: bool) -> None:
    from elt.privacy.erasure_requests import list_erasures
    from elt.privacy.erasure_review import find_candidates

    with connect(settings.database_url.get_secret_value(), application_name="laurel-erase") as connection:
        if review:
            store = open_store(settings.resolved_store_url)
            rows = [asdict(found) for found in find_candidates(settings, connection, store)]
        else:
            rows = list_erasures(connection)
    if as_json:
        click.echo(json.dumps(_plain(rows), indent=2))
        return
    for row in rows:
        if review:
            click.echo(
                f"{row['dataset']}: laurel erase --confirm {row['erasure_id']} "
                f"{row['upload_id']}:{row['version']}:{row['line']}"
            )
        else:
            state = f"finished {row['finished_at']:%Y-%m-%d}" if row["finished_at"] else "open"
            click.echo(f"{row['erasure_id']}  {row['kind']} of {row['school_id']}: {row['reason']}; {state}")
    if not rows:
        click.echo("None.")


def _confirm(settings: Settings, erasure: str, row: str) -> None:
    from elt.privacy.erasure_review import confirm_candidate

    try:
        upload_id, version, line = row.split(":")
        place = (UUID(erasure), UUID(upload_id), int(version), int(line))
    except ValueError:
        raise click.UsageError("Give the erasure and the row as --review prints them.") from None
    with connect(settings.database_url.get_secret_value(), application_name="laurel-erase") as connection:
        confirm_candidate(connection, *place, caller())
    click.echo(
        "Noted. Run: laurel erase --all-pending; then erase the person as before, if they had been found."
    )


def _plain(value: Any) -> Any:
    """As JSON values, whose names are text."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, UUID | Path) or hasattr(value, "isoformat") else value
