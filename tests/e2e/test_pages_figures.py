"""The pages of analysts in a real browser: resources and insights, beside the marts they are made of."""

from __future__ import annotations

import csv
import io
import re

import pytest
from playwright.sync_api import Page, expect

from elt.warehouse import connect
from tests.e2e.demo_pages import LOOKS, School, SignIn, follow, unreadable

pytestmark = pytest.mark.e2e

EQUIPMENT = (
    "students_per_classroom", "students_per_laboratory", "students_per_computer", "students_per_toilet",
    "library_books_per_student", "electricity_hours", "water_hours",
)  # fmt: skip


def test_an_analyst_sees_what_schools_have_over_the_years(sign_in: SignIn, school: School) -> None:
    page = sign_in("analyst")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Resources").click()
    known = school.rows("select * from marts.mart_school_resources order by school_year, school_id")
    schools = sorted({row["school_id"] for row in known})
    years = sorted({row["school_year"] for row in known})
    assert len(schools) > 1
    assert len(years) > 1
    for measure in EQUIPMENT:
        page.locator(f"#{measure} canvas").hover()  # what the browser says of tooltips is noted
        values = {(row["school_year"], row["school_id"]): row[measure] for row in known}
        assert figures(page, measure) == [
            [year, *(as_figure(values.get((year, each))) for each in schools)] for year in years
        ]
        assert taken_away(page, school, measure) == figures(page, measure)
    page.get_by_label("School", exact=True).select_option(schools[0])
    page.get_by_label("School year").select_option(years[0])
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(re.compile(f"school_id={schools[0]}"))
    (row,) = [row for row in known if (row["school_id"], row["school_year"]) == (schools[0], years[0])]
    tile = page.locator(".tiles div", has_text="Students per toilet").locator("dd")
    expect(tile).to_have_text(f"{row['students_per_toilet']:.1f}")
    expect(page.locator("table", has_text="In poor condition").locator("tbody tr")).to_have_count(1)


def test_loads_and_staffing_are_for_administrators_and_subjects_for_analysts_as_far_as_groups_are_large(
    sign_in: SignIn, school: School
) -> None:
    (newest,) = school.rows(
        "select school_id, max(school_year) as year from core.fct_assessments group by 1 order by 1 limit 1"
    )
    chosen = f"resources?school_id={newest['school_id']}&school_year={newest['year']}"
    counted = school.rows(
        f"""
        select subject, count(distinct student_id)::float8 / count(distinct teacher_id) as per_teacher
        from core.fct_assessments
        where school_id = '{newest["school_id"]}' and school_year = '{newest["year"]}' and term = 'Third Term'
        group by 1 order by 1
        """
    )
    periods = school.rows(
        f"""
        select teacher_id, count(distinct (weekday, period)) as periods from staging.stg_timetables
        where school_id = '{newest["school_id"]}' and academic_year = '{newest["year"]}'
            and term = 'Third Term'
        group by 1
        """
    )
    loads = school.rows(
        f"""
        select load_ratio from marts.mart_teacher_load
        where school_id = '{newest["school_id"]}' and school_year = '{newest["year"]}' and term_order = 3
        """
    )
    page = sign_in("admin")
    start = page.url
    page.goto(f"{start}{chosen}")
    assert [(label, float(value)) for label, value in figures(page, "students_per_teacher")] == [
        (row["subject"], pytest.approx(float(row["per_teacher"]), abs=0.005)) for row in counted
    ]
    assert counted != []
    assert {label.partition(",")[0]: int(number) for label, number, _mean in figures(page, "periods")} == {
        row["teacher_id"]: row["periods"] for row in periods
    }
    shown = [int(by_students) for _label, by_students, _by_timetable in figures(page, "loads")]
    assert sum(shown) == len(loads)
    assert shown[-1] == sum(row["load_ratio"] >= 1.5 for row in loads)
    page = sign_in("analyst")
    page.goto(f"{start}{chosen}")
    expect(page.get_by_role("main")).to_contain_text("Loads are figures of single teachers")
    for chart in ("loads", "periods", "students_per_teacher"):
        expect(page.locator(f"#{chart}")).to_have_count(0)
    classes = {label for label, _value in figures(page, "students_per_class")}
    hidden = {row["subject"] for row in school.rows(
        f"""
        select distinct subject from intermediate.int_subject_disclosure
        where school_id = '{newest["school_id"]}' and school_year = '{newest["year"]}'
            and term = 'Third Term' and not is_shown
        """
    )}  # fmt: skip
    assert classes == {row["subject"] for row in counted} - hidden
    assert hidden != set()


