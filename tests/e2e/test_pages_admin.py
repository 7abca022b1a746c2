"""The pages for administrators in a real browser: what each is for, from sign-in to result."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import Any

import httpx
import pytest
from babel.dates import format_date
from playwright.sync_api import Page, expect

from elt.runs import finish_run, start_run
from elt.warehouse import connect
from tests.e2e.demo_pages import School, SignIn, follow, unreadable

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PLANTED = "<script>document.title='planted'</script>"
PATHS = (
    "admin", "admin/runs", "admin/quality?weeks=4", "admin/people", "admin/people/new", "admin/keys",
    "admin/keys/new", "admin/audit", "admin/audit?action=none", "admin/erasures", "models", "models/at_risk",
)  # fmt: skip


def execute(school: School, statement: str) -> None:
    with connect(school.server.settings.database_url.get_secret_value()) as connection:
        connection.execute(statement)


def chart_rows(page: Page, chart: str) -> dict[str, list[float]]:
    """The figures of a chart's table, by the labels of its rows."""
    rows: list[list[Any]] = page.locator(f"#{chart} tbody tr").evaluate_all(
        "rows => rows.map(row => [row.querySelector('th').textContent.trim(), "
        "...[...row.querySelectorAll('td')].map(cell => Number(cell.dataset.value))])"
    )
    return {label: figures for label, *figures in rows}


def tile(page: Page, label: str) -> int:
    text = (
        page.locator(".tiles > div", has=page.get_by_text(label, exact=True)).locator("dd").first.inner_text()
    )
    return int(text.replace(",", ""))


def test_an_administrator_sees_what_waits_and_where_to_settle_it(sign_in: SignIn, school: School) -> None:
    page = sign_in("admin")
    follow(page.get_by_role("navigation").get_by_role("link", name="Administration"))
    expect(page.get_by_text("Nothing needs you.")).to_be_visible()
    cards = page.locator(".card h3").all_inner_texts()
    assert {"Runs", "Data quality", "People", "Keys", "Audit trail", "Erasures"} <= set(cards)
    held = "status = 'held', reason = 'It would remove many rows.'"
    last = "(select upload_id from ops.uploads order by upload_id desc limit 1)"
    with connect(school.server.settings.database_url.get_secret_value()) as connection:
        run_id = start_run(connection, trigger="cli")
        finish_run(connection, run_id, status="failed", error="transform: a model could not be built")
    execute(school, f"update ops.upload_versions set {held} where upload_id = {last}")
    page.reload()
    shown = page.locator(".waiting a").all_inner_texts()
    assert shown == ["1 file is held until somebody else releases it", "The last run has failed"]
    page.get_by_role("link", name="The last run has failed").click()
    expect(page.locator("tbody tr").first).to_contain_text("transform: a model could not be built")
    page.goto(f"{school.server.url}/admin")
    page.get_by_role("link", name="1 file is held").click()
    expect(page.get_by_role("main").locator("tbody tr")).to_have_count(1)
    page = sign_in("analyst")
    page.get_by_role("navigation").get_by_role("link", name="Administration").click()
    expect(page.locator(".waiting a")).to_have_text(["The last run has failed"])
    expect(page.locator(".card h3")).to_have_text(["Runs"])
    execute(
        school, f"update ops.upload_versions set status = 'loaded', reason = null where upload_id = {last}"
    )
    execute(school, f"delete from ops.runs where run_id = '{run_id}'")


def test_a_run_tells_what_it_loaded(sign_in: SignIn, school: School) -> None:
    page = sign_in("admin")
    page.goto(f"{school.server.url}/admin/runs")
    datasets = school.rows(
        "select dataset from marts.mart_freshness where last_upload_at is not null order by 1"
    )
    fresh = page.locator("#datasets + .scroll tbody th").all_inner_texts()
    assert fresh == [row["dataset"].replace("_", " ") for row in datasets]
    assert page.locator("#datasets + .scroll .badge").all_inner_texts() == ["Current"] * len(fresh)
    follow(page.locator("main tbody th a").first)
    loaded = school.rows("select sum(rows_loaded)::bigint as loaded from ops.upload_versions")
    files = page.locator("main .scroll").last.locator("tbody tr")
    cells = [int(text.replace(",", "")) for text in files.locator("td:nth-child(4)").all_inner_texts()]
    assert sum(cells) == loaded[0]["loaded"]
    assert files.locator("th").all_inner_texts() == sorted(school.key.files)
    page.get_by_role("link", name="teachers.csv").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("teachers.csv")


