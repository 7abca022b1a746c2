"""`laurel export-student`: all that is held about a student, for a subject access request."""

from __future__ import annotations

from pathlib import Path

import click

from cli.account import caller
from elt.audit.trail import person_subject, record
from elt.people.principals import Principal
from elt.serving.sessions import reader
from elt.settings import load_settings
from elt.store.base import open_store
from elt.warehouse import connect


@click.command("export-student")
@click.argument("school")
@click.argument("student")
@click.option(
    "--to", "output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The zip to write."
)
@click.option("--reason", default=None, help="Why, for the audit trail, such as the request's number.")
def export_student(school: str, student: str, output: Path, reason: str | None) -> None:
    """Write all that is held about STUDENT of SCHOOL into a zip: JSON, CSV and a README.

    Example: laurel export-student main STU00042 --to STU00042.zip --reason "request 7 of 2026"
    """
    from elt.privacy.subject_access import (
        export_student as gather,  # reads files: too much for showing the help
    )

    settings = load_settings()
    admin = Principal(caller(), "admin", name="Command line")
    store = open_store(settings.resolved_store_url)
    with connect(settings.database_url.get_secret_value(), application_name="laurel-export") as connection:
        with reader(settings, admin) as session:
            export = gather(settings, connection, session, store, school, student)
        detail = {"reason": reason} if reason else {}
        record(
            connection,
            admin.id,
            "students:export",
            person_subject(settings, "student", school, student),
            detail,
        )
    try:
        with output.open("xb") as file:
            output.chmod(0o600)
            export.write(file)
    except OSError as error:
        raise click.FileError(str(output), hint=error.strerror) from error
    rows = sum(map(len, export.tables.values()))
    click.echo(f"{rows} rows of {len(export.tables)} tables in {output}.")
    for name in export.unread:
        click.echo(f"Could not be read, look at it by hand: {name}", err=True)
