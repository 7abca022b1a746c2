"""The pages in a real browser, on a demo school: what each role does on them, and what they show."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from elt.people.keys import create_key
from elt.warehouse import connect
from tests.e2e.demo_pages import LOOKS, School, SignIn, follow, unreadable
from tests.e2e.test_demo_in_process import hand_in

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PLANTED = "<script>document.title='planted'</script>"


@pytest.mark.parametrize(
    ("role", "titles"),
    [
        ("researcher", ["Students", "Hand in", "Files", "Data", "Live"]),
        ("teacher", ["Summary", "Who needs help", "Students", "Data", "Live"]),
        ("analyst", ["Data", "Resources", "Insights", "Live", "Administration"]),
        ("admin", ["Summary", "Who needs help", "Students", "Hand in", "Files", "Data", "Resources",
                   "Insights", "Live", "Administration"]),
    ],
)  # fmt: skip
def test_each_role_finds_its_pages_at_the_start(sign_in: SignIn, role: str, titles: list[str]) -> None:
    page = sign_in(role)
    assert page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts() == titles
    assert page.locator(".card h2").all_inner_texts() == [*titles, "For programs"]


def test_a_teacher_sees_who_of_their_class_needs_help_and_writes_down_what_was_done(
    sign_in: SignIn, school: School
) -> None:
    wanted = school.rows(
        """
        select students.full_name from marts.mart_student_risk as risk
        join marts.mart_students as students using (school_id, student_id)
        where is_at_risk and risk.grade_level = 'SS2'
          and risk.school_id = (select min(school_id) from marts.mart_student_risk)
        order by -score, student_id
        """
    )
    page = sign_in("teacher")
    page.get_by_role("navigation").get_by_role("link", name="Who needs help").click()
    expect(page.locator("#worklist tbody th a")).to_have_text([row["full_name"] for row in wanted])
    first = page.locator("#worklist tbody tr").first
    first.get_by_text("Write down").click()
    first.get_by_label("What was done").fill("Spoke with the guardian")
    first.get_by_role("button", name="Write it down").click()
    expect(page.locator("#worklist tbody tr").first).to_contain_text("Spoke with the guardian")
    page.locator("#worklist tbody th a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(wanted[0]["full_name"])
    expect(page.locator("table", has=page.get_by_text("Spoke with the guardian"))).to_be_visible()


def test_the_worklist_works_with_the_keyboard(sign_in: SignIn) -> None:
    page = sign_in("admin")
    page.goto(f"{page.url}worklist")
    links = page.locator("#worklist tbody th a")
    names = links.all_inner_texts()
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement === document.body")  # keys act in the list only
    links.first.focus()
    page.keyboard.press("j")
    expect(links.nth(1)).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("n")
    expect(page.locator("#worklist tbody tr").first.get_by_label("What was done")).to_be_focused()
    links.nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(names[1])


def test_a_chart_is_its_table_and_its_csv(sign_in: SignIn, school: School) -> None:
    (student,) = school.rows(
        """
        select school_id, student_id from marts.mart_student_terms
        group by 1, 2 order by count(*) desc, 1, 2 limit 1
        """
    )
    terms = school.rows(
        f"""
        select average_score, highest_score, lowest_score from marts.mart_student_terms
        where school_id = '{student["school_id"]}' and student_id = '{student["student_id"]}'
        order by school_year, term_order
        """
    )
    page = sign_in("admin")
    page.goto(f"{page.url}student?school={student['school_id']}&id={student['student_id']}")
    chart = page.locator("#scores")
    expect(chart.locator("canvas")).to_be_visible()
    chart.locator("canvas").hover()  # shows the figures of the place; what the browser says is noted
    shown = chart.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => Number(cell.dataset.value)))"
    )
    assert shown == [[float(value) for value in row.values()] for row in terms]
    address = chart.get_by_role("link", name="CSV").get_attribute("href")
    answer = page.request.get(f"{school.server.url}{address}")
    header, *lines = csv.reader(io.StringIO(answer.text()))
    assert header == ["Term", "Average", "Highest", "Lowest"]
    assert [[float(cell) for cell in line[1:]] for line in lines] == shown


def test_a_researcher_hands_in_a_file_and_corrects_what_was_rejected(
    sign_in: SignIn, school: School, tmp_path: Path
) -> None:
    lines = [f"NEW{n},{PLANTED},Obi,Female,JSS1,2014-01-01" for n in range(1, 31)]
    lines[1] = "NEW2,Bola,Ade,Female,JSS1,yesterday"
    file = tmp_path / "new students.csv"
    header = "Student ID,First Name,Last Name,Gender,Grade Level,Date of Birth"
    file.write_text("\n".join([header, *lines, ""]), "utf-8")
    page = sign_in("researcher")
    page.goto(f"{page.url}hand-in")
    page.get_by_label("What do the files hold?").select_option("students")
    page.get_by_label("Files", exact=True).set_input_files(file)
    card = page.locator("#chosen article")
    expect(card.get_by_role("status")).to_have_text(
        "It would be loaded. Rows: 30, accepted: 29, rejected: 1."
    )
    wrong = card.get_by_role("region", name="What is wrong").locator("tbody tr")
    assert wrong.locator("th, td").all_inner_texts()[:2] == ["3", "date_of_birth"]
    hint = wrong.locator("td").nth(1).inner_text()
    card.get_by_text("First rows").click()
    expect(card.get_by_role("cell", name=PLANTED).first).to_be_visible()
    expect(card.get_by_role("columnheader", name="Date of Birth")).to_contain_text("date_of_birth, date")
    expect(card.get_by_role("cell", name="yesterday")).to_contain_text(hint)
    card.get_by_role("button", name="Hand in").click()
    expect(card.get_by_role("link", name="What became of it")).to_be_visible()
    school.run()
    expect(card.get_by_role("status")).to_have_text("In the marts. Rows accepted: 29, rejected: 1.")
    follow(card.get_by_role("link", name="What became of it"))
    expect(page.locator("tbody tr").filter(has_text="date_of_birth")).to_contain_text("3")
    with page.expect_download() as download:
        page.get_by_role("link", name="Take the rejected rows").click()
    rejects = Path(download.value.path()).read_text("utf-8-sig")
    follow(page.get_by_role("link", name="Hand in the corrected rows"))
    file.write_text(rejects.replace("yesterday", "2014-02-02"), "utf-8")
    page.get_by_label("Files", exact=True).set_input_files(file)
    card.get_by_role("button", name="Hand in").click()
    expect(card.get_by_role("link", name="What became of it")).to_be_visible()
    school.run()
    expect(card.get_by_role("status")).to_have_text("In the marts. Rows accepted: 1, rejected: 0.")
    page = sign_in("admin")  # a researcher sees pseudonyms
    page.goto(f"{page.url}students?q=NEW")
    assert page.title() == "Students · Laurel"
    assert page.locator("tbody tr").count() == 30


def test_a_file_is_replaced_and_withdrawn_after_one_has_seen_what_that_does(
    sign_in: SignIn, school: School, tmp_path: Path
) -> None:
    file = tmp_path / "teachers of term 2.csv"
    whole = (school.server.settings.home / "school" / "teachers.csv").read_text("utf-8").splitlines()
    file.write_text("\n".join(whole[:4]) + "\n", "utf-8")
    page = sign_in("admin")
    page.goto(f"{page.url}hand-in?dataset=teachers")
    page.get_by_label("Files", exact=True).set_input_files(file)
    card = page.locator("#chosen article")
    card.get_by_role("button", name="Hand in").click()
    expect(card.get_by_role("link", name="What became of it")).to_be_visible()
    school.run()
    expect(card.get_by_role("status")).to_have_text("In the marts. Rows accepted: 3, rejected: 0.")
    follow(card.get_by_role("link", name="What became of it"))
    follow(page.get_by_role("link", name="Replace it by another file"))
    expect(page.get_by_role("main")).to_contain_text(f"This file replaces {file.name}.")
    file.write_text("\n".join(whole[:3]) + "\n", "utf-8")
    page.get_by_label("File", exact=True).set_input_files(file)
    card.get_by_role("button", name="Hand in").click()
    expect(card.get_by_role("link", name="What became of it")).to_be_visible()
    school.run()
    expect(card.get_by_role("status")).to_have_text("In the marts. Rows accepted: 2, rejected: 0.")
    card.get_by_role("link", name="What became of it").click()
    expect(page.locator("table", has_text="Version").locator("tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Withdraw it").click()
    shown = page.locator(".tiles dd:not(.of)")
    expect(shown).to_have_text(["2", "2", "2", "0"])  # the school's own file had them before
    page.get_by_role("button", name="Withdraw it").click()
    expect(page.locator(".badge").first).to_have_text("Withdrawn")
    page.goto(f"{page.url}/withdraw")
    expect(page.get_by_text("Rows that leave").locator("xpath=../dd").first).to_have_text("0")


def test_a_file_is_handed_in_with_the_keyboard(sign_in: SignIn, tmp_path: Path) -> None:
    """Only the choice of a file is the browser's own window, which no test can type in."""
    file = tmp_path / "one student.csv"
    header = "Student ID,First Name,Last Name,Gender,Grade Level,Date of Birth"
    file.write_text(f"{header}\nKEY1,Ada,Obi,Female,JSS1,2014-01-01\n", "utf-8")
    page = sign_in("researcher")

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            here = page.evaluate(
                "document.activeElement.labels?.[0]?.textContent ?? document.activeElement.textContent"
            )
            if here.strip() == name:
                return
        raise AssertionError(f"Tab never comes to {name}.")

    tab_to("Hand in")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Hand in")
    tab_to("What do the files hold?")
    chosen = page.locator("#dataset")
    for _ in range(chosen.locator("option").count()):
        if chosen.input_value() != "students":
            page.keyboard.press("ArrowDown")  # letters count as one word only when they come within a second
    expect(chosen).to_have_value("students")
    tab_to("Files")
    page.locator(":focus").set_input_files(file)
    expect(page.locator("#chosen article").get_by_role("button", name="Hand in")).to_be_visible()
    tab_to("Hand in")
    page.keyboard.press("Enter")
    expect(page.locator("#chosen article").get_by_role("link", name="What became of it")).to_be_visible()


