"""Keeps people who were erased out of what is loaded: their rows, and references to them in others' rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from uuid import UUID

import polars as pl

from elt.contracts import Contract, Field, HeaderMatch
from elt.privacy.tombstones import PersonColumn, Tombstones, person_columns
from elt.reading.reader import Block
from elt.reading.rules import text_of

RULE = "erased"
_BETWEEN = "\x1f"


@dataclass(slots=True)
class ErasedFilter:
    """Looks for erased people in the blocks of one file; `hits` are the erasures of those found.

    Costs a hash per distinct identifier of a block, and nothing where nobody of that kind was erased.
    """

    contract: Contract
    match: HeaderMatch
    school_id: str
    tombstones: Tombstones
    hits: set[UUID] = field(default_factory=set)

    def apply(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Turn rows of erased people into faults, and empty cells that refer to them."""
        positions = {name: position for position, name in enumerate(self.match.columns) if name}
        columns = [column for column in person_columns(self.contract) if column.name in positions]
        for block in blocks:
            for column in columns:
                block = self._without(block, column, positions)
            yield block

    def _without(self, block: Block, column: PersonColumn, positions: dict[str, int]) -> Block:
        school = self._text("school_id", positions)
        person = self._text(column.name, positions)
        found = self._find(block, column, school, person)
        if not found:
            return block
        is_erased = pl.concat_str(school, person, separator=_BETWEEN).is_in(found).fill_null(value=False)
        if not column.drops_row:
            name = f"c{positions[column.name]}"
            empty = pl.lit(empty_cell(self.contract, column.name) or None, pl.String)
            cells = pl.when(is_erased).then(empty).otherwise(pl.col(name)).alias(name)
            return replace(block, frame=block.frame.with_columns(cells))
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

    def _text(self, name: str, positions: dict[str, int]) -> pl.Expr:
        described: Field = self.contract.field(name)
        return text_of(self.contract, described, positions.get(name), self.school_id)


def empty_cell(contract: Contract, column: str) -> str:
    """What to write into a cell so that it holds no value."""
    missing = contract.missing_values_of(contract.field(column))
    return "" if "" in missing or not missing else missing[0]
