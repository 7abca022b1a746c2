"""Reports, weekly e-mails and who looks after whom, in a real browser on the demo school."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from pypdf import PdfReader

from tests.e2e.demo_pages import LOOKS, School, SignIn, follow, unreadable

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PLANTED = "<script>document.title='planted'</script>"


def first_class(school: School) -> str:
    """The school whose SS2 the teacher has."""
    (found,) = school.rows("select min(school_id) as id from marts.mart_student_risk")
    return str(found["id"])


def at_risk(school: School) -> list[dict[str, str]]:
    """The teacher's students at risk, the most urgent first."""
    return school.rows(
        f"""
        select risk.school_id, risk.student_id, students.full_name from marts.mart_student_risk as risk
        join marts.mart_students as students using (school_id, student_id)
        where is_at_risk and risk.grade_level = 'SS2' and risk.school_id = '{first_class(school)}'
        order by -score, student_id
        """
    )


def cells(page: Page, title: str) -> list[list[str]]:
    """The table below a title, without its bars."""
    rows = page.locator(f"h2:text-is('{title}') + .scroll tbody tr")
    return [
        [text.strip() for text in row.locator("th, td").all_inner_texts() if text.strip()]
        for row in rows.all()
    ]


def test_a_teacher_takes_the_report_of_their_class_and_gets_it_each_week(
    sign_in: SignIn, school: School, tmp_path: Path
) -> None:
    page = sign_in("teacher")
    page.get_by_role("navigation").get_by_role("link", name="Who needs help").click()
    page.get_by_label("Class").select_option("SS2")
    follow(page.get_by_role("button", name="Show"))
    follow(page.get_by_role("link", name="Report of class SS2"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Class SS2")
    where = f"where school_id = '{first_class(school)}' and grade_level = 'SS2'"
    terms = school.rows(
        f"""
        select term || ' ' || school_year as term, student_count::text,
            round(average_score, 1)::text as average,
            round(attendance_pct, 1)::text || ' %' as attendance, failing_student_count::text
        from marts.mart_class_summary {where} order by school_year desc, term_order desc limit 6
        """
    )
    assert cells(page, "Term by term") == [list(row.values()) for row in reversed(terms)]
    assert [row[0] for row in cells(page, "Who needs help")] == [
        f"{student['full_name']} ({student['student_id']})" for student in at_risk(school)
    ]
    with page.expect_download() as started:
        page.get_by_role("link", name="PDF").click()
    (sheet,) = PdfReader(started.value.path()).pages
    text = sheet.extract_text()
    for figure in (terms[0]["average"], terms[0]["attendance"], at_risk(school)[0]["full_name"]):
        assert figure in text
    (printed,) = PdfReader(io.BytesIO(page.pdf(format="A4", prefer_css_page_size=True))).pages
    assert "A prediction is no judgement" in printed.extract_text()
    page.get_by_role("button", name="Send me this each week").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Account")
    expect(page.get_by_role("row", name="SS2")).to_be_visible()
    page.get_by_role("button", name="End the weekly report of SS2").click()
    expect(page.get_by_text("None yet.")).to_be_visible()


def test_a_student_s_report_fits_on_one_printed_page_and_names_no_other(
    sign_in: SignIn, school: School
) -> None:
    student = at_risk(school)[0]
    subjects = school.rows(
        f"""
        select subject, round(total_score, 1)::text as score, round(class_average_score, 1)::text as class,
            case when is_pass then 'Yes' else 'No' end, round(attendance_pct, 1)::text || ' %' as attendance
        from marts.mart_student_subjects join (
            select school_year, term from marts.mart_student_terms
            where school_id = '{student["school_id"]}' and student_id = '{student["student_id"]}'
            order by school_year desc, term_order desc limit 1
        ) as latest using (school_year, term)
        where school_id = '{student["school_id"]}' and student_id = '{student["student_id"]}' order by subject
        """
    )
    page = sign_in("teacher")
    page.goto(f"{page.url}report?school={student['school_id']}&id={student['student_id']}")
    expect(page.get_by_role("heading", level=1)).to_have_text(student["full_name"])
    assert cells(page, "Results by subject") == [[value or "–" for value in row.values()] for row in subjects]
    printed = page.pdf(format="A4", prefer_css_page_size=True)
    (sheet,) = PdfReader(io.BytesIO(printed)).pages
    text = f"{page.inner_text('main')} {sheet.extract_text()}"
    assert [other["full_name"] for other in at_risk(school)[1:] if other["full_name"] in text] == []


def test_students_are_assigned_with_the_keyboard_and_found_by_who_has_them(
    sign_in: SignIn, school: School
) -> None:
    names = [student["full_name"] for student in at_risk(school)]
    page = sign_in("teacher")
    start = page.url
    page.goto(f"{start}worklist?assigned=mine")
    expect(page.get_by_text("You look after nobody of this choice.")).to_be_visible()
    page.goto(f"{start}worklist")
    links = page.locator("#worklist tbody th a")
    links.first.focus()
    page.keyboard.press("a")
    select = page.locator("#worklist tbody tr").first.get_by_label("Looked after by")
    expect(select).to_be_focused()
    assert select.evaluate("select => select.selectedOptions[0].text") == "A teacher (me)"
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("#worklist tbody tr").first).to_contain_text("A teacher")
    page.get_by_label("Looked after by").first.select_option("mine")
    page.get_by_role("button", name="Show").click()
    expect(links).to_have_text(names[:1])
    page.goto(f"{start}worklist?assigned=nobody")
    assert links.all_inner_texts() == names[1:]


def test_what_people_typed_shows_as_text(sign_in: SignIn, school: School) -> None:
    student = at_risk(school)[0]
    page = sign_in("teacher")
    start, address = page.url, f"?school={student['school_id']}&id={student['student_id']}"
    page.goto(f"{start}worklist")
    first = page.locator("#worklist tbody tr").first
    first.get_by_text("Write down").click()
    first.get_by_label("What was done").fill(PLANTED)
    follow(first.get_by_role("button", name="Write it down"))
    for path in (f"report{address}", f"report?school={student['school_id']}&grade_level=SS2"):
        page.goto(f"{start}{path}")
        expect(page.get_by_text(PLANTED)).to_be_visible()
        assert "planted" not in page.title()
    pdf = PdfReader(io.BytesIO(page.request.get(f"{start}report.pdf{address}").body()))
    assert "document.title='planted'" in "".join(pdf.pages[0].extract_text().split("\n"))


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_the_pages_can_be_read_by_everybody(
    sign_in: SignIn, school: School, theme: str, width: int, tmp_path: Path
) -> None:
    student = at_risk(school)[0]
    page = sign_in("teacher", color_scheme=theme, viewport={"width": width, "height": 900})
    start, found = page.url, {}
    for number, path in enumerate((
        f"report?school={student['school_id']}&id={student['student_id']}",
        f"report?school={student['school_id']}&grade_level=SS2", "account", "worklist?grade_level=SS2",
        "worklist?assigned=mine",
    )):  # fmt: skip
        page.goto(f"{start}{path}")
        for opened in page.locator("details.assign > summary").all():
            opened.click()
        page.screenshot(path=tmp_path / f"{number}.png", full_page=True)
        if faulty := unreadable(page):
            found[path] = faulty
    assert found == {}
