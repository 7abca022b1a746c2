"""Rows and a contract to rows that keep it and issues about the others. Pure; block by block.

Every check is a Polars expression over a whole block, compiled once per file. Cells stay the text that the
file has (the database turns it into numbers), so digits and trailing zeros survive; only dates written in
another order are rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from elt.contracts import Contract, HeaderMatch
from elt.errors import ContractError
from elt.reading.reader import Block
from elt.reading.rules import ISO, Check, check_of_rule, checks_of, text_of, value_of

ISSUES_SCHEMA = {"line": pl.Int64, "column_name": pl.String, "rule": pl.String, "severity": pl.String}

_TEXT = "text:"
_PLAIN_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class CheckedBlock:
    """The rows of one block, sorted out: `read` = rows of `accepted` + `rejected`.

    `accepted` has the contract's columns in order, as text, then `_line`; null means no value. `issues`
    (line, column_name, rule, severity) has at least one error for each rejected row, and the warnings about
    accepted ones, in order of lines; its lines are always those of the file that was read. `is_plain`: no
    cell of `accepted` is an empty text or holds a quote, the file's delimiter or a line end.
    """

    accepted: pl.DataFrame
    issues: pl.DataFrame
    read: int
    rejected: int
    is_plain: bool = False


def validate(
    blocks: Iterable[Block],
    contract: Contract,
    match: HeaderMatch,
    *,
    school_id: str,
    only_school: str | None = None,
    keep_lines: bool = False,
    received_at: datetime | None = None,
) -> Iterator[CheckedBlock]:
    """Check each block against the contract.

    Args:
        blocks: as `read_blocks` gives them.
        contract: what the rows must keep.
        match: which cell is which column; must not be rejected.
        school_id: the school of rows that name none.
        only_school: refuse rows of other schools.
        keep_lines: take `_line` from the `line` column of a corrected `rejects.csv`, where it has one, so
            that its rows stand where those they correct stood.
        received_at: when the file was handed in, with a time zone: what times may not lie ahead of. So the
            same file is read alike whenever it is. None: times are not looked at.

    Raises:
        ContractError: a rule or pattern of the contract cannot be evaluated.
    """
    plan: _Plan | None = None
    for block in blocks:
        try:
            plan = plan or _Plan(
                contract, match, school_id, only_school, keep_lines, block.date_format, received_at
            )
            yield plan.check(block)
        except pl.exceptions.PolarsError as error:
            raise ContractError(f"{contract.name}: a rule cannot be evaluated: {error}") from error


class _Plan:
    """The expressions for the blocks of one file."""

    def __init__(
        self,
        contract: Contract,
        match: HeaderMatch,
        school_id: str,
        only_school: str | None,
        keep_lines: bool,
        date_format: str | None,
        received_at: datetime | None,
    ) -> None:
        positions = {name: index for index, name in enumerate(match.columns) if name}
        line = pl.col("_line")
        if moves_lines := keep_lines and match.line_position is not None:
            line = pl.col(f"c{match.line_position}").cast(pl.Int64, strict=False)
        self._texts = [
            text_of(contract, field, positions.get(field.name), school_id).alias(field.name)
            for field in contract.fields
        ]
        self._texts.append(line.alias("_line"))
        self._adds_only_plain = _PLAIN_WORD.fullmatch(school_id) is not None and all(
            "" in contract.missing_values_of(field) for field in contract.fields
        )
        typed = [field for field in contract.fields if field.type != "string"]
        self._typed = [pl.col(field.name).alias(_TEXT + field.name) for field in typed]
        self._typed += [value_of(field, pl.col(field.name), date_format).alias(field.name) for field in typed]
        self._rewritten = [
            field.name for field in typed if field.type == "date" and date_format not in (None, ISO)
        ]
        self._checks = [
            check
            for field in contract.fields
            if field.name in positions
            for check in checks_of(
                field,
                pl.col((_TEXT if field.type != "string" else "") + field.name),
                pl.col(field.name),
                received_at,
            )
        ]
        self._checks += [check_of_rule(rule) for rule in contract.rules]
        if only_school is not None and (school_id != only_school or "school_id" in positions):
            of_another = pl.col("school_id") != only_school
            self._checks.append(Check("other_school", "school_id", "error", of_another, of_another))
        if moves_lines:
            no_line = pl.col("_line").is_null() | (pl.col("_line") < 1)
            self._checks.append(Check("line", None, "error", no_line, no_line))
        self._flags = [check.suspected.any().alias(str(index)) for index, check in enumerate(self._checks)]

    def check(self, block: Block) -> CheckedBlock:
        """Sort out the rows of one block."""
        texts = block.frame.select(self._texts)
        table = texts.with_columns(self._typed)
        flags = table.select(self._flags).row(0)
        suspected = [check for check, flag in zip(self._checks, flags, strict=True) if flag]
        if self._rewritten:
            texts = texts.with_columns(table.select(pl.col(self._rewritten).dt.to_string("%Y-%m-%d")))
        if not suspected:
            return CheckedBlock(
                texts, _issues_of_faults(block), block.read, block.faults.height, self._is_plain(block)
            )
        masks = table.select(
            check.broken.fill_null(value=False).alias(str(index)) for index, check in enumerate(suspected)
        )
        return _sort_out(block, texts, suspected, masks.get_columns(), is_plain=self._is_plain(block))

    def _is_plain(self, block: Block) -> bool:
        return block.is_plain and self._adds_only_plain


def _sort_out(
    block: Block, texts: pl.DataFrame, checks: list[Check], masks: list[pl.Series], *, is_plain: bool
) -> CheckedBlock:
    is_rejected = pl.repeat(value=False, n=texts.height, eager=True)
    for check, mask in zip(checks, masks, strict=True):
        if check.severity == "error":
            is_rejected |= mask
    found: dict[str, list[int | str | None]] = {name: [] for name in ISSUES_SCHEMA}
    for check, mask in zip(checks, masks, strict=True):
        # A finding about a row that is not loaded anyway would only distract.
        lines = block.frame["_line"].filter(mask if check.severity == "error" else mask & ~is_rejected)
        found["line"] += lines.to_list()
        for name, value in (
            ("column_name", check.column),
            ("rule", check.rule),
            ("severity", check.severity),
        ):
            found[name] += [value] * lines.len()
    issues = _issues_of_faults(block).vstack(pl.DataFrame(found, schema=ISSUES_SCHEMA))
    return CheckedBlock(
        texts.filter(~is_rejected),
        issues.sort("line", maintain_order=True),
        block.read,
        block.faults.height + int(is_rejected.sum()),
        is_plain,
    )


def _issues_of_faults(block: Block) -> pl.DataFrame:
    return block.faults.select(
        "line",
        pl.lit(None, pl.String).alias("column_name"),
        "rule",
        pl.lit("error").alias("severity"),
    )
