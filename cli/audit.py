"""`laurel audit`: who did what, and whether the trail is whole."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import click
from rich.markup import escape
from rich.table import Column, Table

from cli.account import caller
from cli.tables import print_table
from elt.audit.anchors import read_anchors, write_anchor
from elt.audit.reading import AuditFilter, list_lines, stream_csv, student_subjects
from elt.audit.trail import record, verify
from elt.settings import Settings, load_settings
from elt.store.base import open_store
from elt.warehouse import Connection, connect

_DAY = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@click.group()
def audit() -> None:
    """Read and check the audit trail.

    Example: laurel audit verify
    """


@audit.command("list")
@click.option("--actor", help="Who, such as user:<id> or cli:<account>.")
@click.option("--action", help="What, such as students:read.")
@click.option("--subject", help="To what, such as upload:<id>.")
@click.option("--student", nargs=2, metavar="SCHOOL STUDENT", help="What was done to a student's record.")
@click.option("--since", type=_DAY, help="From this day on (UTC).")
@click.option("--until", type=_DAY, help="Before this day (UTC).")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@click.option("--csv", "as_csv", is_flag=True, help="Print all lines as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(
    actor: str | None,
    action: str | None,
    subject: str | None,
    student: tuple[str, str] | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show lines, newest first.

    Example: laurel audit list --student main STU00042 --since 2026-11-01
    """
    settings = load_settings()
    with _connect(settings) as connection:
        subjects = [subject] if subject else None
        if student:
            subjects = student_subjects(connection, settings, *student)
        wanted = AuditFilter(actor, action, subjects, _utc(since), _utc(until))
        record(connection, caller(), "audit:read")
        if as_csv:
            for piece in stream_csv(connection, wanted):
                sys.stdout.buffer.write(piece)
            return
        lines = list_lines(connection, wanted, limit=limit)
    if as_json:
        click.echo(json.dumps(lines, indent=2, default=str))
        return
    names = ("line", "when", "who", "what", "to what", "more")
    table = Table(*(Column(name, overflow="fold") for name in names), box=None)
    for line in lines:
        cells = (
            str(line["audit_id"]),
            f"{line['occurred_at']:%Y-%m-%d %H:%M:%S}",
            line["actor_name"] or line["actor"],
            line["action"],
            line["subject"],
            ", ".join(f"{name}: {value}" for name, value in line["detail"].items()),
        )
        table.add_row(*map(escape, cells))
    print_table(table)


@audit.command("verify")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify_command(as_json: bool) -> None:
    """Check that no line was changed, removed, moved or cut off the end. Exit status 1 if one was.

    Example: laurel audit verify
    """
    settings = load_settings()
    store = open_store(settings.resolved_store_url)
    with _connect(settings) as connection:
        report = verify(connection, read_anchors(store))
        if report.is_sound:
            write_anchor(connection, store)
    if as_json:
        faults = [{"line": fault.audit_id, "what": fault.what} for fault in report.faults]
        click.echo(json.dumps({"sound": report.is_sound, "lines": report.lines, "faults": faults}))
    elif report.is_sound:
        click.echo(f"Whole: {report.lines} lines, compared with {report.anchors} anchors in the store.")
    for fault in [] if as_json else report.faults:
        click.echo(f"Line {fault.audit_id} {fault.what}.", err=True)
    if not report.is_sound:
        sys.exit(1)


def _connect(settings: Settings) -> Connection:
    return connect(settings.database_url.get_secret_value(), application_name="laurel-audit")


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