def test_the_figures_of_data_quality_are_those_of_the_answer_key(sign_in: SignIn, school: School) -> None:
    answers = school.key.files.values()
    page = sign_in("admin")
    page.goto(f"{school.server.url}/admin/quality")
    assert tile(page, "Rows read") == sum(each.read for each in answers)
    assert tile(page, "Rejected") == tile(page, "Still open") == sum(each.rejected for each in answers)
    assert tile(page, "Warnings") == sum(each.warnings for each in answers)
    by_dataset = chart_rows(page, "datasets")
    assert by_dataset == {each.dataset.replace("_", " "): [each.rejected, each.warnings] for each in answers}
    (received,) = school.rows(
        "select date_trunc('week', max(received_at at time zone 'UTC')) as week from ops.upload_versions"
    )
    weeks = chart_rows(page, "weeks")
    assert len(weeks) == 12
    assert weeks.pop(format_date(received["week"], "d MMM y", "en")) == [
        sum(each.rejected for each in answers), sum(each.warnings for each in answers)
    ]  # fmt: skip
    assert {tuple(week) for week in weeks.values()} == {(0, 0)}
    planted = Counter(each.rule.replace("_", " ") for each in school.key.defects if each.severity == "error")
    assert {rule: figures[0] for rule, figures in chart_rows(page, "rules").items() if figures[0]} == planted
    page.get_by_label("Dataset", exact=True).select_option("students")
    follow(page.get_by_role("button", name="Show"))
    assert tile(page, "Rejected") == school.key.files["students.csv"].rejected
    address = page.locator("#rules").get_by_role("link", name="CSV").get_attribute("href")
    lines = list(csv.reader(io.StringIO(page.request.get(f"{school.server.url}{address}").text())))
    assert {line[0]: [float(cell) for cell in line[1:]] for line in lines[1:]} == chart_rows(page, "rules")
    expect(page.locator("#open + .scroll tbody tr")).to_have_count(1)


def test_somebody_is_invited_changed_suspended_and_let_in_again(
    sign_in: SignIn, school: School, faults: list[str]
) -> None:
    page = sign_in("admin")
    page.goto(f"{school.server.url}/admin/people")
    follow(page.get_by_role("link", name="Invite somebody"))
    page.get_by_label("Name").fill(PLANTED)
    page.get_by_label("E-mail").fill("teacher@school.example")
    page.get_by_label("Role").select_option("teacher")
    page.get_by_label("School of row 1").fill(school.key.schools[0])
    page.get_by_label("Class of row 1").fill("JSS1")
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("alert")).to_have_text("There is an account with this e-mail already.")
    expect(page.get_by_label("Class of row 1")).to_have_value("JSS1")
    faults.clear()  # the browser tells of the 409 itself
    page.get_by_label("E-mail").fill("new@school.example")
    page.get_by_role("button", name="Make the account").click()
    password = page.locator(".secret").inner_text()
    assert page.title() == f"The account of {PLANTED} · Laurel"
    assert enter(school, "new@school.example", password) == 403  # chooses another one first
    assert enter(school, "new@school.example", password, new_password="seven green apples fall") == 303

    page.get_by_role("link", name="All people").click()
    page.get_by_label("Name or e-mail").fill("NEW@school")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text(f"{school.key.schools[0]} JSS1")
    page.locator("tbody th a").click()
    expect(page.get_by_text("on 1 device")).to_be_visible()
    page.get_by_label("Subject of row 1").fill("Mathematics")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    expect(page.get_by_text("nowhere")).to_be_visible()  # what changes what they may do signs them out
    (assigned,) = school.rows(
        "select grade_level, subject from ops.assignments join ops.users using (user_id) "
        "where email = 'new@school.example'"
    )
    assert assigned == {"grade_level": "JSS1", "subject": "Mathematics"}
    press(page, "Suspend")
    expect(page.locator(".badge")).to_have_text("Suspended")
    assert enter(school, "new@school.example", "seven green apples fall") == 401
    page.get_by_role("button", name="Let them in again").click()
    expect(page.locator(".badge")).to_have_text("Active")
    assert enter(school, "new@school.example", "seven green apples fall") == 303
    press(page, "Sign out everywhere")
    expect(page.get_by_role("status")).to_have_text("Signed out everywhere.")
    press(page, "Make a new password")
    assert page.locator(".secret").inner_text() != password
    assert enter(school, "new@school.example", "seven green apples fall") == 401


