"""`laurel init-airflow`: what Airflow needs before its services start, in containers."""

from __future__ import annotations

import click

_PATIENCE_SECONDS = 10


@click.command("init-airflow", epilog="Example: docker compose run --rm init-airflow")
def init_airflow() -> None:
    """Prepare Airflow's database, and find out who runs its tasks. Safe to repeat.

    `docker compose up` does this by itself. Where a broker answers (LAUREL_BROKER_URL, profile `scale`),
    tasks go to the workers; otherwise the scheduler runs them. Airflow's services read it when they start.
    """
    from elt.settings import load_settings
    from local.environment import paths
    from local.preparation import migrate_airflow

    settings, where = load_settings(), paths()
    where.make()
    migrate_airflow(where, settings, click.echo)
    if settings.broker_url is not None and _answers(settings.broker_url.get_secret_value()):
        where.broker_mark.touch()
        click.echo("Airflow is ready. Its tasks go to workers, by the broker.")
    else:
        where.broker_mark.unlink(missing_ok=True)
        click.echo("Airflow is ready. The scheduler runs its tasks.")


def _answers(broker_url: str) -> bool:
    from kombu.connection import Connection
    from kombu.exceptions import OperationalError

    try:
        with Connection(broker_url, connect_timeout=_PATIENCE_SECONDS) as connection:  # type: ignore[no-untyped-call]
            connection.ensure_connection(max_retries=1)
    except (OperationalError, OSError):
        return False
    return True
