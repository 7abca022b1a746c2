"""A student's page in a real browser: its figures, where they come from, and what people write there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.demo_pages import LOOKS, School, SignIn, follow, unreadable

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PLANTED = "<script>document.title='planted'</script>"


def open_student(page: Page, school: School, student: dict[str, Any], **more: str) -> None:
    query = urlencode({"school": student["school_id"], "id": student["student_id"], **more})
    page.goto(f"{school.server.url}/student?{query}")


def one(school: School, query: str) -> dict[str, Any]:
    (row,) = school.rows(query)
    return row


@pytest.fixture
def taught(school: School) -> dict[str, Any]:
    """The most urgent student of the teacher's class."""
    return one(
        school,
        """
        select risk.school_id, risk.student_id, profiles.full_name
        from marts.mart_student_risk as risk
        join marts.mart_students as profiles using (school_id, student_id)
        where risk.grade_level = 'SS2' and is_at_risk
          and risk.school_id = (select min(school_id) from marts.mart_student_risk)
        order by score desc, student_id limit 1
        """,
    )


def numbers(rows: Locator) -> list[list[str]]:
    found: list[list[str]] = rows.evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return found


def test_a_teacher_goes_from_a_figure_to_its_line_and_says_that_it_is_wrong_until_an_admin_settles_it(
    sign_in: SignIn, school: School, taught: dict[str, Any]
) -> None:
    where = f"school_id = '{taught['school_id']}' and student_id = '{taught['student_id']}'"
    term = one(
        school,
        f"""
        select school_year, term from marts.mart_student_terms where {where}
        order by term_number desc limit 1
        """,
    )
    of_term = f"school_year = '{term['school_year']}' and term = '{term['term']}'"
    subjects = school.rows(
        f"""
        select subject, total_score, is_pass, class_average_score from marts.mart_student_subjects
        where {where} and {of_term} order by grade_level, subject
        """
    )
    page = sign_in("teacher")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Who needs help").click()
    follow(page.locator("#worklist tbody th a").first)
    expect(page.get_by_role("heading", level=1)).to_contain_text(taught["full_name"])
    page.get_by_role("navigation", name="On this page").get_by_role("link", name="Subjects").click()
    rows = page.locator("#results tbody tr")
    assert [(cells[0], cells[3], cells[4] != "Below", cells[5]) for cells in numbers(rows)] == [
        (
            row["subject"],
            f"{row['total_score']:.0f}",
            row["is_pass"],
            "–" if row["class_average_score"] is None else f"{row['class_average_score']:.1f}",
        )
        for row in subjects
    ]
    line = one(
        school,
        f"""
        select versions.filename, history._line as line, history.total_score
        from (select * from raw.academic_history where {where}) as history
        join ops.upload_versions as versions on versions.upload_id = history._upload_id
        where subject = '{subjects[0]["subject"]}' and academic_year = '{term["school_year"]}'
          and term = '{term["term"]}'
        """,
    )
    score = rows.first.get_by_role("link").nth(2)
    score.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#value")).to_have_text(f"{line['total_score']:.0f}")
    shown = page.locator("#lines tbody tr")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text(line["filename"])
    expect(shown.locator("td").first).to_have_text(str(line["line"]))
    assert page.locator("#lines a").count() == 0  # teachers open no uploads

    page.get_by_text("Say that it is wrong").click()
    page.get_by_label("What it should be, if you know").fill("99")
    page.get_by_label("Why it is wrong, and how you know").fill(PLANTED)
    page.get_by_role("button", name="Dispute the value").click()
    expect(page.locator(".said")).to_contain_text(PLANTED)
    assert page.get_by_text("Say that it is wrong").count() == 0
    page.get_by_role("link", name="To the student").click()
    expect(
        page.locator("#results tbody tr").first.locator(".badge.unsure", has_text="disputed")
    ).to_be_visible()

    admin = sign_in("admin")
    admin.goto(f"{school.server.url}/disputes")
    waiting = admin.locator("#disputes tbody tr").filter(has_text=taught["full_name"])
    expect(waiting).to_contain_text(PLANTED)
    waiting.get_by_text("Settle", exact=False).first.click()
    waiting.get_by_label("What came of it").select_option("stands")
    waiting.get_by_label("Why", exact=True).fill("The paper says so")
    waiting.get_by_role("button", name="Settle it").click()
    expect(admin.get_by_text("Nothing waits to be settled.")).to_be_visible()
    admin.get_by_role("link", name="Settled").click()
    expect(admin.locator("#disputes")).to_contain_text("The paper says so")
    page.reload()
    expect(page.locator("#results")).not_to_contain_text("disputed")
    expect(page.locator("#record ~ details")).to_contain_text("The value stands")