def test_the_last_administrator_cannot_shut_themselves_out(sign_in: SignIn, school: School) -> None:
    (me,) = school.rows("select user_id from ops.users where role = 'admin'")
    page = sign_in("admin")
    page.goto(f"{school.server.url}/admin/people/{me['user_id']}")
    expect(page.get_by_text("This is you.")).to_be_visible()
    token = page.locator("input[name=csrf_token]").first.input_value()
    sent = page.request.post(
        f"{page.url}/suspend", form={"csrf_token": token}, headers={"Origin": school.server.url}
    )
    assert sent.status == 409
    assert "This is the last active admin for all schools." in sent.text()


def test_a_key_is_shown_once_does_what_it_is_narrowed_to_and_ends(
    sign_in: SignIn, school: School, faults: list[str]
) -> None:
    page = sign_in("admin")
    page.goto(f"{school.server.url}/admin/keys")
    page.get_by_role("link", name="Make a key").click()
    page.get_by_label("Who or what uses it").fill(PLANTED)
    page.get_by_label("Role").select_option("analyst")
    page.get_by_text("Narrow it to some actions").click()
    page.get_by_label("runs:read").check()
    page.get_by_role("button", name="Make the key").click()
    key = page.locator(".secret").inner_text()

    def ask(path: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.get(f"{school.server.url}/api/v1/{path}", headers=headers, timeout=60).status_code

    assert (ask("runs"), ask("models")) == (200, 403)
    follow(page.get_by_role("link", name="All keys"))
    line = page.locator("tbody tr").first
    expect(line).to_contain_text(PLANTED)
    expect(line).to_contain_text("runs:read")
    assert key not in page.content()
    line.get_by_text("Revoke", exact=True).click()
    line.get_by_role("button", name="Revoke").click()
    expect(page.locator("tbody tr").first.locator(".badge")).to_have_text("Revoked")
    assert ask("runs") == 401
    page.goto(f"{school.server.url}/admin/keys/new")
    page.get_by_label("Who or what uses it").fill("too much")
    page.get_by_label("Role").select_option("teacher")
    page.get_by_text("Narrow it to some actions").click()
    page.get_by_label("audit:read").check()
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("alert")).to_contain_text("The role teacher may not do this anyway: audit:read.")
    faults.clear()  # the browser tells of the 422 itself


def test_the_trail_is_searched_taken_away_and_checked(
    sign_in: SignIn, school: School, faults: list[str]
) -> None:
    page = sign_in("admin")
    page.goto(f"{school.server.url}/admin/audit?action=users:create")
    made = school.rows("select audit_id from ops.audit where action = 'users:create' order by audit_id desc")
    lines = page.locator("tbody th .hint").all_inner_texts()
    assert lines == [f"Line {row['audit_id']}" for row in made]
    address = page.get_by_role("link", name="All of these as CSV").get_attribute("href")
    told = list(csv.DictReader(io.StringIO(page.request.get(f"{school.server.url}{address}").text())))
    assert [int(line["audit_id"]) for line in told] == [row["audit_id"] for row in made]
    assert {line["action"] for line in told} == {"users:create"}
    page.goto(f"{school.server.url}/admin/audit?since=2000-01-01&until=2000-12-31")
    expect(page.get_by_text("No line fits.")).to_be_visible()

    def check() -> None:
        page.goto(f"{school.server.url}/admin/audit")
        page.get_by_role("button", name="Check that no line was changed").click()

    check()
    expect(page.get_by_role("status")).to_contain_text("The trail is whole.")
    line = made[0]["audit_id"]
    changed = f"update ops.audit set actor = 'user:other' where audit_id = {line}"
    trigger = "alter table ops.audit {} trigger append_only"  # which the owner of the table can get round
    execute(school, f"{trigger.format('disable')}; {changed}; {trigger.format('enable')}")
    check()
    expect(page.get_by_role("alert")).to_contain_text(
        f"Line {line} does not match its own hash: it was changed."
    )


