"""What is made of any table: types, label, periods, people, the plain rule; what is refused, and why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.columns import look, read_dates, read_numbers, words_of
from ml.errors import TableError
from ml.learning import learn
from ml.table import Question, prepare


def _texts(*cells: str | None) -> pd.Series:
    return pd.Series(cells, dtype=object)


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    count = 120
    score = rng.integers(20, 90, count)
    return pd.DataFrame(
        {
            "Student ID": [f"P{number % 60:03d}" for number in range(count)],
            "year": np.where(np.arange(count) < 60, "2022", "2023"),
            "score": score.astype(str),
            "absences": rng.integers(0, 30, count).astype(str),
            "travel": rng.choice(["short", "long", "?"], count),
            "paid": rng.choice(["yes", "no"], count),
            "result": np.where(score + rng.normal(0, 8, count) < 50, "Fail", "Pass"),
        }
    )


def test_columns_are_told_apart_by_what_they_hold():
    kinds = {
        "number": [_texts("1", "2.5", None, "-3"), _texts("1,5", "2")],
        "boolean": [_texts("yes", "No", None), _texts("T", "F")],
        "category": [_texts("a", "b", "a"), _texts("0-10%", "10-20%")],
    }
    for kind, columns in kinds.items():
        for texts in columns:
            column = look(texts)
            assert (column.kind, column.left_out) == (kind, None)
    assert look(_texts("yes", "No", None)).values.tolist()[:2] == [1.0, 0.0]
    assert look(_texts("1,5", "2")).values.tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (_texts("x", "x", None), "same value"),
        (_texts(None, None), "is empty"),
        (_texts(*(str(number) for number in range(7, 90))), "numbers the rows"),
        (_texts(*(f"Ada {number}" for number in range(90))), "free text or names"),
        (_texts("2024-01-31", "2024-02-01"), "dates"),
    ],
)
def test_what_cannot_be_learnt_from_is_left_out_with_the_reason(texts, reason):
    assert reason in look(texts).left_out


def test_dates_that_can_be_read_in_two_ways_are_not_read():
    assert read_dates(_texts("01/02/2024", "03/04/2024")) is None
    assert read_dates(_texts("13/02/2024", "03/04/2024")).dt.month.tolist() == [2, 4]
    assert read_numbers(_texts("1", "about 2")) is None
    assert words_of("Student ID") == words_of("studentId") == words_of("student_id") == ["student", "id"]


def test_a_table_becomes_a_target_with_the_floors_of_the_schools(table, at_risk):
    prepared = prepare(table, Question("result", ["Fail"], groups=["paid"], capacity=0.2))
    target = prepared.target
    assert [(each.name, each.type) for each in target.features] == [
        ("year", "number"), ("score", "number"), ("absences", "number"), ("travel", "category"),
        ("paid", "category"),
    ]  # fmt: skip
    assert prepared.left_out == {"result": "is what is to be foretold", "Student ID": "says who"}
    assert (target.gate.auc_low, target.leakage) == (at_risk.gate.auc_low, at_risk.leakage)
    assert (target.flag.capacity, target.validation.scheme) == (0.2, "folds")
    assert prepared.rows["label"].sum() == (table["result"] == "Fail").sum()
    assert prepared.rows["travel"].isna().sum() == (table["travel"] == "?").sum()
    assert not any(each.recalibrate for each in target.candidates)
    assert "Values of Student ID come back" in prepared.notes[0]
    assert prepared.rows["student_id"].nunique() == 60


def test_with_time_the_latest_period_is_judged_by_what_came_before(table):
    prepared = prepare(table, Question("result", ["Fail"], time="year"))
    assert prepared.periods == ["2022", "2023"]
    rows, validation = prepared.rows, prepared.target.validation
    assert (validation.scheme, validation.train_cohorts_least) == ("time", 1)
    first, latest = (rows[table["year"] == year] for year in ("2022", "2023"))
    assert first["label_known_at"].max() <= latest["known_at"].min()
    window = learn(rows, _quick(prepared.target), prepared.thresholds).window
    assert (window["held_out_rows"], window["trained_before_rows"]) == (60, 60)


@pytest.mark.parametrize(
    ("cells", "periods"),
    [
        (["2013J", "2013B", "2014B"], ["2013B", "2013J", "2014B"]),
        (["9", "10", "11"], ["9", "10", "11"]),
        (["01.02.2023", "03.02.2022", "01.02.2022"], ["2022-02-01", "2022-02-03", "2023-02-01"]),
    ],
)
def test_periods_are_put_in_order_as_numbers_dates_or_words(table, cells, periods):
    prepared = prepare(
        table.assign(when=np.resize(cells, len(table))), Question("result", ["Fail"], time="when")
    )
    assert prepared.periods == periods


def test_many_dates_are_taken_by_the_year(table):
    days = pd.date_range("2020-01-05", periods=len(table), freq="11D").strftime("%Y-%m-%d")
    prepared = prepare(table.assign(when=days), Question("result", ["Fail"], time="when"))
    assert prepared.periods == ["2020", "2021", "2022", "2023"]


def test_the_plain_rule_is_found_on_the_rows_to_learn_from_alone(table):
    question = Question("result", ["Fail"], time="year")
    rule = prepare(table, question).target.rule.warnings[0]
    assert (rule.feature, rule.below) == ("score", "rule_mark")
    is_late = table["year"] == "2023"
    told = table.assign(absences=np.where(is_late & (table["result"] == "Fail"), "29", table["absences"]))
    assert prepare(told, question).target.rule.warnings == [rule]


def test_where_there_is_no_number_a_word_is_the_rule(table):
    words = table[["travel", "paid", "result"]].assign(
        mood=np.where(table["result"] == "Fail", "sad", "glad")
    )
    words.loc[:5, "mood"] = "glad"
    question = Question("result", ["Fail"], groups=["paid"])
    warning = prepare(words, question).target.rule.warnings[0]
    assert warning.feature in ("mood is sad", "mood is glad")
    assert (warning.above is not None) == (warning.feature == "mood is sad")


def test_a_comparison_makes_the_number_known_and_score_models_run(table):
    numbers = table.drop(columns=["result"])
    below = prepare(numbers, Question("score", ["<50"]))
    above = prepare(numbers, Question("score", [">=70"]))
    scores = numbers["score"].astype(float)
    assert below.rows["label"].tolist() == (scores < 50).astype(int).tolist()
    assert above.rows["label"].tolist() == (scores >= 70).astype(int).tolist()
    assert below.rows["label_value"].tolist() == scores.tolist()
    for prepared in (below, above):
        assert {"ridge", "boosted_score", "forest_score"} <= {
            each.algorithm for each in prepared.target.candidates
        }
        assert "score" not in [each.name for each in prepared.target.features]
        mark = prepared.thresholds["mark"]
        assert ((prepared.rows["label_value"] < mark) == (prepared.rows["label"] == 1)).all()
    words = prepare(table, Question("result", ["Fail"]))
    assert words.target.label.value is None


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question("grade", ["Fail"]), "--target: there is no column 'grade'. There are Student ID, year"),
        (Question("result", ["Fail"], drop=["x"]), "--drop: there is no column 'x'"),
        (Question("result", ["fail"]), r"result is never fail: it holds '(Pass|Fail)' \(\d+\)"),
        (Question("result", ["Fail", "Lost"]), "never Lost"),
        (Question("score", ["<10"]), "score is never <10: it holds numbers from"),
        (Question("travel", ["<10"]), "compares numbers, but travel holds words"),
        (Question("result", ["Fail", "Pass"]), "is always Fail or Pass"),
        (Question("result", ["Fail"], time="score"), "different values; 2 to 24 periods are needed"),
        (
            Question("result", ["Fail"], drop=["year", "score", "absences", "travel", "paid"]),
            "No column is left to learn from",
        ),
    ],
)
def test_a_question_that_cannot_be_answered_says_what_is_there(table, question, said):
    with pytest.raises(TableError, match=said) as refused:
        prepare(table, question)
    assert "P00" not in refused.value.detail, "nobody is named"


def test_a_table_to_judge_by_is_never_learnt_from(table):
    rng = np.random.default_rng(5)
    test = table.assign(result=rng.permutation(table["result"]))
    prepared = prepare(table, Question("result", ["Fail"]), test)
    assert (len(prepared.rows), len(prepared.test)) == (len(table), len(test))
    learnt = learn(prepared.rows, _quick(prepared.target), prepared.thresholds, test=prepared.test)
    assert learnt.metrics["held_out"]["model"]["auc"] < 0.7, "the outcomes to judge by are shuffled"
    with pytest.raises(TableError, match="lacks the columns absences"):
        prepare(table, Question("result", ["Fail"]), test.drop(columns=["absences"]))


def test_the_parts_of_a_total_are_refused_by_name_even_for_a_yes_or_no(table):
    rng = np.random.default_rng(3)
    count = 600
    test, exam = rng.integers(10, 41, count), rng.integers(10, 61, count)
    marks = pd.DataFrame(
        {
            "attendance": rng.integers(50, 100, count).astype(str),
            "cumulative": (test + exam + rng.normal(0, 6, count)).round(1).astype(str),
            "test": test.astype(str), "exam": exam.astype(str), "total": (test + exam).astype(str),
            "passed": np.where(test + exam >= 60, "yes", "no"),
        }
    )  # fmt: skip
    for question in (Question("total", ["<60"], drop=["passed"]), Question("passed", ["no"], drop=["total"])):
        prepared = prepare(marks, question)
        learnt = learn(prepared.rows, prepared.target, prepared.thresholds)
        assert not learnt.verdict.is_published
        assert learnt.verdict.refusals[0].startswith(("exam + test determines", "test + exam determines"))


def _quick(target):
    gate = target.gate.model_copy(update={"draws": 20})
    return target.model_copy(update={"gate": gate, "candidates": target.candidates[:1]})
