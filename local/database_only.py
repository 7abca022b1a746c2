"""The embedded PostgreSQL alone, for work that no service may see: restoring a backup."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from elt.errors import ConfigurationError
from local import leftovers, postgres, preparation
from local.environment import is_embedded, paths, read_embedded


@contextmanager
def database_running(say: Callable[[str], None]) -> Iterator[None]:
    """Where the server is ours and does not run, run it meanwhile, with the two databases made.

    Raises:
        ConfigurationError: the secrets under which the backup was made are not there.
        DatabaseUnavailable, DiskFull: the server cannot be made or started.
    """
    where = paths()
    if not is_embedded() or leftovers.find_postmaster(where.cluster_root) is not None:
        yield
        return
    if not where.env_file.exists():
        raise ConfigurationError(
            f"There is no {where.env_file}. Put the one there that was saved with the backup: with other "
            "keys Laurel does not know again who was erased. If it is lost, ./start.sh up makes another."
        )
    where.make()
    preparation.make_cluster(where, say)
    embedded = read_embedded(where)
    say("starting PostgreSQL")
    cluster = postgres.prepare(where.cluster_root, embedded.port)
    process = postgres.start(cluster, embedded.superuser_password, log=where.logs / "postgres.log")
    try:
        preparation.make_databases(where)
        yield
    finally:
        postgres.stop(process)
