"""The summary in a real browser: its figures are the answer key's, for every choice."""

from __future__ import annotations

import csv
import io
import re
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from demo.answers import AnswerKey
from elt.people.keys import create_key
from elt.warehouse import connect
from tests.e2e.demo_pages import LOOKS, School, SignIn, follow, unreadable
from tests.e2e.test_demo_in_process import hand_in

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PLANTED = "<script>document.title='planted'</script>"
FIRST_VISIT_BYTES = 600_000
IN_A_COLUMN = """
id => echarts.getInstanceByDom(document.querySelector(`#${id} .drawing`))
    .convertToPixel({xAxisIndex: 0, yAxisIndex: 0}, [0, 20])
"""
SAID_ON_THE_AXIS = """
id => echarts.getInstanceByDom(document.querySelector(`#${id} .drawing`))
    .getOption().yAxis[0].axisLabel.formatter(80)
"""
EXAMS = {"JAMB": "jamb_score", "SAT": "sat_score", "WASSCE": "wassce_pass"}


def test_a_teacher_goes_from_sign_in_to_those_at_risk_in_their_class(sign_in: SignIn, school: School) -> None:
    page = sign_in("teacher")
    follow(page.get_by_role("navigation", name="Pages").get_by_role("link", name="Summary"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Summary")
    first = min(school.key.schools)
    wanted = expected(school.key, school=first, grade="SS2")
    assert shown(page)["Students"] == (f"{len(wanted)}", "")
    assert page.get_by_label("Class", exact=True).locator("option").all_inner_texts() == ["All", "SS2"]
    assert page.get_by_label("School", exact=True).count() == 0
    canvas = page.locator("#class-results canvas")
    expect(canvas).to_be_visible()
    across, down = page.evaluate(IN_A_COLUMN, "class-results")
    assert page.evaluate(SAID_ON_THE_AXIS, "class-results") == "80"  # percent and points stand on it
    canvas.click(position={"x": across, "y": down})
    page.wait_for_url(re.compile("grade_level=SS2"))
    page.get_by_role("link", name=": At risk").click()
    page.wait_for_url(re.compile(r"/worklist\?.*grade_level=SS2"))
    expect(page.locator("#worklist tbody tr")).to_have_count(at_risk(school, first, "SS2")[0])
    page.goto(f"{school.server.url}/summary?grade_level=JSS1")
    expect(page.get_by_role("main")).to_contain_text("No student fits.")
    (line,) = school.rows(
        "select detail->>'grade_level' as class from ops.audit where action = 'summary:read' "
        "order by audit_id desc limit 1"
    )
    assert line == {"class": "JSS1"}


def test_with_the_keyboard_one_comes_from_a_chart_to_a_class(sign_in: SignIn, school: School) -> None:
    page = sign_in("admin")
    page.goto(f"{school.server.url}/summary")
    page.locator("#class-results summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")  # the table, which may be wider than its place
    page.keyboard.press("Tab")
    expect(page.locator("#class-results tbody a").first).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("grade_level=JSS1"))
    expect(page.get_by_label("Class", exact=True)).to_have_value("JSS1")


def test_every_figure_is_the_answer_keys_for_every_choice(sign_in: SignIn, school: School) -> None:
    key = school.key
    terms = terms_of(key)
    newest, older = terms["name"].iloc[-1], sorted(set(terms["name"]))[1]
    one = max(key.schools)
    page = sign_in("admin")
    choices: list[dict[str, str]] = [
        {},
        {"grade_level": "SS2"},
        {"school_id": one},
        {"school_id": one, "grade_level": "JSS1"},
        {"status": "left"},
        {"status": "left", "grade_level": "SS3"},
        {"status": "all"},
        {"term": newest, "status": "all"},
        {"term": older, "status": "all"},
        {"term": older, "status": "all", "grade_level": "SS1", "school_id": one},
        {"term": older, "status": "current", "grade_level": "JSS1"},
    ]
    for choice in choices:
        page.goto(f"{school.server.url}/summary?{urlencode(choice)}")
        wanted = expected(
            key,
            school=choice.get("school_id"),
            grade=choice.get("grade_level"),
            status=choice.get("status", "current"),
            term=choice.get("term"),
        )
        found = shown(page)
        count = f"of {len(wanted)} student{'s' if len(wanted) != 1 else ''}"
        assert len(wanted) > 0, choice
        assert found["Students"] == (f"{len(wanted):,}", ""), choice
        # Lists are those of now.
        assert bool(page.locator(".tiles a").count()) == ("term" not in choice), choice
        assert found["Average attendance"] == (
            percent(wanted["attended"].mean()),
            f"{count} with attendance",
        ), choice
        passed = (wanted["average"] >= key.pass_mark).sum()
        assert found["Pass rate"] == (percent(100 * passed / len(wanted)), f"{count} with results"), choice
        if choice.get("status", "current") == "current" and "term" not in choice:
            risk, known = at_risk(school, choice.get("school_id"), choice.get("grade_level"))
            note = f"of {known} students with a prediction"
            assert found["At risk"] == (str(risk) if known else "–", note), choice
            for name, target in EXAMS.items():
                likely, foretold = likely_to_pass(school, target, **choice)
                text = percent(100 * likely / foretold) if foretold else "–"
                note = f"of {foretold} students with a prediction"
                assert found[f"{name}, likely to pass"] == (text, note), choice
        rows = read_csv(page, school, "averages", choice)
        bins = [0] * 20
        for average in wanted["average"]:
            bins[min(int(average // 5), 19)] += 1
        assert [int(row["Students"]) for row in rows] == bins, choice
        for chart in ("genders", "activities", "classes"):
            assert sum(int(row["Students"]) for row in read_csv(page, school, chart, choice)) == len(wanted)
        found_classes = {
            row["Class"]: [float(row[name]) for name in ("Pass rate", "Attendance", "Average")]
            for row in read_csv(page, school, "class-results", choice)
        }
        assert found_classes == {
            grade: pytest.approx(
                [100 * (of["average"] >= key.pass_mark).mean(), of["attended"].mean(), of["average"].mean()],
                abs=0.0501,
            )
            for grade, of in wanted.groupby("grade")
        }, choice


def test_what_stands_over_time_and_by_subject_is_the_answer_keys(sign_in: SignIn, school: School) -> None:
    page = sign_in("admin")
    terms = terms_of(school.key)
    found = read_csv(page, school, "terms", {"grade_level": "JSS2"})
    wanted = terms[terms["grade"] == "JSS2"].groupby("name", sort=True)
    assert len(found) == len(wanted) > 5
    for row, (name, rows) in zip(found, wanted, strict=True):
        passed = 100 * (rows["average"] >= school.key.pass_mark).mean()
        assert float(row["Pass rate"]) == pytest.approx(passed, abs=0.0501), name
        assert float(row["Attendance"]) == pytest.approx(rows["attended"].mean(), abs=0.0601), name
        assert float(row["Average"]) == pytest.approx(rows["average"].mean(), abs=0.0601), name
    (figure,) = [figure for figure in school.key.figures if figure.mart == "mart_subject_performance"]
    subjects = figure.rows.astype({"passed_count": int, "student_count": int})
    chosen = subjects[
        (subjects["school_year"] + " " + subjects["term"] == "2023/2024 Second Term")
        & (subjects["grade_level"] == "SS1")
    ].groupby("subject")[["passed_count", "student_count"]].sum()  # fmt: skip
    found = read_csv(page, school, "subjects", {"grade_level": "SS1", "term": "2023/2024 Second Term"})
    assert len(found) > 5
    assert {row["Subject"]: float(row["Pass rate"]) for row in found} == {
        subject: pytest.approx(100 * row.passed_count / row.student_count, abs=0.0501)
        for subject, row in chosen.iterrows()
    }


def test_what_somebody_has_planted_stands_there_as_text(sign_in: SignIn, school: School) -> None:
    (student,) = school.rows(
        "select school_id, student_id from marts.mart_student_risk order by school_id, student_id limit 1"
    )
    home = school.server.settings.home
    file = home / "school" / "discipline.csv"
    header = file.read_text("utf-8").splitlines()[0]
    line = f"{student['school_id']},INC-PLANTED,{student['student_id']},,2026-03-02,{PLANTED},"
    file.write_text(f"{header}\n{line}\n", "utf-8")
    assert isinstance(hand_in(school.server.settings, file, school.key), UUID)
    school.run()
    page = sign_in("admin")
    page.goto(f"{school.server.url}/summary?{urlencode({'grade_level': PLANTED})}")
    expect(page.get_by_label("Class", exact=True)).to_have_value(PLANTED)
    page.goto(f"{school.server.url}/summary")
    page.locator("#offences summary").click()
    expect(page.locator("#offences tbody tr").filter(has_text=PLANTED)).to_contain_text("1")
    assert page.title() == "Summary · Laurel"


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_the_summary_can_be_read_by_everybody(
    sign_in: SignIn, school: School, theme: str, width: int
) -> None:
    page = sign_in("admin", color_scheme=theme, viewport={"width": width, "height": 900})
    for query in ("", "?status=new", f"?status=all&school_id={min(school.key.schools)}"):
        page.goto(f"{school.server.url}/summary{query}")
        assert unreadable(page) == [], query


def test_a_first_visit_is_light(school: School) -> None:
    """What comes through the wire, compressed as a browser gets it."""
    with connect(school.server.settings.database_url.get_secret_value()) as connection:
        _key_id, key = create_key(connection, "bytes", "admin", None, "test", scopes=["summary:read"])
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/html", "Accept-Encoding": "gzip"}
    with httpx.Client(base_url=school.server.url, headers=headers, timeout=60) as client:
        page = client.get("/summary")
        names = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text))
        answers = [page, *(client.get(name) for name in sorted(names))]
    assert {answer.status_code for answer in answers} == {200}
    assert len(names) >= 4  # style, colours, charts, and what draws them
    assert sum(answer.num_bytes_downloaded for answer in answers) <= FIRST_VISIT_BYTES


def terms_of(key: AnswerKey) -> pd.DataFrame:
    """A student's terms, in their order: `name` of the term, class, average, attendance."""
    (figure,) = [figure for figure in key.figures if figure.mart == "mart_student_terms"]
    rows = figure.rows
    return pd.DataFrame(
        {
            "school": rows["school_id"],
            "student": rows["student_id"],
            "name": rows["school_year"] + " " + rows["term"],
            "grade": rows["grade_level"],
            "average": rows["average_score"].astype(float),
            "attended": rows["attendance_pct"].astype(float),
        }
    ).sort_values(["school", "student", "name"])  # First, Second and Third are in the order of letters


def expected(
    key: AnswerKey,
    *,
    school: str | None = None,
    grade: str | None = None,
    status: str = "current",
    term: str | None = None,
) -> pd.DataFrame:
    """The students of a choice, with their results of the term, else of their latest."""
    terms = terms_of(key)
    latest = terms.groupby(["school", "student"], as_index=False).last()
    here = latest[latest["name"] == terms["name"].max()]
    students = set(zip(here["school"], here["student"], strict=True))
    rows = latest if term is None else terms[terms["name"] == term]
    is_here = pd.Series(
        [each in students for each in zip(rows["school"], rows["student"], strict=True)], index=rows.index
    )
    rows = {"current": rows[is_here], "left": rows[~is_here], "all": rows}[status]
    rows = rows if school is None else rows[rows["school"] == school]
    return rows if grade is None else rows[rows["grade"] == grade]


def shown(page: Page) -> dict[str, tuple[str, str]]:
    """Each figure and of how many it is."""
    found = {}
    for tile in page.locator(".tiles > div").all():
        label = tile.locator("dt").inner_text()
        text = tile.locator("dd").first.inner_text().removesuffix(f": {label}")
        note = tile.locator("dd.of")
        found[label] = (text.strip(), note.inner_text() if note.count() else "")
    return found


def read_csv(page: Page, school: School, chart: str, choice: dict[str, str]) -> list[dict[str, str]]:
    answer = page.request.get(f"{school.server.url}/summary?{urlencode({**choice, 'csv': chart})}")
    assert answer.status == 200, answer.text()
    return list(csv.DictReader(io.StringIO(answer.text())))


def at_risk(school: School, school_id: str | None = None, grade_level: str | None = None) -> tuple[int, int]:
    """How many are on the worklist, and of how many anything is foretold."""
    rows = [
        row
        for row in school.rows("select school_id, grade_level, is_at_risk from marts.mart_student_risk")
        if school_id in (None, row["school_id"]) and grade_level in (None, row["grade_level"])
    ]
    return sum(row["is_at_risk"] for row in rows), len(rows)


def likely_to_pass(
    school: School, target: str, school_id: str | None = None, grade_level: str | None = None
) -> tuple[int, int]:
    """How many are foretold to pass, and of how many anything is foretold."""
    rows = [
        row
        for row in school.rows(
            "select school_id, grade_level, pass_probability from marts.mart_student_predictions "
            f"where target = '{target}'"
        )
        if school_id in (None, row["school_id"]) and grade_level in (None, row["grade_level"])
    ]
    return sum(row["pass_probability"] >= 0.5 for row in rows), len(rows)


def percent(value: Any) -> str:
    return f"{value:.1f} %"
