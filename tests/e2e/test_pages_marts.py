"""Marts, SQL, dictionary and lineage in a real browser: what they show, take away, and keep to themselves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from elt.people.keys import create_key
from elt.warehouse import connect
from tests.e2e.demo_pages import LOOKS, School, SignIn, follow, unreadable

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PLANTED = "<script>document.title='planted'</script>"
TERMS = "mart_student_terms"


@pytest.fixture
def planted(school: School) -> Iterator[str]:
    """A student whose first name is a script, as it would come from a file."""
    change = "update staging.stg_students set first_name = %s where student_id = %s and first_name = %s"
    with connect(school.server.settings.database_url.get_secret_value()) as connection:
        row = connection.execute(
            "select student_id, first_name from marts.mart_students order by school_id, student_id limit 1"
        ).fetchone()
        assert row is not None
        student, name = row.values()
        assert connection.execute(change, (PLANTED, student, name)).rowcount > 0
        yield student
        connection.execute(change, (name, student, PLANTED))


@pytest.fixture(scope="module")
def key_of_admin(school: School) -> dict[str, str]:
    """The headers of a program of an administrator's that wants pages."""
    with connect(school.server.settings.database_url.get_secret_value()) as connection:
        _key_id, key = create_key(connection, "pages", "admin", None, "test")
    return {"Authorization": f"Bearer {key}", "Accept": "text/html"}


def cells(table: Locator) -> list[list[str]]:
    """The texts of a table's body."""
    found: list[list[str]] = table.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )
    return found


def saved(page: Page, name: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name=f"{name} of these rows").click()
    return Path(download.value.path()).read_bytes()


def test_an_admin_filters_sorts_and_takes_away_a_mart(sign_in: SignIn, school: School) -> None:
    wanted = school.rows(
        f"""
        select school_id, student_id, average_score from marts.{TERMS}
        where grade_level in ('SS1', 'SS2') and average_score >= 60
        order by average_score desc nulls last, school_id, student_id, school_year, term
        """
    )
    assert len(wanted) > 100
    page = sign_in("admin")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Data").click()
    follow(page.get_by_role("link", name=TERMS, exact=True))
    for column, condition, value in (
        ("grade_level", "is", "SS1"), ("average_score", "from", "60"), ("grade_level", "is", "SS2"),
    ):  # fmt: skip
        form = page.locator("form.filters").first
        form.get_by_label("Column").select_option(column)
        form.get_by_label("Condition").select_option(label=condition)
        form.get_by_label("Value").fill(value)
        follow(form.get_by_role("button"))
    page.get_by_text("Choose columns").click()
    for box in page.locator(".ticks input").all():
        if box.get_attribute("value") not in ("school_id", "student_id", "average_score"):
            box.uncheck()
    follow(page.get_by_role("button", name="Show these"))
    for _ in range(2):
        follow(page.locator("#rows thead").get_by_role("link", name="average_score"))
    expect(page.locator("#total")).to_contain_text(f"{len(wanted):,} rows")
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("average_score")
    shown = cells(page.locator("#rows"))
    while (more := page.get_by_role("link", name="More rows")).count():
        follow(more)
        shown += cells(page.locator("#rows"))
    assert shown == [[str(value) for value in row.values()] for row in wanted]
    as_csv = list(csv.reader(io.StringIO(saved(page, "CSV").decode())))
    assert as_csv == [["school_id", "student_id", "average_score"], *shown]
    as_json = json.loads(saved(page, "JSON"), parse_float=str)
    assert [list(row.values()) for row in as_json] == shown
    assert saved(page, "Parquet").startswith(b"PAR1")
    address = page.url
    page.get_by_role("link", name="grade_level is SS1").click()
    expect(page.locator("#total")).not_to_contain_text(f"{len(wanted):,} rows")
    page.goto(address)
    expect(page.get_by_role("link", name="From the beginning")).to_be_visible()


