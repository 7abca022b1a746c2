"""What tests of sources share: a source of a test's own, read and loaded as the platform does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg import sql

from elt.contracts import get_contract
from elt.loading.loader import load_version
from elt.settings import Settings
from elt.sources.comparison import Wishes
from elt.sources.configuration import find_source
from elt.sources.sync import SourceReport, sync_source
from elt.store.base import Store
from elt.uploads.discover import discover
from elt.warehouse import Connection

Rows = list[tuple[Any, ...]]


class SourceWorld:
    """Sources of one test."""

    def __init__(
        self, settings: Settings, connection: Connection, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.settings = settings
        self.connection = connection
        self.store = store
        self._monkeypatch = monkeypatch

    def configure(self, name: str, address: str, **described: Any) -> None:
        """Write a source's file, and its address, unless it is a variable's name, into the environment."""
        variable = address
        if "://" in address:
            variable = f"SOURCE_{name.upper().replace('-', '_')}_URL"
            self._monkeypatch.setenv(variable, address)
        folder = self.settings.home / "sources"
        folder.mkdir(exist_ok=True)
        content = {"name": name, "address": variable, **described}
        Path(folder / f"{name}.yaml").write_text(yaml.safe_dump(content), "utf-8")

    def read(self, name: str, **wishes: bool) -> SourceReport:
        """Read a source; what differs waits to be loaded."""
        return sync_source(
            self.settings, self.store, find_source(self.settings, name), wishes=Wishes(**wishes)
        )

    def load(self) -> list[str]:
        """Load all that waits; the status of each."""
        waiting = discover(self.settings, self.store)
        return [
            load_version(self.settings, self.store, each.upload_id, each.version).status for each in waiting
        ]

    def sync(self, name: str, **wishes: bool) -> SourceReport:
        """Read and load."""
        report = self.read(name, **wishes)
        assert set(self.load()) <= {"loaded"}
        return report

    def live(self, dataset: str, *columns: str) -> Rows:
        """Rows that raw shows by now: the newest of each key, without those that are gone at their source."""
        contract = get_contract(dataset)
        key = sql.SQL(", ").join(sql.Identifier("r", name) for name in contract.primary_key)
        query = sql.SQL(
            """
            select {columns} from (
                select distinct on ({key}) r.* from {table} as r
                join ops.upload_versions as v on v.upload_id = r._upload_id
                order by {key}, v.ranked_at desc, r._line desc
            ) as newest where is_deleted is not true
            """
        ).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            key=key,
            table=sql.Identifier("raw", dataset),
        )
        return sorted((tuple(row.values()) for row in self.connection.execute(query)), key=repr)


@pytest.fixture
def source_world(
    settings: Settings, connection: Connection, store: Store, monkeypatch: pytest.MonkeyPatch
) -> SourceWorld:
    """Sources of one test."""
    return SourceWorld(settings, connection, store, monkeypatch)
