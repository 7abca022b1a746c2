"""Keeps people who were erased out of what is loaded: their rows, and references to them in others' rows.

A row that is refused because it names a student may also name what leads to them (`elt.privacy.traces`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import polars as pl

from elt.contracts import Contract, Field, HeaderMatch
from elt.privacy.tombstones import BETWEEN, TRACES, Person, PersonColumn, Tombstones, person_columns
from elt.reading.reader import Block
from elt.reading.rules import text_of

RULE = "erased"
_BETWEEN = "\x1f"


@dataclass(slots=True)
class ErasedFilter:
    """Looks for erased people in the blocks of one file; `hits` are the erasures of those found.

    `traces` are what refused rows tell to lead to these people, as far as that was not known. Costs a hash
    per distinct identifier of a block, and nothing where nobody of that kind was erased.
    """

    contract: Contract
    match: HeaderMatch
    school_id: str
    tombstones: Tombstones
    hits: set[UUID] = field(default_factory=set)
    traces: dict[UUID, set[Person]] = field(default_factory=dict)

    def apply(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Turn rows of erased people into faults, and empty cells that refer to them."""
        positions = {name: position for position, name in enumerate(self.match.columns) if name}
        columns = [
            column for column in person_columns(self.contract) if positions.keys() >= set(column.names)
        ]
        for block in blocks:
            for column in columns:
                block = self._without(block, column, positions)
            yield block

    def _without(self, block: Block, column: PersonColumn, positions: dict[str, int]) -> Block:
        school = self._text("school_id", positions)
        person = self._identifier(column.names, positions)
        if column.owner:
            person = pl.when(self._text(column.owner, positions).is_null()).then(person)
        found = self._find(block, column, school, person)
        if not found:
            return block
        is_erased = pl.concat_str(school, person, separator=_BETWEEN).is_in(found).fill_null(value=False)
        if not column.drops_row:
            name = f"c{positions[column.names[0]]}"
            empty = pl.lit(empty_cell(self.contract, column.names[0]) or None, pl.String)
            cells = pl.when(is_erased).then(empty).otherwise(pl.col(name)).alias(name)
            return replace(block, frame=block.frame.with_columns(cells))
        if column.kind == "student":
            self._learn(block.frame.filter(is_erased), school, person, positions)
        refused = block.frame.filter(is_erased).select(line=pl.col("_line"), rule=pl.lit(RULE))
        return replace(
            block,
            frame=block.frame.filter(~is_erased),
            faults=pl.concat([block.faults, refused]).sort("line"),
        )

    def _find(self, block: Block, column: PersonColumn, school: pl.Expr, person: pl.Expr) -> list[str]:
        pairs = block.frame.select(school=school, person=person).unique().drop_nulls().rows()
        found = []
        for school_id, identifier in pairs:
            if erasure_id := self.tombstones.find(column.kind, school_id, identifier):
                self.hits.add(erasure_id)
                found.append(f"{school_id}{_BETWEEN}{identifier}")
        return found

    def _learn(
        self, refused: pl.DataFrame, school: pl.Expr, student: pl.Expr, positions: dict[str, int]
    ) -> None:
        for kind, names in self.contract.identities.items():
            if kind not in TRACES or not positions.keys() >= set(names):
                continue
            trace = self._identifier(names, positions)
            told = refused.select(school=school, student=student, trace=trace).unique().drop_nulls().rows()
            for school_id, identifier, leading in told:
                erasure_id = self.tombstones.find("student", school_id, identifier)
                if erasure_id and self.tombstones.find(kind, school_id, leading) is None:
                    self.traces.setdefault(erasure_id, set()).add((kind, school_id, leading))

    def _identifier(self, names: Sequence[str], positions: dict[str, int]) -> pl.Expr:
        return pl.concat_str([self._text(name, positions) for name in names], separator=BETWEEN)

    def _text(self, name: str, positions: dict[str, int]) -> pl.Expr:
        described: Field = self.contract.field(name)
        return text_of(self.contract, described, positions.get(name), self.school_id)


def empty_cell(contract: Contract, column: str) -> str:
    """What to write into a cell so that it holds no value."""
    missing = contract.missing_values_of(contract.field(column))
    return "" if "" in missing or not missing else missing[0]
