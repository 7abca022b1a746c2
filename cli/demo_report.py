"""What the demo prints when it is done: files, runs, model, students at risk. Ids only, no names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from cli.tables import print_table

if TYPE_CHECKING:
    from demo.answers import FileAnswer

_SHOWN_STUDENTS = 10
_STAGES = ("discover", "load", "transform", "score", "publish")
_COUNTS = ("read", "accepted", "rejected", "repeated", "warnings")

Json = dict[str, Any]


def show_outcome(uploads: list[Json], answers: Mapping[str, FileAnswer]) -> bool:
    """What became of each file, and whether that is what the answer key says."""
    table = Table(
        "file",
        "status",
        *_COUNTS,
        "in raw after",
        "answer key",
        title="\nFiles",
        title_justify="left",
        box=None,
    )
    all_agree = True
    for upload in uploads:
        counts, answer = upload["counts"], answers[upload["filename"]]
        agrees = upload["status"] == "loaded" and all(
            counts[name] == getattr(answer, name) for name in _COUNTS
        )
        all_agree = all_agree and agrees
        table.add_row(
            upload["filename"],
            upload["status"],
            *(str(counts[name]) for name in _COUNTS),
            _seconds(upload["received_at"], upload["loaded_at"]),
            "agrees" if agrees else "DIFFERS",
        )
    print_table(table)
    return all_agree


def show_runs(runs: list[Json]) -> None:
    """How long each run and each of its stages took."""
    table = Table(
        "run", "started by", "status", "took", "stages", title="\nRuns", title_justify="left", box=None
    )
    for run in runs:
        stages = (_describe_stage(name, run["stages"][name]) for name in list_stages(run))
        took = _seconds(run["started_at"], run["finished_at"])
        table.add_row(run["id"], run["trigger"], run["status"], took, ", ".join(stages))
    print_table(table)


def show_model(models: list[Json]) -> None:
    """Whether a model speaks, or the plain rule."""
    for model in models:
        version = model["published_version"]
        speaks = (
            f"model version {version} passed its gate"
            if version
            else "no model passed: the plain rule speaks"
        )
        click.echo(f"\nModel {model['name']}: {speaks}.")


def show_worklist(worklist: list[Json]) -> None:
    """The first students of the list of those at risk."""
    table = Table(
        "school", "student", "grade", "probability", "first reason",
        title=f"\nStudents at risk: {len(worklist)}, the most urgent first", title_justify="left", box=None,
    )  # fmt: skip
    for student in worklist[:_SHOWN_STUDENTS]:
        probability = student.get("probability")
        reasons = student.get("reasons") or [{}]
        table.add_row(
            student["school_id"],
            student["student_id"],
            str(student.get("grade_level") or ""),
            "by rule" if probability is None else f"{probability:.0%}",
            str(reasons[0].get("text", "")),
        )
    print_table(table)


def list_stages(run: Json) -> list[str]:
    """The stages that have reported, in the order in which they run."""
    return sorted(run["stages"], key=lambda name: _STAGES.index(name) if name in _STAGES else len(_STAGES))


def _describe_stage(name: str, report: object) -> str:
    seconds = report.get("seconds") if isinstance(report, dict) else None
    return name if seconds is None else f"{name} {seconds:.1f} s"


def _seconds(start: str | None, end: str | None) -> str:
    if not start or not end:
        return "-"
    return f"{(datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds():.1f} s"
