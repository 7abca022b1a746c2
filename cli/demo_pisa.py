"""`laurel demo-pisa`: plays the source side, country databases in which respondents submit."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from demo import defaults
from elt.errors import ConfigurationError
from elt.settings import Settings, load_settings

if TYPE_CHECKING:
    from demo.pisa_submissions import Submitted

TURN_SECONDS = 60.0
"""With --only-submit, for how long a country has its turn; each that had one brings an upload of its own."""

_COLUMNS = 8  # those that are followed; the student questionnaire of PISA 2018 has 1 120
_AGAIN_SECONDS = 5.0


@click.command("demo-pisa")
@click.option(
    "--server", metavar="ADDRESS",
    help="postgresql://… of a role that may create databases and roles; else the platform's own engine.",
)  # fmt: skip
@click.option(
    "--countries", default=20, show_default=True, type=click.IntRange(1, 20), help="How many databases."
)
@click.option(
    "--columns", default=_COLUMNS, show_default=True, type=click.IntRange(8, 1120),
    help="Columns of each table of responses; PISA 2018 has 1120.",
)  # fmt: skip
@click.option(
    "--responses", default=defaults.RESPONSES, show_default=True, type=click.IntRange(0),
    help="In each new database, to begin with.",
)  # fmt: skip
@click.option(
    "--rate", default=5.0, show_default=True, type=click.FloatRange(0, min_open=True),
    help="Submissions a second, in all countries together.",
)  # fmt: skip
@click.option(
    "--seconds", default=60.0, show_default=True, type=click.FloatRange(0),
    help="For how long to submit; 0: not at all.",
)  # fmt: skip
@click.option("--seed", default=defaults.SEED, show_default=True, help="Another seed, other answers.")
@click.option(
    "--only-submit", is_flag=True,
    help="Make nothing: submit until Ctrl-C, one country after the other, wherever countries are there.",
)  # fmt: skip
@click.option("--drop", is_flag=True, help="Take databases, roles and sources away again.")
def demo_pisa(
    server: str | None, countries: int, columns: int, responses: int, rate: float, seconds: float, seed: int,
    only_submit: bool, drop: bool,
) -> None:  # fmt: skip
    """Make country databases of PISA responses, let Laurel follow them, and submit for a while.

    Databases that are there already stay as they are. Some submissions commit late, change or delete others,
    or are bad. Ctrl-C ends it and leaves nothing half. All of it is synthetic.

    \b
    Examples:
      laurel demo-pisa
      laurel demo-pisa --columns 1120 --responses 5000 --rate 200 --seconds 30
      laurel demo-pisa --server postgresql://postgres:…@db:5432/postgres --countries 3 --seconds 0
      laurel demo-pisa --drop
    """
    from cli.demo_countries import Wanted, set_up, take_away
    from demo.pisa import COUNTRIES

    if drop and only_submit:
        raise click.UsageError("Either --drop or --only-submit.")
    settings = load_settings()
    if only_submit:
        _until_told(settings, rate)
        return
    server = server or _own_engine()
    if drop:
        click.echo("Dropping the country databases …")
        dropped = take_away(settings, server)
        click.echo(f"Dropped {len(dropped)} country databases, and their sources.")
        return
    set_up(settings, server, Wanted(COUNTRIES[:countries], columns, responses, seed), click.echo)
    click.echo(f"{countries} countries are sources by now: laurel live status, laurel sources list.")
    if seconds:
        _submit(settings, rate, seconds, seed)


def _own_engine() -> str:
    """The engine of the embedded platform.

    Raises:
        ConfigurationError: there is none.
    """
    from local.environment import is_embedded, paths, read_embedded

    if not is_embedded():
        raise ConfigurationError("LAUREL_DATABASE_URL is set, so there is no own engine; name a --server.")
    return read_embedded(paths()).url()


def _submit(settings: Settings, rate: float, seconds: float, seed: int) -> None:
    """Submit in all countries at once, and say how it goes."""
    from cli.demo_countries import read_collectors
    from demo.pisa_submissions import submit

    made: Counter[str] = Counter()

    def record(submitted: Submitted) -> None:
        made[submitted.country] += 1

    async def run() -> None:
        telling = asyncio.create_task(_tell(made, seconds))
        try:
            await submit(read_collectors(settings), rate, seconds, seed, record)
        finally:
            telling.cancel()

    with suppress(KeyboardInterrupt):
        asyncio.run(run())
    click.echo(f"{made.total()} responses were submitted in {len(made)} countries.")


async def _tell(made: Counter[str], seconds: float) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(5)
        click.echo(f"  {time.monotonic() - began:4.0f} of {seconds:.0f} s  {made.total()} responses")


def _until_told(settings: Settings, rate: float) -> None:
    """Submit until SIGTERM or Ctrl-C."""

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        working = asyncio.create_task(_take_turns(settings, rate))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working

    asyncio.run(run())


async def _take_turns(settings: Settings, rate: float) -> None:
    """One country at a time, so that only its connections are open; what is away is tried again later."""
    import psycopg

    from cli.demo_countries import read_collectors
    from demo.pisa_submissions import submit

    rng = random.Random()  # noqa: S311
    while True:
        addresses = read_collectors(settings)
        if not addresses:
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        country = rng.choice(sorted(addresses))
        try:
            await submit(
                {country: addresses[country]}, rate, TURN_SECONDS, rng.getrandbits(32), lambda _: None
            )
        except* psycopg.Error:
            click.echo(f"The database of {country} cannot be written now; trying again.", err=True)
            await asyncio.sleep(_AGAIN_SECONDS)
