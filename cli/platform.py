"""Commands about the platform on one machine; `./start.sh` calls them."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from datetime import timedelta
from types import FrameType
from typing import NoReturn

import click

from cli.first_admin import show_sign_in
from elt.errors import ConfigurationError, LaurelError
from elt.settings import Settings, load_settings
from local.environment import in_container
from local.platform import Platform, ServiceStatus
from local.services import local_url, platform_services


@click.command(epilog="Example: laurel up -d")
@click.option(
    "-d", "--detach", is_flag=True, help="Return when all is healthy; services go on in the background."
)
def up(detach: bool) -> None:
    """Start the platform on this machine and wait until it is healthy.

    Without -d it stays in the foreground, and Ctrl-C stops everything.
    """
    _leave_to_compose("docker compose up -d --wait")
    signal.signal(signal.SIGTERM, _interrupt)
    platform = Platform(click.echo)
    was_running = platform.is_running()
    try:
        settings = platform.up()
        print_addresses(settings)
        if detach or was_running:
            click.echo("It runs in the background; ./start.sh down stops it.")
            return
        click.echo("Ctrl-C stops it.")
        while platform.is_running():
            time.sleep(1)
    except KeyboardInterrupt:
        if was_running:
            raise click.Abort from None
        # A second Ctrl-C must not leave half of it running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        platform.down()
        click.echo("Stopped.")
        return
    except LaurelError:
        if not detach and not was_running and platform.is_running():
            platform.down()
        raise
    raise LaurelError("The supervisor has ended. ./start.sh up starts everything again.")


@click.command(epilog="Example: laurel down")
def down() -> None:
    """Stop the platform on this machine. No data is lost."""
    _leave_to_compose("docker compose stop")
    click.echo("Stopped." if Platform(click.echo).down() else "Nothing was running.")


@click.command(epilog="Example: laurel services --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def services(as_json: bool) -> None:
    """Show each service of the platform; exit status 0 only when all are healthy."""
    _leave_to_compose("docker compose ps")
    states = Platform(click.echo).status()
    if as_json:
        click.echo(json.dumps([_to_dict(state) for state in states], indent=2))
    else:
        click.echo(f"{'SERVICE':<24}{'STATE':<12}{'PID':>8}  {'FOR':<10}HEALTH")
        for state in states:
            click.echo(_format(state))
    if any(state.problem for state in states):
        raise SystemExit(1)


@click.command(epilog="Example: laurel logs api --lines 200")
@click.argument("service", required=False)
@click.option("-n", "--lines", default=50, show_default=True, help="How many lines back.")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written; Ctrl-C ends.")
def logs(service: str | None, lines: int, follow: bool) -> None:
    """Show the last lines that the services wrote (of one SERVICE, if named)."""
    _leave_to_compose("docker compose logs")
    folder = Platform(click.echo).where.logs
    known = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if service is not None and service not in known:
        names = ", ".join(known or platform_services())
        raise click.UsageError(f"There is no log of {service!r} in {folder}. There are: {names}.")
    files = [known[service]] if service else list(known.values())
    if not files:
        raise ConfigurationError(f"There are no logs in {folder} yet.")
    flags = ["-n", str(lines), *(["-F"] if follow else [])]
    os.execvp("tail", ["tail", *flags, *map(str, files)])  # noqa: S606


@click.command(
    epilog='Example: laurel psql -c "select * from marts.mart_student_risk"',
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def psql(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Open the database `elt` with psql; ARGUMENTS go to psql as they are."""
    if arguments == ("--help",):
        click.echo(context.get_help())
        return
    import psycopg

    from cli.account import write_down
    from elt.postgres_programs import connection_environment, find_binaries

    # psql takes the address from the environment, so that the password is in no list of processes.
    settings = load_settings()
    with suppress(LaurelError, psycopg.Error):  # psql is also for a database that has no tables yet
        write_down(settings, "database:open")
    given = connection_environment(settings.database_url.get_secret_value())
    program = str(find_binaries() / "psql")
    os.execve(program, [program, *arguments], {**os.environ, **given})  # noqa: S606 - psql looks for itself there


@click.command(epilog="Example: laurel doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check this machine and the platform: each finding with what to do about it."""
    from local.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.is_ok else 'FAIL'}  {finding.subject:<24}{finding.found}")
            if finding.advice:
                click.echo(" " * 30 + f"→ {finding.advice}")
    if not all(finding.is_ok for finding in findings):
        raise SystemExit(1)


def _leave_to_compose(command: str) -> None:
    """Services in containers are not ours to start, stop or look at.

    Raises:
        ConfigurationError: this is a container; names the command for outside.
    """
    if in_container():
        raise ConfigurationError(f"This is one of several containers. On the machine itself: {command}")


def print_addresses(settings: Settings) -> None:
    """Say where the platform is reached and how to sign in (and make the first account)."""
    api = local_url(settings, settings.port)
    click.echo(f"API      {api}/apidocs/   (a key: .venv/bin/laurel keys create --role admin --name me)")
    click.echo(
        f"Airflow  {settings.resolved_airflow_public_url}   (user {settings.airflow_user}, password: "
        f"LAUREL_AIRFLOW_PASSWORD in {settings.home / 'laurel.env'})"
    )
    show_sign_in(settings)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _format(state: ServiceStatus) -> str:
    since = str(timedelta(seconds=state.seconds)) if state.pid else "-"
    return f"{state.name:<24}{state.state:<12}{state.pid or '-':>8}  {since:<10}{state.problem or 'healthy'}"


def _to_dict(state: ServiceStatus) -> dict[str, object]:
    return {
        "service": state.name,
        "state": state.state,
        "pid": state.pid or None,
        "seconds": state.seconds,
        "healthy": state.problem is None,
        "problem": state.problem,
    }