def test_insights_say_what_was_found_and_what_was_not(sign_in: SignIn, school: School) -> None:
    known = school.rows("select * from marts.mart_insights")
    page = sign_in("analyst")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Insights").click()
    rows = page.locator("tr[data-state]")
    expect(rows).to_have_count(len(known))
    found = [row for row in known if row["is_effect_found"]]
    assert 0 < len(found) < len(known)
    assert set(school.key.effect_factors["survey_responses"]) <= {row["factor"] for row in found}
    states = rows.evaluate_all("rows => rows.map(row => row.dataset.state)")
    assert states == ["found"] * len(found) + ["none"] * (len(known) - len(found))
    tiles = page.locator(".tiles div", has_text="Effects found").locator("dd").first
    expect(tiles).to_have_text(str(len(found)))
    expect(page.get_by_role("main")).to_contain_text(f"{known[0]['comparison_count']} comparisons were made")
    for measure in ("d", "r", "eta_squared"):
        page.locator(f"#{measure} canvas").hover()  # what the browser says of tooltips is noted
        ends = ("effect", "low", "high", "adjusted_low", "adjusted_high")
        assert sorted(row[1:] for row in figures(page, measure)) == sorted(
            [as_figure(row[end]) for end in ends] for row in known if row["measure"] == measure
        )
        assert taken_away(page, school, measure) == figures(page, measure)
    habits = rows.filter(has_text="The past JAMB score by study habits:")
    means = next(row["group_means"] for row in found if row["outcome"] == "past_jamb_score")
    expect(habits).to_contain_text("That is a large effect.")
    for mean in means.split(", "):
        expect(habits).to_contain_text(mean)
    assert "_" not in "".join(page.locator("tr[data-state] th").all_inner_texts())  # all factors have words


def test_insights_can_be_narrowed_and_finding_nothing_is_said(sign_in: SignIn) -> None:
    page = sign_in("admin")
    page.goto(f"{page.url}insights?outcome=attendance_pct&only_found=true")
    expect(page.get_by_role("main")).to_contain_text("No effect found in this choice.")
    follow(page.get_by_role("link", name="Show all comparisons"))
    page.get_by_label("Dataset").select_option("survey_responses")
    page.get_by_label("Comparisons").select_option("true")
    page.get_by_role("button", name="Show").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/insights?dataset=survey_responses&outcome=&only_found=true")
    shown = page.locator("tr[data-state]").evaluate_all("rows => rows.map(row => row.dataset.state)")
    assert set(shown) == {"found"}


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_every_page_of_figures_can_be_read_by_everybody(sign_in: SignIn, theme: str, width: int) -> None:
    page = sign_in("admin", color_scheme=theme, viewport={"width": width, "height": 900})
    start = page.url
    found = {}
    for path in (
        "resources", "resources?school_id=nowhere", "resources?school_year=2025/2026", "insights",
        "insights?dataset=survey_responses&only_found=true", "insights?outcome=nothing",
    ):  # fmt: skip
        page.goto(f"{start}{path}")
        if wrong := unreadable(page):
            found[path] = wrong
    assert found == {}


def test_planted_text_shows_as_text_and_wrong_addresses_say_so(
    sign_in: SignIn, school: School, faults: list[str]
) -> None:
    page = sign_in("admin")
    start = page.url
    planted = "<script>document.title = 'x'</script>"
    with connect(school.server.settings.database_url.get_secret_value()) as connection:
        connection.execute(
            "update raw.school_resources set school_id = %s where academic_year = '2025/2026'", (planted,)
        )
    page.goto(f"{start}resources")
    expect(page.get_by_role("rowheader", name=planted).first).to_be_visible()
    assert page.title() == "Resources · Laurel"
    for wrong in ("resources?school_id=a%00b", "resources?csv=nothing", "insights?only_found=perhaps"):
        answer = page.goto(f"{start}{wrong}")
        assert answer is not None
        assert answer.status == 422, wrong
    faults.clear()  # the browser tells of these itself


def figures(page: Page, chart: str) -> list[list[str]]:
    """What the table of a chart says: each row's label and its figures as data."""
    rows: list[list[str]] = page.locator(f"#{chart} tbody tr").evaluate_all(
        "rows => rows.map(row => [row.cells[0].textContent.trim(), ...[...row.cells].slice(1)"
        ".map(cell => cell.dataset.value === '' ? '' : String(Number(cell.dataset.value)))])"
    )
    return rows


def as_figure(value: object) -> str:
    """A figure of the database as `figures` gives it."""
    return "" if value is None else f"{float(str(value)):g}"


def taken_away(page: Page, school: School, chart: str) -> list[list[str]]:
    """The same from the chart's CSV."""
    address = page.locator(f"#{chart}").get_by_role("link", name="CSV").get_attribute("href")
    _header, *lines = csv.reader(io.StringIO(page.request.get(f"{school.server.url}{address}").text()))
    return [[label, *(as_figure(cell or None) for cell in cells)] for label, *cells in lines]