def test_columns_are_summed_up_and_their_values_counted(sign_in: SignIn, school: School) -> None:
    (sums,) = school.rows(
        f"""
        select count(*), count(average_score) as known, count(distinct average_score) as distinct,
            min(average_score) as least, max(average_score) as most
        from marts.{TERMS} where grade_level = 'SS2'
        """
    )
    terms = school.rows(
        f"select term, count(*) from marts.{TERMS} where grade_level = 'SS2' group by 1 order by 2 desc, 1"
    )
    page = sign_in("admin")
    page.goto(f"{page.url}marts/{TERMS}?grade_level=SS2")
    follow(page.get_by_role("link", name="Sum up what these rows hold"))
    row = page.locator("#average_score td").all_inner_texts()
    known, missing = sums["known"], sums["count"] - sums["known"]
    assert row[2:] == [
        f"{known:,}", f"{missing:,}", f"{sums['distinct']:,}", str(sums["least"]), str(sums["most"])
    ]  # fmt: skip
    assert page.locator("#student_id td").all_inner_texts()[2:] == ["–"] * 5  # about persons
    page.get_by_label("Column").nth(1).select_option("term")
    page.get_by_role("button", name="Count its values").click()
    values = page.get_by_role("list", name="Values of term").get_by_role("link")
    expect(values).to_have_text([f"{row['term']} {row['count']:,}" for row in terms])
    values.first.click()
    expect(page.locator("#total")).to_contain_text(f"{terms[0]['count']:,} rows")
    page.get_by_role("link", name="Let each figure lead to the lines").click()
    figure = page.locator("#rows tbody tr").first.locator("td").nth(9).get_by_role("link")
    shown = figure.inner_text()
    figure.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("average score")
    expect(page.get_by_role("main")).to_contain_text(shown)


def test_each_role_sees_in_a_mart_what_it_may(sign_in: SignIn, school: School, faults: list[str]) -> None:
    numbers = {row["student_id"] for row in school.rows("select student_id from marts.mart_students")}
    page = sign_in("researcher")
    page.goto(f"{page.url}marts/{TERMS}?columns=student_id&order=student_id")
    shown = {row[0] for row in cells(page.locator("#rows"))}
    assert shown
    assert not shown & numbers
    start = page.url.partition("marts")[0]
    page.goto(f"{start}sql")
    expect(page.get_by_role("main")).to_contain_text("Your role is researcher")
    faults.clear()  # the browser tells of the 403 itself
    page = sign_in("teacher")
    page.goto(f"{start}marts/{TERMS}?columns=school_id,grade_level")
    assert {tuple(row) for row in cells(page.locator("#rows"))} <= {
        (row["id"], grade)
        for row in school.rows("select min(school_id) as id from marts.mart_student_risk")
        for grade in ("SS1", "SS2", "JSS1", "JSS2", "JSS3")  # those whom the class has now, in years before
    }
    page = sign_in("analyst")
    page.goto(f"{start}marts/mart_students")
    expect(page.get_by_text("There is nothing here that you may see.")).to_be_visible()
    counted = school.rows("select count(*) as lines from ops.audit where action = 'marts:read'")
    page.goto(f"{start}marts/mart_class_summary")
    (after,) = school.rows("select count(*) as lines from ops.audit where action = 'marts:read'")
    assert after["lines"] == counted[0]["lines"] + 1


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("average_score__gte=many", "average_score (numeric"),
        ("nope=1", "Its columns are"),
        ("columns=nope", "Its columns are"),
        ("order=-nope", "Its columns are"),
        ("average_score__like=1", "unknown operator"),
        ("_by=student_id", "Values can be counted"),
        ("after=%7B%22x%22%3A1%7D", "needs a value for each"),
        ("_column=term&_operator=like&_value=x", "Unknown operator"),
        ("columns=a;b", "columns"),
        ("note=a%00b", "Its columns are"),
        ("term=a%00b", "NUL"),
        ("_anchor=x&_external=1&_scheme=y&name=z", "Its columns are"),
    ],
)
def test_a_wrong_choice_is_explained(
    school: School, key_of_admin: dict[str, str], choice: str, said: str
) -> None:
    answer = httpx.get(
        f"{school.server.url}/marts/{TERMS}?{choice}", headers=key_of_admin, follow_redirects=True, timeout=60
    )
    assert answer.status_code == 422
    assert said in answer.text