def test_what_people_write_is_corrected_and_taken_back_and_stays_to_be_read(
    sign_in: SignIn, school: School, taught: dict[str, Any]
) -> None:
    page = sign_in("teacher")
    open_student(page, school, taught)
    done = page.locator("section", has=page.locator("#done"))
    page.get_by_text("Write down what was done").click()
    own = done.locator("form").last
    own.get_by_label("What was done").fill(PLANTED)
    own.get_by_role("button", name="Write it down").click()
    line = done.locator("tbody tr").filter(has_text=PLANTED)
    line.get_by_text("Correct").click()
    line.get_by_label("What was done").fill("Called the aunt")
    line.get_by_role("button", name="Write it down").click()
    expect(done.locator("tbody th")).to_have_text(["Called the aunt"])
    line = done.locator("tbody tr")
    line.get_by_text("Take back").first.click()
    line.get_by_label("Why it does not stand").fill("It was her sister")
    line.get_by_role("button", name="Take it back").click()
    expect(done).to_contain_text("Nothing is written down yet.")
    done.get_by_text("3 lines that were corrected or taken back").click()
    for text in (PLANTED, "Called the aunt", "It was her sister"):
        expect(done.get_by_text(text)).to_be_visible()

    notes = page.locator("section", has=page.locator("#notes"))
    notes.get_by_text("Write a note").click()
    notes.get_by_label("What is worth knowing").fill(f"Sings.\n{PLANTED}")
    notes.get_by_role("button", name="Keep the note").click()
    expect(notes.locator("article")).to_contain_text(f"{PLANTED}\nA teacher", use_inner_text=True)
    notes.get_by_role("button", name="Take back").click()
    expect(notes).to_contain_text("Nobody has written a note.")
    notes.get_by_text("1 note that was taken back").click()
    expect(notes.get_by_text("taken back by A teacher")).to_be_visible()
    assert page.title() != "planted"
    (kept,) = school.rows("select count(*) as notes from ops.student_notes")
    assert kept["notes"] == 1


def test_only_a_students_own_candidate_is_shown(sign_in: SignIn, school: School) -> None:
    """Numbers of exams begin anew each year, so another year has a candidate of the same number."""
    student = one(
        school,
        """
        select min(school_id) as school_id, (array_agg(student_id order by exam_year))[1] as student_id,
               (array_agg(distinct exam_year order by exam_year))[1] as exam_year, exam_number
        from raw.exam_results where exam = 'WASSCE' and student_id is not null
        group by school_id, exam_number having count(distinct student_id) > 1 order by 1, 4 limit 1
        """,
    )
    own = school.rows(
        f"""
        select subject, grade from raw.exam_results
        where exam = 'WASSCE' and school_id = '{student["school_id"]}'
          and student_id = '{student["student_id"]}'
        order by subject
        """
    )
    page = sign_in("admin")
    open_student(page, school, student)
    expect(page.locator("#wassce")).to_contain_text(f"{student['exam_year']}, {student['exam_number']}")
    expect(page.locator("#wassce canvas")).to_be_visible()
    cells = page.locator("#wassce tbody tr").evaluate_all(
        "rows => rows.map(row => [row.cells[0].textContent.trim(), row.cells[1].textContent.trim()])"
    )
    assert sorted(map(tuple, cells)) == [(row["subject"], row["grade"]) for row in own]
    lengths = page.locator("#wassce tbody tr").evaluate_all(
        """
        rows => rows.map(row => [row.cells[1].textContent.trim(), Number(row.cells[1].dataset.value),
                                 row.dataset.verdict])
        """
    )
    assert all(points == 10 - int(grade[1]) for grade, points, _ in lengths)
    assert {verdict for grade, _, verdict in lengths if grade[0] in "ABC"} <= {"above"}
    assert {verdict for grade, _, verdict in lengths if grade[0] in "DEF"} <= {"below"}
    results = one(
        school,
        f"""
        select jamb_score, jamb_performance from marts.mart_jamb_performance
        where school_id = '{student["school_id"]}' and student_id = '{student["student_id"]}'
        """,
    )
    row = page.locator("section", has=page.locator("#exams")).locator("tbody tr").filter(has_text="JAMB")
    expect(row).to_contain_text(f"{results['jamb_score']:.0f}")
    expect(row).to_contain_text(results["jamb_performance"])