def test_a_model_page_shows_what_was_found_and_why_a_model_is_not_shown(
    sign_in: SignIn, school: School
) -> None:
    (model,) = school.rows(
        "select metrics -> 'held_out' as held_out, gate from ml.model_versions where target = 'at_risk'"
    )
    refused = school.rows("select target, gate from ml.model_versions where not is_published")
    page = sign_in("teacher")
    page.goto(f"{school.server.url}/models")
    for each in refused:
        line = page.locator("tbody tr").filter(has_text=each["target"].replace("_", " "))
        expect(line).to_contain_text("The plain rule")
        expect(line).to_contain_text(each["gate"]["reasons"][0])
    page.get_by_role("link", name="at risk").click()
    expect(page.locator("#calibration canvas")).to_be_visible()
    curve = [
        [round(100 * part["claimed"], 1), round(100 * part["came"], 1)]
        for part in model["held_out"]["calibration_curve"]
    ]
    assert list(chart_rows(page, "calibration").values()) == curve
    checks = (
        page.locator("table", has=page.get_by_text("What was found")).locator("tbody td").all_inner_texts()
    )
    assert checks == [f"{condition['text']}." for condition in model["gate"]["conditions"]]
    with page.expect_navigation():
        page.get_by_role("link", name="The whole model card").click()
    expect(page.get_by_text("Model card of at_risk, version 1")).to_be_visible()


def test_a_person_is_erased_only_by_who_is_sure(sign_in: SignIn, school: School, faults: list[str]) -> None:
    (student,) = school.rows("select school_id, student_id from raw.students order by student_id limit 1")
    page = sign_in("admin")
    page.goto(f"{school.server.url}/admin/erasures")
    expect(page.get_by_text("Nobody has asked to be forgotten.")).to_be_visible()
    page.get_by_text("Erase a person").click()
    page.get_by_label("School", exact=True).fill(student["school_id"])
    page.get_by_label("The school's number of the person").fill(student["student_id"])
    page.get_by_label("Why, without naming the person").fill(f"asked by {student['student_id']}")
    page.get_by_role("button", name="Erase for good").click()
    expect(
        page.get_by_text("Nobody has asked to be forgotten.")
    ).to_be_visible()  # not sure: nothing was sent
    page.get_by_label("I am sure.").check()
    page.get_by_role("button", name="Erase for good").click()
    expect(page.get_by_role("alert")).to_have_text("The reason must not name the person.")
    faults.clear()  # the browser tells of the 422 itself
    page.get_by_label("Why, without naming the person").fill("request of 12 May")
    page.get_by_label("I am sure.").check()
    page.get_by_role("button", name="Erase for good").click()
    line = page.locator("tbody tr")
    expect(line).to_contain_text("request of 12 May")
    expect(line.locator(".badge")).to_have_text("Under way")
    assert student["student_id"] not in page.content()
    rows = school.rows(
        f"""
        select from raw.students
        where school_id = '{student["school_id"]}' and student_id = '{student["student_id"]}'
        """
    )
    assert rows == []


def test_every_page_can_be_read_by_everybody(sign_in: SignIn, school: School) -> None:
    """By axe's rules, in both themes, on a screen and on a telephone."""
    (run,) = school.rows("select run_id from ops.runs order by run_id limit 1")
    (person,) = school.rows("select user_id from ops.users where role = 'teacher' order by user_id limit 1")
    page = sign_in("admin")
    found = {}
    for path in (*PATHS, f"admin/runs/{run['run_id']}", f"admin/people/{person['user_id']}"):
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(f"{school.server.url}/{path}")
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                if faulty := unreadable(page):
                    found[f"{path} {theme} {width}"] = faulty
    assert found == {}


def press(page: Page, title: str) -> None:
    """Do what must be confirmed: open it, read what it says, press the button."""
    page.locator("summary", has_text=title).click()
    page.get_by_role("button", name=title).click()


def enter(school: School, email: str, password: str, **more: str) -> int:
    """How a sign-in from another browser is answered."""
    path = "password" if more else "sign-in"
    sent = {"email": email, "password": password, **more}
    headers = {"Origin": school.server.url}
    return httpx.post(f"{school.server.url}/{path}", data=sent, headers=headers, timeout=60).status_code
