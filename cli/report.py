"""`laurel report`: the report of a student or a class as a PDF, and those that are due by e-mail."""

from __future__ import annotations

from pathlib import Path

import click

from cli.account import caller
from elt.audit.trail import person_subject
from elt.people.principals import Principal
from elt.serving.report import read_class_report, read_student_report, record_report
from elt.serving.report_sheet import Sheet, class_sheet, student_sheet
from elt.serving.sessions import reader
from elt.serving.students import find_school
from elt.settings import Settings, load_settings
from elt.warehouse import connect


@click.command()
@click.argument("student", required=False)
@click.option("--class", "grade_level", help="The class instead of a student, as SS2.")
@click.option(
    "--school",
    help="The school. Without it, of a class, the main one; needed where several have the student's number.",
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="The PDF to write (default: the number or class with .pdf).",
)  # fmt: skip
@click.option("--due", is_flag=True, help="Send the weekly reports that are due by e-mail, once each.")
def report(
    student: str | None, grade_level: str | None, school: str | None, output: Path | None, due: bool
) -> None:
    """Write the report of STUDENT, or of a class, as a PDF of one A4 page.

    \b
    Examples:
      laurel report STU00042 --school main -o STU00042.pdf
      laurel report --class SS2 --school main
      laurel report --due
    """
    if (student is not None) + (grade_level is not None) + due != 1:
        raise click.UsageError("Give a STUDENT, or --class, or --due.")
    settings = load_settings()
    if due:
        _send_due(settings)
        return
    if grade_level is not None and school is None:
        school = settings.default_school_id
    sheet = _student(settings, student, school) if student else _class(settings, grade_level, school)
    path = output or Path(f"{(student or grade_level or '').replace('/', '_')}.pdf")
    _write(path, sheet)
    click.echo(f"{path}")


def _send_due(settings: Settings) -> None:
    from elt.mail import can_mail
    from elt.serving.report_mail import send_due_reports

    if not can_mail(settings):
        click.echo("No mail server is set (LAUREL_SMTP_URL, LAUREL_MAIL_FROM): reports stay due.")
        return
    click.echo(f"{send_due_reports(settings)} reports sent.")


def _student(settings: Settings, student: str, school: str | None) -> Sheet:
    admin = Principal(caller(), "admin", name="Command line")
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-report") as connection, reader(settings, admin) as session:
        school_id = find_school(session, student, school)
        sheet = student_sheet(read_student_report(session, connection, school_id, student))
        subject = person_subject(settings, "student", school_id, student)
        record_report(connection, admin.id, subject, {"school_id": school_id})
    return sheet


def _class(settings: Settings, grade_level: str | None, school: str | None) -> Sheet:
    assert grade_level is not None and school is not None  # noqa: S101, PT018 - the caller has both
    admin = Principal(caller(), "admin", name="Command line")
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-report") as connection, reader(settings, admin) as session:
        sheet = class_sheet(read_class_report(session, connection, school, grade_level))
        record_report(connection, admin.id, "", {"school_id": school, "grade_level": grade_level})
    return sheet


def _write(path: Path, sheet: Sheet) -> None:
    """Only its owner may read it: it names a student."""
    from elt.serving.report_pdf import write_pdf

    try:
        with path.open("wb") as file:
            path.chmod(0o600)
            file.write(write_pdf(sheet))
    except OSError as error:
        raise click.FileError(str(path), hint=error.strerror) from error
