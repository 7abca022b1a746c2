"""`laurel train`, `laurel score`, `laurel models`: the model from the command line."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table

from cli.account import write_down
from elt.errors import NotFound
from elt.log import configure_logging
from elt.settings import load_settings
from elt.warehouse import connect


@click.command()
@click.option("--target", default="at_risk", show_default=True, help="What to foretell.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def train(target: str, as_json: bool) -> None:
    """Train a model, ask the gate, and record what it said.

    Example: laurel train --target at_risk
    """
    from ml.training import train as train_target

    settings = load_settings()
    configure_logging(json=settings.log_json, level="WARNING")
    report = train_target(settings, target)
    write_down(
        settings, "models:train", target=report.target, version=report.version, published=report.published
    )
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
        return
    answer = "published" if report.published else "not published; the plain rule is shown"
    click.echo(f"{report.target} version {report.version} ({report.algorithm}): {answer}")
    _print_conditions(report.gate)


@click.command()
@click.option("--target", default="at_risk", show_default=True, help="What to foretell.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score(target: str, as_json: bool) -> None:
    """Bring the predictions up to date; trains first where a new term's results have come.

    Example: laurel score --json
    """
    from ml.scoring import score as score_target

    settings = load_settings()
    configure_logging(json=settings.log_json, level="WARNING")
    report = score_target(settings, target=target)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
        return
    speaker = f"model version {report.model_version}" if report.model_version else "the plain rule"
    click.echo(
        f"{report.students} current students, {report.at_risk} at risk by {speaker}; "
        f"{report.written} predictions written"
    )
    if report.model_version and report.by_rule:
        click.echo(f"The plain rule spoke for {report.by_rule} of them.")
    for reason in report.reasons:
        click.echo(f"  {reason}")


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(name: str | None, as_json: bool) -> None:
    """Show all attempts at a model, newest first; with NAME (a target), what the gate said to the newest.

    Example: laurel models at_risk
    """
    from ml.registry import list_models

    with connect(load_settings().database_url.get_secret_value()) as connection:
        found = list_models(connection, name)
    if name and not found:
        raise NotFound(f"No model of {name!r} was trained yet. Run `laurel train --target {name}`.")
    if as_json:
        click.echo(json.dumps([model.to_dict() for model in found], indent=2))
        return
    table = Table("target", "version", "algorithm", "trained at", "students", "published", box=None)
    for model in found:
        table.add_row(
            model.target,
            str(model.version),
            model.algorithm,
            f"{model.created_at:%Y-%m-%d %H:%M}",
            str(model.data_window.get("students", 0)),
            "yes" if model.is_published else "no",
        )
    Console().print(table)
    if name:
        click.echo(f"\nThe gate on version {found[0].version}:")
        _print_conditions(found[0].gate)


def _print_conditions(gate: dict[str, list[dict[str, str]]]) -> None:
    for condition in gate["conditions"]:
        click.echo(f"  {'passed' if condition['passed'] else 'FAILED'}  {condition['text']}")
    for school in gate["schools"]:
        if not school["covered"]:
            click.echo(f"  rule    {school['school_id']}: {school['reason']}")
