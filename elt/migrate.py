"""Bring the database `elt` to the schema that this version of the code expects, with its roles.

Safe to run by several processes at once: they queue on one advisory lock.
"""

from __future__ import annotations

from pathlib import Path

from elt.contracts import load_contracts
from elt.loading.raw_tables import create_raw_tables
from elt.serving.database_roles import create_roles
from elt.warehouse import connect

_LOCK = 0x6C617572656C  # "laurel"


def migrate(database_url: str) -> None:
    """Run the migrations, create the raw table of every contract that has none yet, and the database roles.

    Raises:
        DatabaseUnavailable: the database does not answer.
        ContractError: a raw table exists with other columns than its contract says.
    """
    with connect(database_url, application_name="laurel-migrate") as connection:
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        connection.execute("create schema if not exists ops")
        _run_alembic(database_url)
        create_raw_tables(connection, load_contracts().values())
        create_roles(connection)


def _run_alembic(database_url: str) -> None:
    # Here, so that commands that migrate nothing need not wait for it.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, pool, text

    scheme, _, rest = database_url.partition("://")
    engine = create_engine(f"{scheme.split('+')[0]}+psycopg://{rest}", poolclass=pool.NullPool)
    config = Config()
    # The option is a format string: a percent sign in our path stands for itself.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with engine.connect() as connection:
        connection.execute(text("set search_path to ops, public"))
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
