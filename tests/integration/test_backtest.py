"""`laurel backtest` from the command line: any file, a clear answer, nobody named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from cli.main import cli


def _backtest(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["backtest", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def csv_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three years of 300 students each; absences and the last average foretell who fails."""
    rng = np.random.default_rng(4)
    count = 900
    average, absences = rng.normal(60, 10, count), rng.poisson(6, count)
    risk = 1 / (1 + np.exp(0.35 * (average - 55) - 0.3 * (absences - 6)))
    table = pd.DataFrame(
        {
            "pupil_id": [f"NAME{number:04d}" for number in rng.permutation(count) % 500],
            "year": 2021 + np.arange(count) // 300,
            "average": average.round(1),
            "absences": absences,
            "gender": rng.choice(["F", "M"], count),
            "outcome": np.where(rng.random(count) < risk, "fail", "pass"),
        }
    )
    path = tmp_path_factory.mktemp("tables") / "school.csv"
    table.to_csv(path, index=False, sep=";", encoding="utf-8-sig")
    return path


def test_a_planted_signal_is_published_and_the_json_says_how_it_was_judged(csv_path, tmp_path):
    card = tmp_path / "card.html"
    question = ["--csv", csv_path, "--target", "outcome", "--positive", "fail", "--time", "year"]
    result = _backtest(*question, "--groups", "gender", "--capacity", "15%", "--card", card, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["published"], answer["reasons"]
    assert answer["metrics"]["model"]["auc"] > answer["metrics"]["rule"]["auc"]
    assert answer["metrics"]["k"] == 45
    assert answer["window"]["judged_by"] == "2023"
    assert answer["window"]["learnt_from"] == ["2021", "2022"]
    assert answer["window"]["held_out_rows"] == 300
    assert answer["rule"] == {"feature": "average", "risk": "low"}
    assert answer["left_out"]["pupil_id"] == "says who"
    assert {group["group"] for group in answer["groups"]} == {"F", "M"}
    assert "NAME0" not in result.output + card.read_text()


def test_the_same_question_has_the_same_answer(csv_path):
    question = ["--csv", csv_path, "--target", "outcome", "--positive", "fail", "--json"]
    assert _backtest(*question).stdout == _backtest(*question).stdout


def test_noise_is_declined_in_words_with_exit_status_0(csv_path, tmp_path):
    table = pd.read_csv(csv_path, sep=";")
    table["outcome"] = np.random.default_rng(1).permutation(table["outcome"])
    table.to_csv(tmp_path / "noise.csv", index=False)
    result = _backtest("--csv", tmp_path / "noise.csv", "--target", "outcome", "--positive", "fail")
    assert result.exit_code == 0
    assert "not published" in result.output
    assert "(AUC)" in result.output
    assert "rows of the same pupil_id are kept on one side" in result.output
    assert "NAME0" not in result.output


def test_another_file_can_be_judged_by(csv_path, tmp_path):
    table = pd.read_csv(csv_path, sep=";")
    for name, part in (("early", table["year"] < 2023), ("late", table["year"] == 2023)):
        table[part].to_csv(tmp_path / f"{name}.csv", index=False)
    question = ["--csv", tmp_path / "early.csv", "--test-csv", tmp_path / "late.csv", "--target", "outcome"]
    answer = json.loads(_backtest(*question, "--positive", "fail", "--drop", "year", "--json").stdout)
    assert answer["window"]["judged_by"] == "the test file"
    assert (answer["window"]["trained_before_rows"], answer["window"]["held_out_rows"]) == (600, 300)
    assert answer["metrics"]["model"]["auc"] > 0.75


@pytest.mark.parametrize(
    ("more", "what"),
    [(["--time", "year"], "later cohort"), ([], "table"), (["--test-csv", "self"], "test file")],
)
def test_what_a_model_is_judged_by_is_called_what_it_is(csv_path, tmp_path, more, what):
    card = tmp_path / "card.md"
    more = [csv_path if each == "self" else each for each in more]
    question = ["--csv", csv_path, "--target", "outcome", "--positive", "fail", "--card", card, *more]
    result = _backtest(*question)
    names = {"later cohort", "table", "test file"}
    for text in (result.output, card.read_text()):
        assert f"The {what} has " in text
        assert not any(f" the {name} " in text.lower() for name in names - {what, "table"})
    judged = {
        "later cohort": "latest cohort was held out",
        "table": "has no time",
        "test file": "a file of its own",
    }
    assert judged[what] in card.read_text()


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        ("a,outcome\n1,fail\n2,pass\n", ["--target", "result"], "There are a, outcome"),
        ("a,outcome\n1,pass\n2,pass\n", [], "outcome is never fail: it holds 'pass' (2)"),
        ("a,outcome\n1,fail\n2,fail\n", [], "always fail"),
        ("a,outcome\n", [], "no rows"),
        ("", [], "empty"),
        ("a,a,outcome\n1,2,fail\n1,3,pass\n", [], "several columns named a"),
        ("a,outcome\n1,fail\n2,pass\n", ["--capacity", "lots"], "no share between 0 and 1"),
        ("a,outcome\n1,fail\n2,pass\n", ["--time", "a", "--test-csv", "self"], "exclude each other"),
    ],
)
def test_bad_input_ends_with_status_2_and_says_what_to_do(tmp_path, content, more, said):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    more = [path if each == "self" else each for each in more]
    result = _backtest("--csv", path, "--target", "outcome", "--positive", "fail", *more)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_the_first_system_s_perfect_score_is_refused_by_name(shared_data: Path):
    path = shared_data / "laurel_high" / "academic_history_data.csv"
    question = ["--csv", path, "--target", "Total Score", "--positive", "<60", "--json"]
    answer = json.loads(_backtest(*question).stdout)
    assert not answer["published"]
    assert "Test Score" in answer["reasons"][0]
    assert "Exam Score" in answer["reasons"][0]
    assert "determines the target" in answer["reasons"][0]
