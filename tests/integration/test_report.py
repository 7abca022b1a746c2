"""Reports of students and classes: who sees what, on the page, as a PDF, from the command line, by e-mail."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from pypdf import PdfReader

from cli.report import report
from elt.errors import Conflict, NotFound
from elt.people.principals import Assignment, Role
from elt.people.sessions import start_session
from elt.people.users import change_user, create_user
from elt.serving.report import TERMS_SHOWN
from elt.serving.report_mail import send_due_reports
from elt.serving.report_pdf import write_pdf
from elt.serving.report_sheet import Bar, Points, Sheet, Table, Tile, class_sheet
from elt.serving.subscriptions import list_subscriptions, queue_due, subscribe, unsubscribe
from elt.settings import Settings
from elt.warehouse import Connection
from tests.mail_server import MailServer, mail_server

pytestmark = pytest.mark.usefixtures("small_school")
STUDENT, CLASS = "/report?school=main&id=STU001", "/report?school=main&grade_level=JSS1"
AS_PDF = ("/report.pdf?school=main&id=STU001", "/report.pdf?school=main&grade_level=JSS1")


@pytest.fixture
def ada(connection: Connection) -> UUID:
    """The teacher of JSS1."""
    taught = [Assignment("main", "JSS1")]
    return create_user(connection, "ada@school.example", "Ada", "teacher", "test", assignments=taught)


@pytest.fixture
def teacher(api: Flask, connection: Connection, ada: UUID) -> FlaskClient:
    client = api.test_client()
    client.set_cookie("laurel_session", start_session(connection, ada))
    return client


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def lines(connection: Connection, action: str) -> list[dict[str, Any]]:
    found = connection.execute("select * from ops.audit where action = %s order by audit_id", (action,))
    return found.fetchall()


def test_a_student_report_says_what_the_marts_say_and_names_no_other(teacher: FlaskClient) -> None:
    page = teacher.get(STUDENT).text
    pdf = text_of(teacher.get(AS_PDF[0]).data)
    for found in (page, pdf):
        assert "Ngozi Okafor" in found
        assert "65.0" in found  # the second term: 20 and 45
        assert "Second Term 2024/2025" in found
        assert "+20.0 points a term over the last terms; +20.0 since the term before" in " ".join(
            found.split()
        )
        assert "Average of 45" in found
        assert not any(other in found for other in ("Bola", "Chi", "Dayo", "STU002", "STU003"))


def test_a_class_report_names_who_needs_help_of_this_class_only(
    teacher: FlaskClient, connection: Connection
) -> None:
    connection.execute(
        """
        insert into ml.predictions (target, method, school_id, student_id, as_of_date, score, is_at_risk,
                                    reasons, recommendations, data_version)
        select target, method, school_id, student_id, as_of_date, 9, true, reasons, recommendations, 'later'
        from ml.predictions
        where student_id in ('STU001', 'STU002')
            and as_of_date = (select max(as_of_date) from ml.predictions)
        """
    )
    for found in (teacher.get(CLASS).text, text_of(teacher.get(AS_PDF[1]).data)):
        assert "Ngozi Okafor (STU001)" in found
        assert "Talk to the student" in found
        assert "English Language" in found
        assert "Bola" not in found


def test_each_look_leaves_its_lines(teacher: FlaskClient, connection: Connection, ada: UUID) -> None:
    for path in (STUDENT, CLASS, *AS_PDF):
        assert teacher.get(path).status_code == 200
    seen = lines(connection, "reports:read")
    assert [line["actor"] for line in seen] == [f"user:{ada}"] * 4
    assert [line["subject"] != "" for line in seen] == [True, False, True, False]
    assert seen[1]["detail"].items() >= {"school_id": "main", "grade_level": "JSS1"}.items()
    assert len(lines(connection, "interventions:read")) == 4
    assert "Ngozi" not in str(seen)


def test_nobody_sees_a_report_of_somebody_else_s(
    teacher: FlaskClient,
    client_of: Callable[..., FlaskClient],
    connection: Connection,
) -> None:
    hidden = ["school=main&id=STU002", "school=north&id=STU001", "school=main&grade_level=JSS2",
              "school=north&grade_level=JSS1", "school=main&id=none"]  # fmt: skip
    for query in hidden:
        assert teacher.get(f"/report?{query}").status_code == 404
        assert teacher.get(f"/report.pdf?{query}").status_code == 404
    assert {line["detail"]["denied"] for line in lines(connection, "reports:read")} == {404}
    assert client_of("researcher").get(STUDENT).status_code == 403
    assert client_of("analyst").get(CLASS).status_code == 403
    assert client_of("admin", "north").get(CLASS).status_code == 404


@pytest.mark.parametrize(
    "query", ["", "?school=main", "?school=main&id=STU001&grade_level=JSS1", "?id=STU001", "?school=%00&id=x"]
)
def test_an_address_that_names_no_one_thing_is_refused(admin: FlaskClient, query: str) -> None:
    assert admin.get(f"/report{query}").status_code == 422
    assert admin.get(f"/report.pdf{query}").status_code == 422


def test_names_print_as_they_are_and_no_text_is_markup() -> None:
    name = "Ṣọlá Adébáyọ̀ Ẹgbẹ́ é #strong[x] *b* _i_ $1$ <script> \\ @x"
    table = Table(name, [name, ""], [[name, Bar("1", 250.0, -3.0)]], wide=(0,), note=name)
    pdf = write_pdf(Sheet(name, name, [Tile(name, name, name)], [table], [Points(name, [name])], name))
    text = " ".join(text_of(pdf).split())
    for part in ("Ṣọlá", "Ẹgbẹ́", "é", "#strong[x]", "*b*", "_i_", "$1$", "<script>", "\\", "@x"):
        assert part in text, part
    assert len(PdfReader(io.BytesIO(pdf)).pages) == 1


def test_a_large_class_with_much_to_say_fits_on_one_page() -> None:
    student = {
        "full_name": "Oluwadamilola Adebayo-Ogunleye", "student_id": "STU00042", "method": "model",
        "probability": 0.8, "is_at_risk": True,
        "reasons": [{"text": "Attendance fell from 90 % to 78 % within a term", "effect": 1}] * 3,
        "recommendations": [{"text": "Ask the student and the guardian what keeps the student away"}],
        "done": SimpleNamespace(action="Spoke with the guardian about each day", done_on=date(2026, 9, 30)),
    }  # fmt: skip
    figures = {"student_count": 40, "average_score": 50.0, "attendance_pct": 90.0, "pass_rate": 0.8}
    term = {**figures, "term": "Second Term", "school_year": "2025/2026", "failing_student_count": 3}
    found = {
        "school_id": "main", "grade_level": "SS2", "latest": term, "terms": [term] * TERMS_SHOWN,
        "subjects": [{**figures, "subject": f"Subject number {number}"} for number in range(22)],
        "worklist": [student] * 40, "may_see_done": True,
    }  # fmt: skip
    (page,) = PdfReader(io.BytesIO(write_pdf(class_sheet(found)))).pages
    text = page.extract_text()
    shown = text.count("STU00042")
    assert shown > 0
    assert f"{40 - shown} more are on the page Who needs help." in text
    assert text.count("Second Term 2025/2026") == TERMS_SHOWN + 1


def test_the_command_writes_a_pdf_that_only_its_owner_reads(
    settings: Settings, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.report.load_settings", lambda: settings)
    monkeypatch.chdir(tmp_path)
    calls = [
        (["STU001", "--school", "main"], "STU001.pdf", "Ngozi Okafor"),
        (["STU/4"], "STU_4.pdf", "Dayo Ojo"),
        (["--class", "JSS1", "-o", "class.pdf"], "class.pdf", "Class JSS1"),
    ]
    for arguments, name, said in calls:
        done = CliRunner().invoke(report, arguments)
        assert (done.exit_code, done.output) == (0, f"{name}\n")
        assert said in text_of((tmp_path / name).read_bytes())
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    for action in ("reports:read", "interventions:read"):  # it says what was done, too
        assert [line["actor"][:4] for line in lines(connection, action)] == ["cli:"] * 3
    for wrong in ([], ["STU001", "--class", "JSS1"], ["--due", "--class", "JSS1"]):
        assert CliRunner().invoke(report, wrong).exit_code == 2
    refused = CliRunner().invoke(report, ["--class", "none"])
    assert isinstance(refused.exception, NotFound)
    assert str(refused.exception) == "There is no such class in school main."
    refused = CliRunner().invoke(report, ["STU001"])
    assert isinstance(refused.exception, Conflict)
    assert str(refused.exception).endswith("(main, north). Name one as `school`.")


def test_a_subscription_is_sent_weekly_once_as_a_link(
    settings: Settings, connection: Connection, ada: UUID
) -> None:
    subscribe(connection, ada, "main", "JSS1", date(2020, 1, 1))
    subscribe(connection, ada, "main", "JSS1", date(2030, 1, 1))  # keeps the first day
    assert send_due_reports(settings) == 0  # no mail server: it stays due
    with mail_server(settings) as (here, server):
        assert [send_due_reports(here) for _ in range(2)] == [1, 0]
        (held,) = list_subscriptions(connection, ada)
        assert (held.due_on - datetime.now(UTC).date()).days in (6, 7)
        assert queue_due(connection, held.due_on) == 1
        assert send_due_reports(here) == 1
    assert [mail["To"] for mail in server.mails] == ["ada@school.example"] * 2
    assert server.mails[0]["Message-ID"] != server.mails[1]["Message-ID"]
    text = server.texts()[0]
    assert "https://laurel.school.example/report?school=main&grade_level=JSS1\n" in text
    assert "https://laurel.school.example/account\n" in text
    assert "Ngozi" not in str(server.mails[0])
    assert list(server.mails[0].iter_attachments()) == []
    assert lines(connection, "reports:read") == []


def test_the_pdf_is_attached_only_where_the_school_chose_that(
    settings: Settings, connection: Connection, ada: UUID
) -> None:
    subscribe(connection, ada, "main", "JSS1", date(2020, 1, 1))
    with mail_server(settings.model_copy(update={"mail_reports": "attach"})) as (here, server):
        assert send_due_reports(here) == 1
    (attached,) = server.mails[0].iter_attachments()
    assert attached.get_filename() == "main JSS1.pdf"
    assert "Class JSS1" in text_of(attached.get_content())
    for action in ("reports:read", "interventions:read"):
        (line,) = lines(connection, action)
        assert (line["actor"], line["detail"]["by"]) == (f"user:{ada}", "mail")


def test_who_may_not_see_the_class_any_more_gets_nothing(
    settings: Settings, connection: Connection, ada: UUID
) -> None:
    def sent(server: MailServer, here: Settings) -> int:
        connection.execute("update ops.report_subscriptions set due_on = due_on - 7")
        send_due_reports(here)
        return len(server.mails)

    subscribe(connection, ada, "main", "JSS1", date(2020, 1, 1))
    with mail_server(settings) as (here, server):
        change_user(connection, ada, "test", disabled=True)
        assert sent(server, here) == 0
        change_user(connection, ada, "test", disabled=False, assignments=[Assignment("main", "JSS2")])
        assert sent(server, here) == 0
        assert list_subscriptions(connection, ada) == []
        subscribe(connection, ada, "main", "JSS2", date(2020, 1, 1))
        queue_due(connection, date(2020, 1, 1))
        unsubscribe(connection, ada, list_subscriptions(connection, ada)[0].subscription_id)
        assert sent(server, here) == 0


@pytest.mark.parametrize("role", ["researcher", "analyst"])
def test_who_may_not_read_reports_any_more_sees_that_and_gets_nothing(
    api: Flask, settings: Settings, connection: Connection, ada: UUID, role: Role
) -> None:
    subscribe(connection, ada, "main", "JSS1", date(2020, 1, 1))
    change_user(connection, ada, "test", role=role)
    client = api.test_client()
    client.set_cookie("laurel_session", start_session(connection, ada))
    page = client.get("/account").text
    assert "JSS1" in page
    assert "may not read reports any more" in page
    assert 'href="/report?' not in page
    with mail_server(settings) as (here, server):
        assert send_due_reports(here) == 0
    assert server.mails == []
    assert list_subscriptions(connection, ada) == []
    assert "JSS1" not in client.get("/account").text


def test_a_report_that_is_due_while_the_marts_are_built_waits(
    settings: Settings, connection: Connection, ada: UUID
) -> None:
    subscribe(connection, ada, "main", "JSS1", date(2020, 1, 1))
    connection.execute("alter view served.mart_class_summary rename to mart_class_summary_away")
    with mail_server(settings) as (here, server):
        assert send_due_reports(here) == 0
        connection.execute("alter view served.mart_class_summary_away rename to mart_class_summary")
        connection.execute("update ops.mails set due_at = now()")
        assert send_due_reports(here) == 1
    assert len(server.mails) == 1


def test_an_account_that_is_removed_takes_its_mails_along(connection: Connection, ada: UUID) -> None:
    subscribe(connection, ada, "main", "JSS1", date(2020, 1, 1))
    queue_due(connection, date(2020, 1, 1))
    connection.execute("delete from ops.users where user_id = %s", (ada,))
    for table in ("mails", "report_subscriptions"):
        assert connection.execute(f"select count(*) as n from ops.{table}").fetchone() == {"n": 0}


def test_a_person_subscribes_and_ends_it_on_the_pages(
    teacher: FlaskClient, connection: Connection, ada: UUID, admin: FlaskClient
) -> None:
    headers = {
        "X-CSRF-Token": teacher.get("/api/v1/session").json["csrf_token"],
        "Origin": "http://localhost", "Sec-Fetch-Site": "same-origin",
    }  # fmt: skip
    weekly = "/report/weekly?school=main&grade_level="
    assert teacher.post(f"{weekly}JSS1").status_code == 403  # no token
    assert teacher.post(f"{weekly}JSS2", headers=headers).status_code == 404
    assert teacher.post(f"{weekly}JSS1", headers=headers).status_code == 303
    assert "JSS1" in teacher.get("/account").text
    (held,) = list_subscriptions(connection, ada)
    with pytest.raises(NotFound):
        unsubscribe(connection, uuid4(), held.subscription_id)
    end = f"/account/reports/{held.subscription_id}/end"
    assert [teacher.post(end, headers=headers).status_code for _ in range(2)] == [303, 404]
    assert list_subscriptions(connection, ada) == []
    assert teacher.post("/account/mails", headers=headers, data={"loaded": "on"}).status_code == 303
    chosen = connection.execute(
        "select mails_loaded, mails_troubled from ops.users where user_id = %s", (ada,)
    )
    assert chosen.fetchone() == {"mails_loaded": True, "mails_troubled": False}
    assert admin.get("/account").status_code == 409  # a key is no person
