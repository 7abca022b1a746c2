"""What depends on what, read from the manifest that dbt wrote when it parsed the project last."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elt.errors import NotFound, TransientError
from elt.settings import Settings
from elt.transforming.dbt_process import run_dbt, target_dir

_PROJECT = "laurel"
# They read the ledger, which every load changes.
_MARTS_OF_THE_LEDGER = frozenset({"mart_data_quality", "mart_freshness"})


@dataclass(frozen=True, slots=True)
class Lineage:
    """Models by unique id: which table or view each is, and what is built directly from what."""

    children: dict[str, list[str]]
    materialized: dict[str, str]

    @property
    def marts(self) -> tuple[str, ...]:
        """All marts, in order of their names."""
        return _marts(self.materialized)

    def marts_of(self, datasets: Iterable[str]) -> tuple[str, ...]:
        """The marts that show something of these datasets, or of the ledger."""
        return tuple(sorted({*_marts(self._below(datasets)), *_MARTS_OF_THE_LEDGER}))

    def tables_of(self, datasets: Iterable[str]) -> list[str]:
        """The models below these datasets that keep rows; views show them without being built."""
        return [node for node in self._below(datasets) if self.materialized[node] == "incremental"]

    def _below(self, datasets: Iterable[str]) -> set[str]:
        found: set[str] = set()
        waiting = [f"source.{_PROJECT}.raw.{name}" for name in datasets]
        while waiting:
            for child in self.children.get(waiting.pop(), []):
                if child in self.materialized and child not in found:
                    found.add(child)
                    waiting.append(child)
        return found


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view of the project: what it is directly made of, and what is directly made of it.

    `layer` is its schema, for rules that the school sets `seeds`. Names are those of SQL within the project:
    `raw.students` for what dbt finds, `mart_students` for what it builds.
    """

    name: str
    layer: str
    description: str
    parents: tuple[str, ...]
    children: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """All tables by name."""

    tables: Mapping[str, Table]

    def above(self, name: str) -> set[str]:
        """All that the table is made of."""
        return self._reach(name, lambda table: table.parents)

    def below(self, name: str) -> set[str]:
        """All that is made of the table."""
        return self._reach(name, lambda table: table.children)

    def _reach(self, name: str, step: Callable[[Table], tuple[str, ...]]) -> set[str]:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            for each in step(self.tables[waiting.pop()]):
                if each not in found:
                    found.add(each)
                    waiting.append(each)
        return found


def read_graph(settings: Settings) -> Graph:
    """The graph of the project that built the marts last; kept until dbt has written another manifest.

    Raises:
        NotFound: dbt has not run with this home yet.
        TransientError: dbt is writing the manifest at this moment.
    """
    path = target_dir(settings) / "manifest.json"
    try:
        found = path.stat()
    except FileNotFoundError:
        raise NotFound("No run has built the marts here yet, so there is no lineage to show.") from None
    return _graph(path, (found.st_mtime_ns, found.st_size))


def read_manifest(path: Path) -> dict[str, Any]:
    """What dbt wrote.

    Raises:
        TransientError: it is being written.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError:
        raise TransientError("dbt is writing its manifest. Ask again in a moment.") from None
    return found


def read_lineage(settings: Settings, digest: str) -> Lineage:
    """Read the manifest of the project with this digest; let dbt parse the project where there is none."""
    if not _stamp(settings).exists() or _stamp(settings).read_text(encoding="ascii") != digest:
        run_dbt(settings, ["parse"])
        keep_lineage(settings, digest)
    manifest = read_manifest(target_dir(settings) / "manifest.json")
    return Lineage(
        children=manifest["child_map"],
        materialized={
            unique_id: node["config"]["materialized"]
            for unique_id, node in manifest["nodes"].items()
            if node["resource_type"] == "model"
        },
    )


def keep_lineage(settings: Settings, digest: str) -> None:
    """Note that the manifest, just written by dbt, is that of the project with this digest."""
    _stamp(settings).write_text(digest, encoding="ascii")


@functools.lru_cache(maxsize=2)
def _graph(path: Path, written: tuple[int, int]) -> Graph:  # noqa: ARG001 - another file is read again
    manifest = read_manifest(path)
    nodes = {
        unique_id: node
        for unique_id, node in {**manifest["nodes"], **manifest["sources"]}.items()
        if node["resource_type"] in ("model", "seed", "source")
    }
    names = {unique_id: _name(node) for unique_id, node in nodes.items()}

    def near(side: str, unique_id: str) -> tuple[str, ...]:
        return tuple(sorted({names[each] for each in manifest[side].get(unique_id, ()) if each in names}))

    tables = {
        names[unique_id]: Table(
            names[unique_id],
            "seeds" if node["resource_type"] == "seed" else node["schema"],
            node["description"].strip(),
            near("parent_map", unique_id),
            near("child_map", unique_id),
        )
        for unique_id, node in nodes.items()
    }
    return Graph(tables)


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['schema']}.{node['name']}" if node["resource_type"] == "source" else str(node["name"])


def _stamp(settings: Settings) -> Path:
    return target_dir(settings) / "manifest.sha256"


def _marts(nodes: Iterable[str]) -> tuple[str, ...]:
    names = (node.rsplit(".", 1)[-1] for node in nodes)
    return tuple(sorted(name for name in names if name.startswith("mart_")))