def test_rows_that_are_cards_on_a_telephone_are_still_a_table(sign_in: SignIn) -> None:
    page = sign_in("admin", viewport={"width": 360, "height": 900})
    page.goto(f"{page.url}worklist")
    assert (
        page.locator("#worklist tbody tr").first.evaluate("row => getComputedStyle(row).display") == "block"
    )
    table = page.get_by_role("table")
    assert table.get_by_role("row").count() > 1
    assert table.get_by_role("rowheader").count() == page.locator("#worklist tbody tr").count()
    assert table.get_by_role("columnheader").first.inner_text() == "Student"


def test_an_address_that_is_nowhere_says_so(sign_in: SignIn, school: School, faults: list[str]) -> None:
    page = sign_in("teacher")
    for wrong in (
        "school=main&id=NOBODY",
        "school=a%00b&id=S1",
        "school=a/b&id=..%2F%C3%A9",
        "id=S1",
        "_method=x",
    ):
        answer = page.goto(f"{page.url.partition('student')[0]}student?{wrong}")
        assert answer is not None
        assert answer.status in (404, 422), wrong
    page.goto(f"{page.url.partition('student')[0]}student?school=main&id=NOBODY")
    expect(page.get_by_role("main")).to_contain_text("There is no such student.")
    page.goto(f"{school.server.url}/no/such/page")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Students").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Students")
    faults.clear()  # the browser tells of the 404 itself


