"""The `laurel` command. Each command's code is imported only when that command is called."""

from __future__ import annotations

import importlib
import sys

import click

from elt.errors import LaurelError, UploadRejected

# command → module:attribute
COMMANDS = {
    "audit": "cli.audit:audit",
    "backtest": "cli.backtest:backtest",
    "backup": "cli.backup:backup",
    "demo": "cli.demo:demo",
    "demo-pisa": "cli.demo_pisa:demo_pisa",
    "demo-school": "cli.demo:demo_school",
    "doctor": "cli.platform:doctor",
    "down": "cli.platform:down",
    "erase": "cli.erasure:erase",
    "exam-server": "cli.exam_server:exam_server",
    "export": "cli.marts:export",
    "export-student": "cli.students:export_student",
    "generate": "cli.generate:generate",
    "init-airflow": "cli.init_airflow:init_airflow",
    "keys": "cli.keys:keys",
    "live": "cli.live:live",
    "logs": "cli.platform:logs",
    "migrate": "cli.migrate:migrate",
    "models": "cli.models:models",
    "pseudonyms": "cli.pseudonyms:pseudonyms",
    "psql": "cli.platform:psql",
    "replay": "cli.run:replay",
    "report": "cli.report:report",
    "restore": "cli.backup:restore",
    "retention": "cli.erasure:retention",
    "retry": "cli.uploads:retry",
    "run": "cli.run:run",
    "score": "cli.models:score",
    "services": "cli.platform:services",
    "sources": "cli.sources:sources",
    "status": "cli.uploads:status",
    "train": "cli.models:train",
    "up": "cli.platform:up",
    "upload": "cli.uploads:upload",
    "users": "cli.users:users",
    "withdraw": "cli.uploads:withdraw",
}


class _LazyGroup(click.Group):
    """Knows its commands by name and imports each when it is first needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="laurel")
def cli() -> None:
    """Laurel: from a researcher's file to a named student at risk."""


def main() -> None:
    """Run the command line; Laurel's own errors become one clear line and exit status 1."""
    try:
        cli(standalone_mode=True)
    except LaurelError as error:
        click.echo(f"{error.title}: {error.detail}", err=True)
        for issue in error.issues[:20] if isinstance(error, UploadRejected) else []:
            where = f"line {issue.line}" if issue.line else "file"
            click.echo(f"  {where}, {issue.column or 'row'}: {issue.hint}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
