"""On the first real files every figure of the marts is what pandas makes of the same files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from types import ModuleType
from uuid import UUID, uuid4

import jinja2
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from uuid6 import uuid7

from elt.loading.loader import load_version
from elt.people.principals import Principal
from elt.serving.marts import provenance
from elt.settings import PROJECT_DIR
from elt.store.base import open_store
from elt.store.object_keys import new_object_key
from elt.transforming.transform import transform
from elt.uploads.accept import NewUpload, accept_upload
from elt.warehouse import Connection, connect
from tests.conftest import settings_of

FILES = {
    "students": "laurel_high/students_bio_data.csv",
    "teachers": "laurel_high/Teachers_bio_data.csv",
    "guardians": "laurel_high/parents_bio_data.csv",
    "academic_history": "laurel_high/academic_history_data.csv",
    "survey_responses": "laurel_high/survey_student_data.csv",
    "student_performance": "student_performance/StudentsPerformance.csv",
}
GRADES = ["JSS1", "JSS2", "JSS3", "SS1", "SS2", "SS3"]
TERMS = ["First Term", "Second Term", "Third Term"]
STUDENT = ["school_id", "student_id"]


@pytest.fixture(scope="module")
def warehouse(
    postgres_server, built_template: str, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Connection]:
    """A database into which the six real files were handed in, loaded and built."""
    url = postgres_server.create_database("marts_values", built_template)
    settings = settings_of(url, tmp_path_factory.mktemp("home"))
    store = open_store(settings.resolved_store_url)
    researcher = Principal("key:researcher", "researcher")
    with connect(url) as connection:
        for dataset, path in FILES.items():
            upload_id = UUID(int=uuid7().int)
            name = Path(path).name
            stored = store.put(new_object_key(upload_id, 1, name), [(shared_data / path).read_bytes()])
            new = NewUpload(dataset=dataset, filename=name, school_id="main")
            accept_upload(connection, store, upload_id, new, stored, researcher)
            assert load_version(settings, store, upload_id, 1).status == "loaded"
        transform(settings, uuid4())
        yield connection
    postgres_server.drop_database("marts_values")


@pytest.fixture(scope="module")
def assessments(warehouse: Connection, shared_data: Path) -> pd.DataFrame:
    """The history file with the school year that its rows should have, by the documented rule."""
    history = pd.read_csv(shared_data / FILES["academic_history"])
    history.columns = [name.lower().replace(" ", "_") for name in history.columns]
    row = warehouse.execute(
        """
        select versions.ranked_at from ops.uploads join ops.upload_versions versions using (upload_id)
        where dataset = 'academic_history'
        """
    ).fetchone()
    day = row["ranked_at"].date()
    order = history["grade_level"].map(GRADES.index)
    highest = order.groupby(history["student_id"]).transform("max")
    # All students have a third term in their highest grade; it begins on 25 April.
    running = day.year - 1 if (day.month, day.day) >= (4, 25) else day.year - 2
    start = running - (highest - order)
    return history.assign(
        school_id="main",
        start=start,
        school_year=start.astype(str) + "/" + (start + 1).astype(str),
        term_order=history["term"].map(TERMS.index) + 1,
        failed=history["total_score"] < 50,
    )


def read(warehouse: Connection, mart: str, key: list[str]) -> pd.DataFrame:
    """A mart, sorted by its key; exact numbers stay exact."""
    rows = warehouse.execute(f"select * from marts.{mart}").fetchall()
    return pd.DataFrame(rows).sort_values(key).reset_index(drop=True)


def exactly(sums: pd.Series, counts: pd.Series) -> list[Decimal]:
    """Means of whole numbers, rounded half up to 2 places without any float in between."""
    return [
        (Decimal(int(total)) / int(count)).quantize(Decimal("0.01"), ROUND_HALF_UP)
        for total, count in zip(sums, counts, strict=True)
    ]


def test_student_terms(warehouse, assessments):
    key = [*STUDENT, "school_year", "term_order"]
    mart = read(warehouse, "mart_student_terms", key)
    expected = (
        assessments.groupby([*key, "term", "grade_level"], as_index=False)
        .agg(
            count=("subject", "size"),
            points=("total_score", "sum"),
            lowest=("total_score", "min"),
            highest=("total_score", "max"),
            deviation=("total_score", "std"),
            present=("attendance", "sum"),
            failed=("failed", "sum"),
        )
        .sort_values(key)
        .reset_index(drop=True)
    )

    assert len(mart) == 5415
    for column in ("student_id", "school_year", "term", "grade_level"):
        assert list(mart[column]) == list(expected[column])
    assert list(mart["average_score"]) == exactly(expected["points"], expected["count"])
    assert list(mart["attendance_pct"]) == exactly(expected["present"], expected["count"])
    assert list(mart["failure_count"]) == list(expected["failed"])
    assert list(mart["passed_count"]) == list(expected["count"] - expected["failed"])
    assert list(mart["lowest_score"].astype(int)) == list(expected["lowest"])
    assert list(mart["highest_score"].astype(int)) == list(expected["highest"])
    assert np.allclose(mart["score_deviation"].astype(float), expected["deviation"], atol=0.0051)
    absent = expected["present"] < 90 * expected["count"]
    assert list(mart["is_chronically_absent"]) == list(absent)

    average = mart["average_score"].astype(float)
    same_class = [mart[name] for name in ("school_year", "grade_level", "term")]
    rank = average.groupby(same_class).rank(method="min", ascending=False).astype(int)
    assert list(mart["class_rank"]) == list(rank)
    previous = rank.groupby(mart["student_id"]).shift()
    assert (previous - rank).dropna().tolist() == mart["rank_change"].dropna().tolist()
    change = average.groupby(mart["student_id"]).diff().round(2)
    assert np.allclose(mart["score_change"].astype(float), change, equal_nan=True)


def test_student_overview(warehouse, assessments, shared_data):
    mart = read(warehouse, "mart_student_overview", STUDENT)
    students = pd.read_csv(shared_data / FILES["students"], keep_default_na=False).sort_values("Student ID")
    guardians = pd.read_csv(shared_data / FILES["guardians"]).set_index("Student ID")
    teachers = pd.read_csv(shared_data / FILES["teachers"]).set_index("Teacher ID")
    rows = assessments.assign(experience=assessments["teacher_id"].map(teachers["Years of Experience"]))
    by_student = rows.groupby("student_id").agg(
        count=("subject", "size"),
        points=("total_score", "sum"),
        failed=("failed", "sum"),
        present=("attendance", "sum"),
        experience=("experience", "mean"),
        jamb=("jamb_score", "max"),
    )

    assert list(mart["student_id"]) == list(students["Student ID"]) == list(by_student.index)
    assert mart["is_known_student"].all()
    assert list(mart["grade_level"]) == list(students["Grade Level"])
    assert list(mart["is_boarding"]) == list(students["Living Arrangement"] == "Boarding")
    assert list(mart["has_disorder"]) == list(students["Disorder"] == "Yes")
    activities = students["Extracurricular Activities"]
    assert list(mart["activities_count"]) == [
        0 if text == "None" else len(text.split(",")) for text in activities
    ]
    assert list(mart["average_score"]) == exactly(by_student["points"], by_student["count"])
    assert list(mart["attendance_pct"]) == exactly(by_student["present"], by_student["count"])
    assert list(mart["failure_count"]) == list(by_student["failed"])
    assert np.allclose(mart["teacher_experience_mean"].astype(float), by_student["experience"], atol=0.0051)
    assert np.allclose(mart["jamb_score"].astype(float), by_student["jamb"], equal_nan=True)
    engagement = guardians.loc[mart["student_id"], "Engagement in School Activities"]
    assert list(mart["guardian_engagement"]) == list(engagement)


def test_class_summary_and_subject_performance(warehouse, assessments):
    classes = ["school_year", "grade_level", "term_order"]
    mart = read(warehouse, "mart_class_summary", classes)
    by_student = assessments.groupby([*classes, "student_id"], as_index=False).agg(
        average=("total_score", "mean"), failed=("failed", "sum"), count=("subject", "size")
    )
    expected = by_student.groupby(classes).agg(
        students=("average", "size"), average=("average", "mean"), deviation=("average", "std"),
        failing=("failed", lambda failed: (failed > 0).sum()), failed=("failed", "sum"),
        count=("count", "sum"),
    )  # fmt: skip

    assert len(mart) == len(expected)
    assert list(mart["student_count"]) == list(expected["students"])
    assert np.allclose(mart["average_score"].astype(float), expected["average"], atol=0.0101)
    assert np.allclose(
        mart["score_deviation"].astype(float), expected["deviation"], atol=0.0101, equal_nan=True
    )
    assert list(mart["failing_student_count"]) == list(expected["failing"])
    assert np.allclose(
        mart["pass_rate"].astype(float), 1 - expected["failed"] / expected["count"], atol=0.00005
    )

    subjects = ["school_year", "term_order", "grade_level", "subject"]
    mart = read(warehouse, "mart_subject_performance", subjects)
    expected = assessments.groupby(subjects).agg(
        students=("student_id", "nunique"), teachers=("teacher_id", "nunique"), points=("total_score", "sum"),
        deviation=("total_score", "std"), test=("test_score", "sum"), exam=("exam_score", "sum"),
        present=("attendance", "sum"), failed=("failed", "sum"),
    )  # fmt: skip
    assert len(mart) == len(expected)
    assert list(mart["student_count"]) == list(expected["students"])
    assert list(mart["teacher_count"]) == list(expected["teachers"])
    for column, sums in (
        ("average_score", "points"), ("average_test_score", "test"), ("average_exam_score", "exam"),
        ("attendance_pct", "present"),
    ):  # fmt: skip
        assert list(mart[column]) == exactly(expected[sums], expected["students"]), column
    assert list(mart["failure_count"]) == list(expected["failed"])
    assert np.allclose(
        mart["score_deviation"].astype(float), expected["deviation"], atol=0.0051, equal_nan=True
    )


def test_teacher_load(warehouse, assessments):
    key = ["teacher_id", "school_year", "term_order"]
    mart = read(warehouse, "mart_teacher_load", key)
    taught = assessments.assign(group=assessments["subject"] + assessments["grade_level"])
    expected = taught.groupby(key).agg(
        classes=("group", "nunique"), subjects=("subject", "nunique"), students=("student_id", "nunique"),
        rows=("subject", "size"), points=("total_score", "sum"),
    )  # fmt: skip

    assert len(mart) == len(expected)
    assert list(mart["class_count"]) == list(expected["classes"])
    assert list(mart["subject_count"]) == list(expected["subjects"])
    assert list(mart["student_count"]) == list(expected["students"])
    assert list(mart["average_score"]) == exactly(expected["points"], expected["rows"])
    ordinary = expected.groupby(["school_year", "term_order"])["students"].transform("mean")
    assert np.allclose(mart["load_ratio"].astype(float), expected["students"] / ordinary, atol=0.00005)


def test_student_scores(warehouse, shared_data):
    mart = read(warehouse, "mart_student_scores", ["line"])
    file = pd.read_csv(shared_data / FILES["student_performance"])
    total = file[["math score", "reading score", "writing score"]].sum(axis=1)
    names = ["Fail", "Pass", "Good", "Very Good", "Excellent"]

    assert list(mart["line"]) == list(file.index + 2)
    assert list(mart["total_score"]) == list(total)
    assert list(mart["average_score"]) == exactly(total, pd.Series([3] * len(file)))
    expected = pd.cut(total, [-1, 149, 194, 224, 269, 300], labels=names)
    assert list(mart["performance_category"]) == list(expected)


def test_features_know_nothing_of_later_terms(warehouse):
    key = ["student_id", "as_of_date"]
    features = read(warehouse, "mart_student_features", key)
    average = features["term_average"].astype(float)
    by_student = average.groupby(features["student_id"])

    assert len(features) == 5415
    assert not features.duplicated(key).any()
    to_date = by_student.expanding().mean().reset_index(drop=True)
    assert np.allclose(features["average_to_date"].astype(float), to_date, atol=0.0051)
    prior = by_student.transform(lambda values: values.expanding().mean().shift())
    assert np.allclose(features["prior_average"].astype(float), prior, atol=0.0051, equal_nan=True)
    assert np.allclose(
        features["next_term_average"].astype(float), by_student.shift(-1), atol=0.0001, equal_nan=True
    )
    failures = features["failure_count"].groupby(features["student_id"]).cumsum()
    assert list(features["failures_to_date"]) == list(failures)
    assert (features["known_at"] > features["as_of_date"]).all()


def test_insights_state_effects_as_textbooks_do_and_find_none_in_random_data(warehouse, shared_data):
    mart = read(warehouse, "mart_insights", ["dataset", "factor", "outcome"])
    mart = mart.set_index(["factor", "outcome"])
    survey = pd.read_csv(shared_data / FILES["survey_responses"], keep_default_na=False)
    score = survey["Past Jamb Score"].astype(float)

    with_tutor, without = score[survey["Private Tutors"] == "Yes"], score[survey["Private Tutors"] == "No"]
    n1, n2 = len(with_tutor), len(without)
    pooled = math.sqrt(((n1 - 1) * with_tutor.var() + (n2 - 1) * without.var()) / (n1 + n2 - 2))
    d = (with_tutor.mean() - without.mean()) / pooled
    found = mart.loc[("private_tutors", "past_jamb_score")]
    assert float(found["effect"]) == pytest.approx(d, abs=0.0001)
    error = math.sqrt((n1 + n2) / (n1 * n2) + d * d / (2 * (n1 + n2)))
    assert float(found["low"]) == pytest.approx(d - 1.959964 * error, abs=0.001)

    hours = survey["Weekly Hours Spent Reading"].str.extract(r"(\d+)")[0].astype(float)
    found = mart.loc[("weekly_reading_hours", "past_jamb_score")]
    r = stats.pearsonr(hours, score)
    assert float(found["effect"]) == pytest.approx(r.statistic, abs=0.0001)
    assert float(found["high"]) == pytest.approx(r.confidence_interval().high, abs=0.001)

    groups = [score[survey["Study Habits"] == word] for word in ("Daily", "Occasional", "Rarely")]
    found = mart.loc[("study_habits", "past_jamb_score")]
    f = stats.f_oneway(*groups).statistic
    assert float(found["effect"]) == pytest.approx(2 * f / (2 * f + len(score) - 3), abs=0.0001)

    assert len(mart) == 52
    assert (mart["comparison_count"] == 52).all()
    assert not mart["is_effect_found"].any()
    assert mart["verdict"].str.startswith("no effect found").all()


@pytest.fixture(scope="module")
def effects() -> ModuleType:
    """The macros that write the SQL of intervals."""
    source = (PROJECT_DIR / "dbt" / "macros" / "effects.sql").read_text()
    return jinja2.Environment(autoescape=False).from_string(source).module  # type: ignore[return-value]


def evaluate(warehouse: Connection, expression: str) -> float:
    row = warehouse.execute(f"select ({expression})::float8 as value").fetchone()
    return row["value"]


@pytest.mark.parametrize(("n", "k", "eta_squared"), [(600, 3, 0.004), (600, 5, 0.05), (200, 3, 0.15)])
def test_the_interval_of_eta_squared_is_nearly_the_exact_one(warehouse, effects, n, k, eta_squared):
    """The exact ends are the non-centralities under which the F found lies on the edge."""
    f = eta_squared / (1 - eta_squared) * (n - k) / (k - 1)

    def exact(probability: float) -> float:
        def miss(noncentrality: float) -> float:
            return float(stats.ncf.cdf(f, k - 1, n - k, noncentrality) - probability)

        if miss(1e-9) < 0:
            return 0.0
        noncentrality = optimize.brentq(miss, 1e-9, 1000)
        return float(noncentrality / (noncentrality + n))

    low, high = (
        evaluate(warehouse, effects.bound_of_eta_squared(str(eta_squared), str(n), str(k), "1.959964", sign))
        for sign in (-1, 1)
    )

    assert low == pytest.approx(exact(0.975), abs=0.005)
    assert high == pytest.approx(exact(0.025), abs=0.01)


@pytest.mark.parametrize("probability", [0.025, 0.05 / 52, 0.00001])
def test_the_quantile_behind_the_intervals_is_that_of_the_normal_distribution(
    warehouse, effects, probability
):
    found = evaluate(warehouse, effects.upper_normal_quantile(f"{probability:.10f}"))
    assert found == pytest.approx(stats.norm.isf(probability), abs=0.0005)


def test_every_figure_leads_to_its_lines(warehouse, assessments):
    row = assessments[(assessments["student_id"] == "STU011") & (assessments["term"] == "Third Term")].iloc[0]
    same = assessments[
        (assessments["student_id"] == "STU011")
        & (assessments["school_year"] == row["school_year"])
        & (assessments["term"] == "Third Term")
    ]
    key = {
        "school_id": "main", "student_id": "STU011", "school_year": row["school_year"], "term": "Third Term"
    }  # fmt: skip

    found = provenance(warehouse, "mart_student_terms", key, "average_score")

    assert found.total == len(same)
    assert sorted(line.line for line in found.lines) == sorted(same.index + 2)
    assert {line.values["total_score"] for line in found.lines} == set(same["total_score"])