def test_juniors_are_told_when_predictions_begin_and_a_term_can_be_chosen(
    sign_in: SignIn, school: School
) -> None:
    junior = one(
        school,
        """
        select school_id, student_id from marts.mart_student_terms where grade_level = 'JSS2'
          and (school_id, student_id) in (select school_id, student_id from marts.mart_student_risk
                                          where grade_level like 'JSS%')
        order by school_id, student_id limit 1
        """,
    )
    first = one(
        school,
        f"""
        select school_year || ' ' || term as name, subject_count from marts.mart_student_terms
        where school_id = '{junior["school_id"]}' and student_id = '{junior["student_id"]}'
          and term_number = 1
        """,
    )
    page = sign_in("admin")
    open_student(page, school, junior)
    expect(page.get_by_text("Predictions of exams begin in senior school.")).to_be_visible()
    page.get_by_label("Term", exact=True).select_option(first["name"])
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#results caption")).to_have_text(first["name"])
    expect(page.locator("#results tbody tr")).to_have_count(first["subject_count"])
    expect(page.locator("#subjects")).to_contain_text(first["name"])


def test_a_researcher_finds_no_names_notes_or_lines(
    sign_in: SignIn, school: School, taught: dict[str, Any]
) -> None:
    known = one(
        school,
        f"""
        select school_id, pseudonym as student_id from ops.pseudonyms where kind = 'student'
          and school_id = '{taught["school_id"]}' and source_id = '{taught["student_id"]}'
        """,
    )
    page = sign_in("researcher")
    open_student(page, school, known)
    expect(page.locator("#results tbody tr").first).to_be_visible()
    assert page.locator("a.sourced, #notes, #done, .initials").count() == 0
    assert taught["full_name"] not in page.content()


def test_a_teacher_asks_for_nothing_of_another_class(
    sign_in: SignIn, school: School, faults: list[str]
) -> None:
    other = one(
        school,
        "select school_id, student_id from marts.mart_student_overview where grade_level = 'SS1' limit 1",
    )
    page = sign_in("teacher")
    key = "{" + f'"school_id": "{other["school_id"]}", "student_id": "{other["student_id"]}"' + "}"
    asked = urlencode({"mart": "mart_student_overview", "column": "average_score", "key": key})
    answer = page.goto(f"{school.server.url}/provenance?{asked}")
    assert answer is not None
    assert answer.status == 404
    faults.clear()  # the browser tells of the 404 itself


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_every_part_can_be_read_by_everybody(
    sign_in: SignIn, school: School, taught: dict[str, Any], theme: str, width: int, tmp_path: Path
) -> None:
    left = one(school, "select school_id, student_id from marts.mart_waec_performance order by 1, 2 limit 1")
    page = sign_in("admin", color_scheme=theme, viewport={"width": width, "height": 900})
    found = {}
    for name, student in (("at school", taught), ("left", left)):
        open_student(page, school, student)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        found[name] = unreadable(page)
    page.locator("a.sourced").first.click()
    page.wait_for_url("**/provenance?*")
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    found["provenance"] = unreadable(page)
    for name in ("disputes", "disputes?is_open=false"):
        page.goto(f"{school.server.url}/{name}")
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        found[name] = unreadable(page)
    assert {name: faulty for name, faulty in found.items() if faulty} == {}
