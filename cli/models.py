"""`laurel train`, `laurel score`, `laurel models`: the model from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from cli.account import caller, write_down
from cli.tables import print_table
from elt.audit.trail import record
from elt.errors import NotFound
from elt.log import configure_logging
from elt.settings import load_settings
from elt.store.base import open_store
from elt.warehouse import connect

if TYPE_CHECKING:
    from ml.registry import RegisteredModel

_ALL = "all"


@click.command()
@click.option(
    "--target", default="at_risk", show_default=True, help="What to foretell; `all` for every target."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def train(target: str, as_json: bool) -> None:
    """Train a model, ask the gate, and record what it said.

    \b
    Examples:
      laurel train
      laurel train --target jamb_score
      laurel train --target all
    """
    from ml.errors import NotEnoughHistory
    from ml.training import train as train_target

    settings = load_settings()
    configure_logging(json=settings.log_json, level="WARNING")
    reports, names = [], _names(target)
    for name in names:
        try:
            report = train_target(settings, name)
        except NotEnoughHistory as error:
            if len(names) == 1:
                raise
            click.echo(f"{name}: {error.detail}", err=True)
            continue
        reports.append(report)
        write_down(
            settings, "models:train", target=report.target, version=report.version, published=report.published
        )
        if not as_json:
            answer = "published" if report.published else "not published; the plain rule is shown"
            click.echo(f"{report.target} version {report.version} ({report.algorithm}): {answer}")
            _print_conditions(report.gate)
    if as_json:
        answers = [report.to_dict() for report in reports]
        click.echo(json.dumps(answers if target == _ALL else answers[0], indent=2))


@click.command()
@click.option(
    "--target", default="at_risk", show_default=True, help="What to foretell; `all` for every target."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score(target: str, as_json: bool) -> None:
    """Bring the predictions up to date; trains first where new results have come.

    \b
    Examples:
      laurel score
      laurel score --target all --json
    """
    from ml.scoring import score as score_target

    settings = load_settings()
    configure_logging(json=settings.log_json, level="WARNING")
    reports = [score_target(settings, target=name) for name in _names(target)]
    if as_json:
        answers = [report.to_dict() for report in reports]
        click.echo(json.dumps(answers if target == _ALL else answers[0], indent=2))
        return
    for report in reports:
        speaker = f"model version {report.model_version}" if report.model_version else "the plain rule"
        click.echo(
            f"{report.target}: {report.students} current students, {report.at_risk} at risk by {speaker}; "
            f"{report.written} predictions written, {report.outcomes} outcomes came in"
        )
        if report.model_version and report.by_rule:
            click.echo(f"The plain rule spoke for {report.by_rule} of them.")
        for reason in report.reasons:
            click.echo(f"  {reason}")


def _names(target: str) -> list[str]:
    from ml.target import list_targets

    return list_targets() if target == _ALL else [target]


class _Targets(click.Group):
    """A name that is no command is a target: `laurel models at_risk` shows it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


@click.group(cls=_Targets, invoke_without_command=True)
@click.option("--target", default=None, help="Only this target.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def models(context: click.Context, target: str | None, as_json: bool) -> None:
    """Show all attempts at a model, newest first.

    \b
    Examples:
      laurel models
      laurel models at_risk
      laurel models card at_risk card.html
      laurel models accept at_risk 3 --reason "Two schools joined this year; looked at by hand"
    """
    if context.invoked_subcommand is None:
        _show_all(_list(target), as_json)


@models.command()
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(target: str, as_json: bool) -> None:
    """Show the attempts at one target, and what the gate said to the newest.

    Example: laurel models at_risk
    """
    found = _list(target)
    _show_all(found, as_json)
    if as_json:
        return
    click.echo(f"\nThe gate on version {found[0].version}:")
    _print_conditions(found[0].gate)
    if found[0].accepted_by:
        click.echo(f"Accepted by {found[0].accepted_by}: {found[0].accepted_reason}")
    elif found[0].gate.get("awaits_acceptance"):
        click.echo(
            "Only gaps between groups stand against it. Look at the model card; to let it pass nevertheless: "
            f'laurel models accept {target} {found[0].version} --reason "…"'
        )


@models.command()
@click.argument("target")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--version", type=int, default=None, help="An earlier attempt; else the newest.")
def card(target: str, file: Path, version: int | None) -> None:
    """Write the model card of a target to FILE: a page where it ends in .html, else Markdown.

    Example: laurel models card at_risk at_risk.html
    """
    from ml.card import render_card, render_card_text
    from ml.target import load_target

    found = [model for model in _list(target) if version in (None, model.version)]
    if not found:
        raise NotFound(f"There is no version {version} of {target}. `laurel models {target}` lists them.")
    is_page = file.suffix.lower() in (".html", ".htm")
    render = render_card if is_page else render_card_text
    file.write_text(render(found[0].to_dict(), load_target(target)), encoding="utf-8")
    click.echo(f"Wrote the card of {target} version {found[0].version} to {file}.")


@models.command()
@click.argument("target")
@click.argument("version", type=int)
@click.option(
    "--reason", required=True, help="Why the gaps may be; kept with the model and in the audit trail."
)
def accept(target: str, version: int, reason: str) -> None:
    """Let a model pass which only gaps between groups of students stand against.

    The next run scores by it. Example: laurel models accept at_risk 3 --reason "…"
    """
    from ml.registry import accept as accept_model

    settings = load_settings()
    store = open_store(settings.resolved_store_url)
    with connect(settings.database_url.get_secret_value()) as connection, connection.transaction():
        model = accept_model(connection, store, target, version, by=caller(), reason=reason)
        detail = {"target": target, "version": version, "reason": reason}
        record(connection, caller(), "models:accept", "", detail)
    click.echo(f"{target} version {version} is published, accepted by {model.accepted_by}. Run: laurel run")


def _list(target: str | None) -> list[RegisteredModel]:
    from ml.registry import list_models

    with connect(load_settings().database_url.get_secret_value()) as connection:
        found = list_models(connection, target)
    if target and not found:
        raise NotFound(f"No model of {target!r} was trained yet. Run `laurel train --target {target}`.")
    return found


def _show_all(found: list[RegisteredModel], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([model.to_dict() for model in found], indent=2))
        return
    if not found:
        click.echo("No model was trained yet. Hand in data, or run: laurel train")
        return
    table = Table("target", "version", "algorithm", "trained at", "students", "published", box=None)
    for model in found:
        table.add_row(
            model.target,
            str(model.version),
            model.algorithm,
            f"{model.created_at:%Y-%m-%d %H:%M}",
            str(model.data_window.get("students", 0)),
            "accepted" if model.accepted_by else "yes" if model.is_published else "no",
        )
    print_table(table)


def _print_conditions(gate: dict[str, list[dict[str, str]]]) -> None:
    for condition in gate["conditions"]:
        click.echo(f"  {'passed' if condition['passed'] else 'FAILED'}  {condition['text']}")
    for school in gate["schools"]:
        if not school["covered"]:
            click.echo(f"  rule    {school['school_id']}: {school['reason']}")