def test_a_script_in_a_cell_is_text(sign_in: SignIn, school: School, planted: str) -> None:
    page = sign_in("admin")
    start = page.url
    page.goto(f"{start}marts/mart_students?student_id={planted}")
    expect(page.locator("#rows").get_by_text(PLANTED).first).to_be_visible()
    page.goto(f"{start}sql?mart=mart_students")
    expect(page.locator("#sql")).to_have_value("select *\nfrom mart_students\nlimit 100")
    ask(page, f"select first_name, 1 as one from mart_students where student_id = '{planted}'")
    expect(page.locator("#rows").get_by_text(PLANTED).first).to_be_visible()
    assert page.title() == "SQL · Laurel"


def ask(page: Page, statement: str) -> None:
    """Type it and run it, with the keyboard alone."""
    page.locator("#sql").fill(statement)
    page.locator("#sql").focus()
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")


def test_an_analyst_asks_in_sql(sign_in: SignIn, school: School, faults: list[str]) -> None:
    wanted = school.rows(
        """
        select grade_level, round(avg(average_score), 2) as mean, max(attendance_pct) as most
        from marts.mart_class_summary where student_count >= 10 group by 1 order by 1
        """
    )
    page = sign_in("analyst")
    page.goto(f"{page.url}sql")
    ask(
        page,
        "select grade_level, round(avg(average_score), 2) as mean, max(attendance_pct) as most\n"
        "from mart_class_summary where student_count >= 10 group by 1 order by 1",
    )
    assert page.url.endswith("/sql#answer-found")  # no statement in the address
    texts = [[str(value) for value in row.values()] for row in wanted]
    assert cells(page.locator("#rows")) == texts
    expect(page.locator("#answer canvas")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="take the answer as CSV").click()
    lines = list(csv.reader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
    assert lines == [["grade_level", "mean", "most"], *texts]
    ask(page, "select *\nfrom mart_class_summary\nwhere nope = 1")
    expect(page.get_by_role("alert")).to_contain_text("(line 3)")
    picked = page.evaluate("document.getSelection().toString()")
    assert picked == "where nope = 1"
    ask(page, "delete from mart_class_summary")
    expect(page.get_by_role("alert")).to_contain_text("one statement that reads")
    faults.clear()  # the browser tells of each 422 itself
    ask(page, "select number from generate_series(1, 1200) as number")
    expect(page.get_by_role("status").first).to_contain_text("The first 1,000 rows; there are more.")
    assert page.locator("#rows tbody tr").count() == 1000
    page.locator("#sql").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_focused()


def test_statements_stay_in_the_browser_until_they_are_forgotten(sign_in: SignIn) -> None:
    page = sign_in("analyst")
    page.goto(f"{page.url}sql")
    expect(page.locator("#history")).to_be_hidden()
    ask(page, "select 1 as one")
    ask(page, "select 2 as two")
    past = page.locator("#history li")
    expect(past).to_have_text(["select 2 as two", "select 1 as one"])
    past.nth(1).get_by_role("button").click()
    expect(page.locator("#sql")).to_have_value("select 1 as one")
    page.locator("aside summary", has_text="mart_class_summary").click()
    page.locator("#sql").fill("select")
    page.get_by_role("button", name="grade_level", exact=True).click()
    expect(page.locator("#sql")).to_have_value("select grade_level")
    page.get_by_role("button", name="Forget them").click()
    page.reload()
    expect(page.locator("#history")).to_be_hidden()


def test_the_dictionary_says_what_columns_mean(sign_in: SignIn) -> None:
    page = sign_in("researcher")
    start = page.url
    page.goto(f"{start}dictionary#mart_student_terms.average_score")
    expect(page.locator("[id='mart_student_terms.average_score']")).to_be_visible()
    page.get_by_label("Search").fill("way of an examination")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("Nothing is called that")).to_be_visible()
    page.get_by_label("Search").fill("GRADE LEVEL")
    page.keyboard.press("Enter")
    row = page.locator("[id='students.grade_level']")
    expect(row).to_contain_text("Class Level")
    expect(row).to_contain_text("one of JSS1, JSS2, JSS3, SS1, SS2, SS3")
    with page.expect_download() as download:
        page.locator("#students").get_by_role("link", name="Empty file with the header").click()
    assert Path(download.value.path()).read_text("utf-8-sig").startswith("School ID,Student ID")


