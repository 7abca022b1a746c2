"""`laurel backtest`: try the method on any table, without a school, a database or a store."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from elt.errors import LaurelError

if TYPE_CHECKING:
    import pandas as pd

    from ml.learning import Learnt
    from ml.table import Prepared

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FIGURES = {
    "auc": "AUC", "average_precision": "average precision", "precision_at_k": "precision at k",
    "recall_at_k": "recall at k", "brier_skill": "Brier skill", "brier": "Brier score",
}  # fmt: skip


@click.command()
@click.option(
    "--csv", "csv_path", type=_FILE, required=True, help="The table; encoding and delimiter are found."
)
@click.option("--target", required=True, help="The column that is to be foretold.")
@click.option(
    "--positive", multiple=True, required=True,
    help="The target's value that is the risk; may be given several times, or be a comparison such as '<10'.",
)  # fmt: skip
@click.option("--time", help="Dates, years or periods: learn from the earlier ones, judge by the latest.")
@click.option("--entity", help="Whom a row is about: nobody is both learnt from and judged.")
@click.option("--test-csv", "test_path", type=_FILE, help="Judge by this table instead.")
@click.option(
    "--drop", multiple=True, help="A column that is not to be learnt from; may be given several times."
)
@click.option("--groups", multiple=True, help="A column by which groups are compared; likewise.")
@click.option("--capacity", help="The share that can be followed up, such as 10%.")
@click.option(
    "--card", "card_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the model card."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backtest(
    csv_path: Path,
    target: str,
    positive: tuple[str, ...],
    time: str | None,
    entity: str | None,
    test_path: Path | None,
    drop: tuple[str, ...],
    groups: tuple[str, ...],
    capacity: str | None,
    card_path: Path | None,
    as_json: bool,
) -> None:
    """Learn from a table, ask the gate, and say what came of it. Nothing is kept.

    The same splits, leakage guard, race, gate and comparison of groups as for a school. Exit status 0 also
    where the gate declines; 2 where the table or the question is wrong.

    \b
    Examples:
      laurel backtest --csv student-mat.csv --target G3 --positive '<10' --drop G1 --drop G2 --groups sex
      laurel backtest --csv oulad.csv --target final_result --positive Fail --positive Withdrawn \\
          --time code_presentation --entity id_student --json
    """
    from ml.learning import learn
    from ml.table import Question, prepare

    question = Question(target, positive, time, entity, drop, groups, _read_share(capacity))
    notes: list[str] = []
    try:
        if test_path and time:
            raise click.UsageError("--time and --test-csv exclude each other: both say what to judge by.")
        table = _read_table(csv_path, notes)
        test = _read_table(test_path, notes) if test_path else None
        prepared = prepare(table, question, test)
        learnt = learn(prepared.rows, prepared.target, prepared.thresholds, test=prepared.test)
    except LaurelError as error:
        raise click.UsageError(error.detail) from error
    answer = _answer(prepared, learnt, [*notes, *prepared.notes])
    if card_path:
        card_path.write_text(_render_card(prepared, learnt), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _print(answer)


def _read_share(text: str | None) -> float | None:
    """A share such as 10%, 10 % or 0.1, between 0 and 1."""
    if text is None:
        return None
    try:
        share = float(text.rstrip("% ")) / (100 if "%" in text else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise click.BadParameter(
            f"{text!r} is no share between 0 and 1, such as 10%.", param_hint="--capacity"
        )
    return share


def _read_table(path: Path, notes: list[str]) -> pd.DataFrame:
    """The file's cells as texts, and what is to be said about how it was read."""
    import polars as pl

    from elt.reading.reader import read_blocks

    with path.open("rb") as stream:
        detected, blocks = read_blocks(stream)
        parts, bad = [], 0
        for block in blocks:
            parts.append(block.frame.drop("_line"))
            bad += block.faults.height
    header = [name.strip() or f"column {place}" for place, name in enumerate(detected.header, start=1)]
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise click.UsageError(f"{path.name} has several columns named {', '.join(doubled)}. Rename them.")
    if bad:
        notes.append(f"{bad} rows of {path.name} do not fit its header and are left out.")
    notes.extend(f"{path.name}: {issue.hint}." for issue in detected.issues)
    return pl.concat(parts).to_pandas().set_axis(header, axis=1)


