"""Model cards of real trainings: whole, self-contained, true to the facts, and without a single student."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest

from ml.card import render_card, render_card_text
from ml.fairness import Estimate, GroupResult
from ml.gate import refuse
from ml.learning import Learnt, learn
from ml.registry import RegisteredModel
from ml.target import Candidate, Target, Value

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Reads a page; fails where tags do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def register(learnt: Learnt, target: Target, **more: Any) -> dict[str, Any]:
    """What `to_dict` gives for the line that this training would have in the database."""
    model = RegisteredModel(
        model_id=UUID(int=7),
        target=target.name,
        version=3,
        algorithm=learnt.algorithm,
        created_at=datetime(2026, 9, 1, 7, tzinfo=UTC),
        code_version="0.1.0+0a1b2c3d",
        data_window=json.loads(json.dumps(learnt.window)),
        features={"digest": target.features_digest, "columns": target.feature_facts()},
        metrics=json.loads(json.dumps(learnt.metrics, allow_nan=False)),
        gate=learnt.verdict.to_dict(),
        object_key=None,
        is_published=learnt.verdict.is_published,
        accepted_by=None,
        accepted_at=None,
        accepted_reason=None,
    )
    return {**model.to_dict(), **more}


@pytest.fixture(scope="module")
def published(make_rows, at_risk, thresholds) -> dict[str, Any]:
    facts = register(learn(make_rows(), at_risk, thresholds), at_risk)
    assert facts["is_published"]
    facts["object_key"] = "models/at_risk/3.skops"
    facts["metrics"]["object"] = {"sha256": "ab" * 32, "bytes": 10116}
    return facts


@pytest.fixture(scope="module")
def refused(make_rows, at_risk, thresholds) -> dict[str, Any]:
    facts = register(learn(make_rows(signal=False), at_risk, thresholds), at_risk)
    assert not facts["is_published"]
    return facts


def test_a_card_is_one_page_that_needs_nothing_else(published, at_risk):
    page = render_card(published, at_risk)
    read = Page(page)
    names = [tag for tag, _ in read.tags]
    assert names.count("html") == names.count("style") == names.count("h1") == 1
    assert not {"script", "link", "img", "iframe", "form"} & set(names)
    assert not any({"src", "href", "style", "onclick"} & set(attributes) for _, attributes in read.tags)
    assert "@import" not in page
    assert "url(" not in page
    assert names.count("svg") == names.count("figure") == 2 + len(at_risk.fairness.columns)
    assert all(attributes.get("aria-label") for tag, attributes in read.tags if tag == "svg")


@pytest.mark.parametrize("render", [render_card, render_card_text], ids=["page", "markdown"])
def test_a_card_has_all_that_is_asked_of_one(render, published, at_risk):
    written = render(published, at_risk)
    text = Page(written).text if render is render_card else " ".join(written.replace("\\", "").split())
    held_out = published["metrics"]["held_out"]
    for words in (
        at_risk.title,
        at_risk.description,
        "Published.",
        "Never decide on admission",
        "All of these must hold",
        f"{held_out['model']['auc']:.1%} (",
        f"{held_out['rule']['auc']:.1%}",
        f"{held_out['calibration_error']:.1%}",
        str(published["data_window"]["first_as_of"]),
        str(published["metrics"]["backtest"][0]["as_of_date"]),
        "By gender",
        "By school",
        "population stability index",
        "How to contest it",
        "tell the school's administrator",
        "guardian engagement",
        "Low < Medium < High",
        "ab" * 32,
        "0.1.0+0a1b2c3d",
        at_risk.features_digest,
        *(each["text"] for each in published["gate"]["conditions"] if "fairness" not in each["name"]),
        *(gap["text"] for gap in published["metrics"]["gaps"]),
    ):
        assert words in text


def test_a_refused_model_has_a_card_that_says_why(refused, at_risk):
    text = Page(render_card(refused, at_risk)).text
    reasons = " ".join(f"{reason}." for reason in refused["gate"]["reasons"])
    assert f"Refused. {reasons} Its predictions are not shown" in text
    assert "✗ Failed. Ranks a student at risk" in text
    assert "none: nothing was published" in text


def test_an_attempt_that_measured_nothing_has_a_card_too(at_risk):
    learnt = Learnt(refuse("history", "Too little history: found 1 past cohort"), "none", None, {}, {})
    learnt.window.update({"labelled_rows": 12, "labelled_until": None, "digest": "0123456789ab"})
    facts = register(learnt, at_risk)
    text = Page(render_card(facts, at_risk)).text
    assert "Refused. Too little history: found 1 past cohort." in text
    assert "Held-out results" not in text
    assert "It errs." not in text
    assert "0123456789ab" in render_card_text(facts, at_risk)


def test_gaps_alone_are_said_to_await_a_decision_and_who_let_it_pass_gave_a_reason(published, at_risk):
    waiting = {**published["gate"], "awaits_acceptance": True, "published": False}
    facts = {**published, "gate": waiting, "is_published": False}
    assert "Not published, awaits a decision." in Page(render_card(facts, at_risk)).text
    facts |= {
        "is_published": True, "accepted_by": "user:0192", "accepted_at": "2026-09-02T08:00:00+00:00",
        "accepted_reason": "Boarders are looked after by their house",
    }  # fmt: skip
    text = Page(render_card(facts, at_risk)).text
    assert "Published, by acceptance." in text
    assert "pass on 2026-09-02: Boarders are looked after by their house" in text
    assert "user:0192" not in text


def test_no_student_is_on_a_card(published, at_risk, make_rows):
    written = render_card(published, at_risk) + json.dumps(published["metrics"])
    assert not [student for student in make_rows()["student_id"].unique() if student in written]


def test_names_of_groups_come_out_as_they_are_and_as_nothing_else(published, at_risk):
    name = '<script>alert("1")</script> | *Day*\n# x'
    groups = json.loads(json.dumps(published["metrics"]["groups"]))
    for group in groups:
        if group["group"] == "Day":
            group["group"] = name
    facts = {**published, "metrics": {**published["metrics"], "groups": groups}}
    page = render_card(facts, at_risk)
    assert "script" not in {tag for tag, _ in Page(page).tags}
    assert '<script>alert("1")</script> | *Day* # x' in Page(page).text
    written = render_card_text(facts, at_risk)
    assert '\\<script\\>alert("1")\\</script\\> \\| \\*Day\\* # x' in written


def test_small_groups_share_one_row_without_names_or_outcomes(published, at_risk):
    few = [GroupResult("state_of_origin", name, 9, None, True, 0.95).to_dict() for name in ("Edo", "Ogun")]
    groups = [*published["metrics"]["groups"], *few]
    facts = {**published, "metrics": {**published["metrics"], "groups": groups}}
    text = Page(render_card(facts, at_risk)).text
    assert "2 small groups fewer than 30 too few to compare" in text
    assert "Edo" not in text
    assert "Ogun" not in text


def test_tables_in_markdown_have_the_same_cells_in_every_line(published, at_risk):
    tables = re.findall(r"(?:^\|.*\|\n?)+", render_card_text(published, at_risk), flags=re.MULTILINE)
    assert len(tables) > 8
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


def test_a_score_that_is_foretold_is_measured_on_the_card(at_risk, make_rows, thresholds, with_labels):
    label = at_risk.label.model_copy(
        update={"value": Value(column="next_term_average", minimum=0, maximum=100, interval=0.8)}
    )
    ridge = Candidate(name="ridge", algorithm="ridge", settings={"alpha": 10})
    scores = at_risk.model_copy(update={"label": label, "candidates": [ridge]})
    facts = register(learn(with_labels(make_rows()), scores, thresholds), scores)
    values = facts["metrics"]["held_out"]["values"]
    text = Page(render_card(facts, scores)).text
    assert f"Typical error (root mean square) {values['rmse']:.1f}" in text
    assert f"Results inside the 80% interval {values['inside_interval']:.1%}" in text


def test_a_table_without_time_is_not_said_to_have_been_judged_by_it(published, at_risk):
    folds = at_risk.model_copy(
        update={"validation": at_risk.validation.model_copy(update={"scheme": "folds"})}
    )
    text = Page(render_card(published, folds)).text
    assert "The table has no time." in text
    assert "latest cohort was held out" not in text


def test_a_group_without_some_figure_shows_a_dash(published, at_risk):
    sure = Estimate(0.1, 0.0, 0.2, 0.05)
    figures = dict.fromkeys(("selection_rate", "recall", "false_positive_rate", "calibration"), sure)
    group = GroupResult("gender", "Nobody named", 40, 12, False, 0.95, figures).to_dict()
    facts = {**published, "metrics": {**published["metrics"], "groups": [group], "gaps": []}}
    text = Page(render_card(facts, at_risk)).text
    assert "Nobody named 40 10.0% (0.0 to 20.0) 10.0% (0.0 to 20.0) – 10.0% (0.0 to 20.0) +10.0 (" in text