def test_a_researcher_sees_no_name_on_a_students_page(sign_in: SignIn, school: School) -> None:
    names = [row["full_name"] for row in school.rows("select full_name from marts.mart_students")]
    guardians = [row["full_name"] for row in school.rows("select full_name from marts.mart_guardians")]
    page = sign_in("researcher")
    page.goto(f"{page.url}students")
    page.locator("tbody th a").first.click()
    expect(page.locator("#scores canvas")).to_be_visible()
    shown = page.content()
    assert [name for name in {*names, *guardians} if name and name in shown] == []
    assert page.get_by_text("What was done").count() == 0


def test_a_key_sees_on_a_page_no_more_than_it_is_narrowed_to(school: School) -> None:
    (student,) = school.rows("select school_id, student_id from marts.mart_student_risk limit 1")
    address = {"school": student["school_id"], "id": student["student_id"]}

    def shown(path: str, scopes: list[str], **query: str) -> str:
        with connect(school.server.settings.database_url.get_secret_value()) as connection:
            _key_id, key = create_key(connection, "narrow", "admin", None, "test", scopes=scopes)
        headers = {"Authorization": f"Bearer {key}", "Accept": "text/html"}
        answer = httpx.get(f"{school.server.url}{path}", params=query, headers=headers, timeout=60)
        assert answer.status_code == 200
        return answer.text

    def lines() -> int:
        (row,) = school.rows("select count(*) as lines from ops.audit where action = 'interventions:read'")
        return int(row["lines"])

    before = lines()
    assert "What was done" not in shown("/student", ["students:read"], **address)
    assert "Write down" not in shown("/worklist", ["risk:read"])
    assert "Handed in before" not in shown("/hand-in", ["uploads:create"])
    assert lines() == before
    assert "What was done" in shown("/student", ["students:read", "interventions:read"], **address)
    assert lines() == before + 1


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_every_page_can_be_read_by_everybody(
    sign_in: SignIn, school: School, theme: str, width: int, tmp_path: Path
) -> None:
    """By axe's rules, in both themes, on a screen and on a telephone; pictures stay in the test's folder."""
    (student,) = school.rows(
        """
        select school_id, student_id from marts.mart_student_risk
        order by -score, school_id, student_id limit 1
        """
    )
    (upload,) = school.rows("select upload_id from ops.uploads order by upload_id limit 1")
    file = tmp_path / "teachers.csv"
    lines = (school.server.settings.home / "school" / file.name).read_text("utf-8").splitlines()
    file.write_text("\n".join(lines[: width % 7 + len(theme)]) + "\n", "utf-8")  # other bytes each time
    waiting = hand_in(school.server.settings, file, school.key)
    page = sign_in("admin", color_scheme=theme, viewport={"width": width, "height": 900})
    start = page.url
    found = {}
    for path in (
        "", "worklist", "worklist?only_at_risk=false&grade_level=JSS1", "students", "students?q=nobody",
        f"student?school={student['school_id']}&id={student['student_id']}", "hand-in", "uploads",
        f"uploads/{upload['upload_id']}", f"uploads/{waiting}", "live", "sign-out",
    ):  # fmt: skip
        page.goto(f"{start}{path}")
        page.screenshot(
            path=tmp_path / f"{path.partition('?')[0].replace('/', '-') or 'start'}.png", full_page=True
        )
        if faulty := unreadable(page):
            found[path] = faulty
    assert found == {}