def _answer(prepared: Prepared, learnt: Learnt, notes: list[str]) -> dict[str, Any]:
    verdict = learnt.verdict.to_dict()
    metrics = dict(learnt.metrics)
    rule = prepared.target.rule.warnings[0]
    return {
        "published": verdict["published"],
        "reasons": verdict["reasons"],
        "algorithm": learnt.algorithm,
        "metrics": metrics.get("held_out", {}),
        "groups": metrics.get("groups", []),
        "gaps": metrics.get("gaps", []),
        "conditions": verdict["conditions"],
        "candidates": metrics.get("candidates", []),
        "backtest": metrics.get("backtest", []),
        "rule": {"feature": rule.feature, "risk": "low" if rule.below else "high"},
        "left_out": prepared.left_out,
        "window": _window(prepared, learnt),
        "notes": notes,
    }


def _window(prepared: Prepared, learnt: Learnt) -> dict[str, Any]:
    """What was learnt from and judged by, without the dates that stand for periods."""
    counts = ("students", "rows", "positives", "held_out_rows", "trained_before_rows")
    window: dict[str, Any] = {name: learnt.window[name] for name in counts}
    if prepared.periods:
        return {**window, "judged_by": prepared.periods[-1], "learnt_from": prepared.periods[:-1]}
    folds = prepared.target.validation.student_folds
    judged_by = "the test file" if prepared.test is not None else f"{folds} folds, each by the others"
    return {**window, "judged_by": judged_by}


def _render_card(prepared: Prepared, learnt: Learnt) -> str:
    """The model card, as for a version that was registered."""
    from ml.card import render_card
    from ml.registry import code_version

    verdict = learnt.verdict.to_dict()
    facts = {
        "model_id": None, "target": prepared.target.name, "version": 0, "algorithm": learnt.algorithm,
        "created_at": datetime.now(UTC).isoformat(), "code_version": code_version(),
        "data_window": learnt.window,
        "features": {"digest": prepared.target.features_digest, "columns": prepared.target.feature_facts()},
        "metrics": learnt.metrics, "gate": verdict, "object_key": None, "is_published": verdict["published"],
        "accepted_by": None, "accepted_at": None, "accepted_reason": None,
    }  # fmt: skip
    return render_card(facts, prepared.target)


def _print(answer: dict[str, Any]) -> None:
    console = Console(highlight=False)
    spoken = "published: the model may speak" if answer["published"] else "not published"
    window, metrics = answer["window"], answer["metrics"]
    console.print(f"[bold]{spoken}[/bold] (algorithm: {answer['algorithm']})", soft_wrap=True)
    console.print(
        f"{window['rows']} rows, {window['positives']} of them at risk; judged by {window['judged_by']}: "
        f"{window['held_out_rows']} rows",
        soft_wrap=True,
    )
    for reason in answer["reasons"]:
        console.print(f"  {reason}", soft_wrap=True, markup=False)
    if metrics:
        console.print(_figures(answer))
        values = metrics.get("values")
        if values:
            console.print(
                f"The number itself: RMSE {values['rmse']:.3g} (deviation {values['deviation']:.3g}); "
                f"{values['inside_interval']:.0%} lay inside their interval"
            )
    for condition in answer["conditions"]:
        mark = "yes" if condition["passed"] else "NO"
        console.print(f"  {mark:3} {condition['name']}: {condition['text']}", soft_wrap=True, markup=False)
    for name, why in answer["left_out"].items():
        console.print(f"left out: {name} {why}", soft_wrap=True, markup=False)
    for note in answer["notes"]:
        console.print(note, soft_wrap=True, markup=False)


def _figures(answer: dict[str, Any]) -> Table:
    metrics, rule = answer["metrics"], answer["rule"]
    table = Table("", "model", "interval", f"plain rule ({rule['risk']} {rule['feature']})", "chance")
    for name, title in _FIGURES.items():
        interval = metrics.get("intervals", {}).get(name)
        between = f"{interval['low']:.3f} to {interval['high']:.3f}" if interval else ""
        table.add_row(
            title,
            _figure(metrics["model"].get(name, metrics.get(name))),
            between,
            _figure(metrics["rule"].get(name)),
            _figure(metrics["chance"].get(name)),
        )
    table.add_row("accuracy", _figure(metrics["accuracy"]), "", "", "")
    table.add_row("calibration error", _figure(metrics["calibration_error"]), "", "", "")
    table.caption = f"k = {metrics['k']}"
    return table


def _figure(value: float | dict[str, float] | None) -> str:
    if isinstance(value, dict):
        value = value["expected"]
    return "" if value is None else f"{value:.3f}"