def test_the_way_of_a_mart_can_be_walked(sign_in: SignIn) -> None:
    page = sign_in("analyst")
    start = page.url
    page.goto(f"{start}marts/mart_class_summary")
    page.get_by_text("What it is made of").click()
    picture = page.locator("svg.lineage")
    expect(picture.locator(".here")).to_contain_text("mart_class_summary")
    follow(picture.get_by_role("link").filter(has_text="stg_academic_history"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Lineage of stg_academic_history")
    assert page.locator("svg.lineage path").count() > 1
    follow(page.get_by_role("main").get_by_role("link", name="raw.academic_history", exact=True).last)
    expect(page.get_by_text("Of nothing else here")).to_be_visible()
    below = page.locator("dl.layers a").all_inner_texts()
    assert {"fct_assessments", "mart_class_summary", "mart_student_risk"} <= set(below)
    assert "mart_pisa_countries" not in below


def test_dbts_own_pages_work_within_their_policy(sign_in: SignIn) -> None:
    page = sign_in("analyst")
    page.goto(f"{page.url}lineage")
    follow(page.get_by_role("link", name="as dbt documents it"))
    start = page.url.partition("#")[0]  # the page adds to it by itself
    page.goto(f"{start}#!/model/model.laurel.mart_student_risk")
    expect(page.get_by_role("heading", level=1)).to_contain_text("mart_student_risk")
    columns = page.locator("table tbody tr").filter(has_text="double precision")
    expect(columns.first).to_be_visible()  # from the catalog, which dbt did not make
    shown: dict[str, Any] = page.request.get(f"{start}manifest.json").json()
    assert "/tmp" not in json.dumps(shown)


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_pages_of_data_can_be_read_by_everybody(
    sign_in: SignIn, theme: str, width: int, tmp_path: Path
) -> None:
    """By axe's rules, in both themes, on a screen and on a telephone; pictures stay in the test's folder."""
    page = sign_in("admin", color_scheme=theme, viewport={"width": width, "height": 900})
    start = page.url
    found = {}
    for number, path in enumerate((
        "marts", f"marts/{TERMS}?grade_level=SS2&order=-average_score&_by=term&_sums=1",
        f"marts/{TERMS}?grade_level=nobody", "marts/mart_student_risk", "dictionary?q=gender", "lineage",
        "lineage?of=mart_student_risk", "sql",
    )):  # fmt: skip
        page.goto(f"{start}{path}")
        page.screenshot(path=tmp_path / f"{number}.png", full_page=True)
        if wrong := unreadable(page):
            found[path] = wrong
    ask(page, "select term, count(*) as rows from mart_student_terms group by 1")
    expect(page.locator("#answer canvas")).to_be_visible()
    page.screenshot(path=tmp_path / "answer.png", full_page=True)
    if wrong := unreadable(page):
        found["answer"] = wrong
    assert found == {}
