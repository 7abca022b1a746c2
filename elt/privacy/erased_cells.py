"""Keeps people who were erased out of rows that are about to be written: what a source still has of them.

The rows of one table come as cells in a fixed order. What is dropped here never becomes bytes in the store;
so there is nothing to erase again, though the school's own database keeps the person.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from elt.contracts import Contract
from elt.privacy.tombstones import (
    TRACES,
    Person,
    PersonColumn,
    Tombstones,
    identifier_of,
    person_columns,
)
from elt.privacy.traces import note_traces, reopen
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection

Cells: TypeAlias = tuple[str | None, ...]


@dataclass(slots=True)
class ErasedCells:
    """Takes erased people out of rows of one school. `columns` are those of the cells, in their order.

    Costs a look into a dictionary for each row and column that names people; nothing where nobody was erased.
    """

    contract: Contract
    columns: Sequence[str]
    school_id: str
    tombstones: Tombstones
    traces: dict[UUID, set[Person]] = field(default_factory=dict)
    """What dropped rows tell to lead to erased students, as far as that was not known."""
    _positions: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._positions = {name: at for at, name in enumerate(self.columns)}

    def apply(self, lines: Iterator[Cells]) -> Iterator[Cells]:
        """The rows without those of erased people, and without references to them in others' rows."""
        return self._without_erased(lines) if self.tombstones else lines

    def note_traces(self, settings: Settings, connection: Connection, store: Store) -> None:
        """Write down what led to erased students, in the caller's transaction.

        Where that is new, rows that name it may have been loaded before: then the erasure is open again.
        """
        reopen(connection, note_traces(settings, connection, store, self.traces).keys())

    def _without_erased(self, lines: Iterator[Cells]) -> Iterator[Cells]:
        named = [
            column for column in person_columns(self.contract) if set(column.names) <= self._positions.keys()
        ]
        for line in lines:
            kept: Cells | None = line
            for column in named:
                if erasure_id := self._find(line, column):
                    kept = self._kept(kept, column)
                    if column.kind == "student":
                        self._learn(line, erasure_id)
            if kept is not None:
                yield kept

    def _find(self, line: Cells, column: PersonColumn) -> UUID | None:
        identifier = self._identifier(line, column.names)
        if identifier is None or (column.owner and self._cell(line, column.owner) is not None):
            return None
        return self.tombstones.find(column.kind, self.school_id, identifier)

    def _kept(self, line: Cells | None, column: PersonColumn) -> Cells | None:
        if line is None or column.drops_row:
            return None
        at = self._positions[column.names[0]]
        return (*line[:at], None, *line[at + 1 :])

    def _learn(self, line: Cells, erasure_id: UUID) -> None:
        for kind, names in self.contract.identities.items():
            trace = self._identifier(line, names) if kind in TRACES else None
            if trace is not None and self.tombstones.find(kind, self.school_id, trace) is None:
                self.traces.setdefault(erasure_id, set()).add((kind, self.school_id, trace))

    def _identifier(self, line: Cells, names: Sequence[str]) -> str | None:
        return identifier_of([self._cell(line, name) for name in names])

    def _cell(self, line: Cells, name: str) -> str | None:
        at = self._positions.get(name)
        return None if at is None else line[at]
