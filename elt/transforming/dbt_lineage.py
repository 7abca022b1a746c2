"""What depends on what, read from the manifest that dbt wrote when it parsed the project last."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def read_lineage(settings: Settings, digest: str) -> Lineage:
    """Read the manifest of the project with this digest; let dbt parse the project where there is none."""
    if not _stamp(settings).exists() or _stamp(settings).read_text(encoding="ascii") != digest:
        run_dbt(settings, ["parse"])
        keep_lineage(settings, digest)
    manifest: dict[str, Any] = json.loads((target_dir(settings) / "manifest.json").read_bytes())
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


def _stamp(settings: Settings) -> Path:
    return target_dir(settings) / "manifest.sha256"


def _marts(nodes: Iterable[str]) -> tuple[str, ...]:
    names = (node.rsplit(".", 1)[-1] for node in nodes)
    return tuple(sorted(name for name in names if name.startswith("mart_")))
