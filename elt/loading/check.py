"""A dry run: what would become of a file if it were handed in. Stores nothing, writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from elt.contracts import Contract, HeaderMatch, match_header, rule_hint
from elt.errors import Issue, UploadRejected, shorten
from elt.reading.dialect import Detected, ReadOptions, Stream
from elt.reading.reader import Block, read_blocks
from elt.reading.repeats import RepeatFinder
from elt.reading.validation import CheckedBlock, validate

MAX_ISSUES = 100


@dataclass(slots=True)
class CheckReport:
    """What was understood and found.

    `mapping` has one entry per cell of the header: position (from 1), header, column and its type (None: not
    loaded).
    `rows` are the first rows as read: their line and cells. `issues` are the findings about the file, then
    the first ones about rows; `issue_counts` counts all of them by rule. `warnings` are those about rows.
    `would_load` says whether the rows within the contract would be loaded, and `reason` why not.
    """

    dataset: str
    detected: Detected
    mapping: list[dict[str, Any]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    read: int = 0
    rejected: int = 0
    repeated: int = 0
    warnings: int = 0
    issues: list[Issue] = field(default_factory=list)
    issue_counts: Counter[str] = field(default_factory=Counter)
    would_load: bool = True
    reason: str | None = None

    @property
    def accepted(self) -> int:
        """Rows that keep the contract, repeats apart: read = accepted + rejected + repeated."""
        return self.read - self.rejected - self.repeated

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "dataset": self.dataset,
            "would_load": self.would_load,
            "reason": self.reason,
            "detected": self.detected.to_dict(),
            "mapping": self.mapping,
            "rows": self.rows,
            "counts": {
                "read": self.read,
                "accepted": self.accepted,
                "rejected": self.rejected,
                "repeated": self.repeated,
                "warnings": self.warnings,
            },
            "issue_counts": dict(self.issue_counts),
            "issues": [issue.to_dict() for issue in self.issues],
        }


def check_file(
    contract: Contract,
    stream: Stream,
    options: ReadOptions | None = None,
    *,
    only_school: str | None = None,
    rows: int = 20,
) -> CheckReport:
    """Read and check a whole file against a contract, in flat memory; with `only_school` as its sender's.

    Raises:
        UploadRejected: the file cannot be read at all; names the line and what to do.
    """
    detected, blocks = read_blocks(stream, options)
    match = match_header(contract, detected.header)
    types = {field.name: field.type for field in contract.fields}
    mapping = [
        {"position": position, "header": header, "column": column, "type": types.get(column or "")}
        for position, (header, column) in enumerate(zip(detected.header, match.columns, strict=True), start=1)
    ]
    report = CheckReport(contract.name, detected, mapping)
    _note(report, match.issues)
    if match.is_rejected:
        with suppress(UploadRejected):
            _show_rows(report, next(blocks), rows)
        faults = [issue.hint for issue in match.issues if issue.severity == "error"]
        report.would_load, report.reason = False, f"The header does not fit: {'; '.join(faults)}."
        return report
    _check_rows(report, contract, match, blocks, only_school, rows)
    _note(report, detected.issues)
    if report.rejected > contract.reject_limit * report.read:
        report.would_load = False
        report.reason = (
            f"{report.rejected} of {report.read} rows break a rule; at most {contract.reject_limit:.0%} may."
        )
    return report


def _check_rows(
    report: CheckReport,
    contract: Contract,
    match: HeaderMatch,
    blocks: Iterator[Block],
    only_school: str | None,
    rows: int,
) -> None:
    current: list[Block] = []

    def remember() -> Iterator[Block]:
        for block in blocks:
            current[:] = [block]
            yield block

    with RepeatFinder() as repeats:
        checked_blocks = validate(
            remember(), contract, match, school_id=only_school or "", only_school=only_school,
            received_at=datetime.now(UTC),
        )  # fmt: skip
        for checked in checked_blocks:
            block = current[0]
            if len(report.rows) < rows:
                _show_rows(report, block, rows)
            report.read += checked.read
            report.rejected += checked.rejected
            if contract.is_keyed:
                repeats.add(checked.accepted)
            if checked.issues.height:
                _add_issues(report, contract, match, block, checked)
        report.repeated = repeats.count()


def _show_rows(report: CheckReport, block: Block, wanted: int) -> None:
    for row in block.frame.head(wanted - len(report.rows)).iter_rows():
        *cells, line = row
        report.rows.append({"line": line, "cells": [cell or "" for cell in cells]})


def _add_issues(
    report: CheckReport, contract: Contract, match: HeaderMatch, block: Block, checked: CheckedBlock
) -> None:
    by_rule = checked.issues.group_by("rule").len()
    report.issue_counts.update(dict(by_rule.iter_rows()))
    report.warnings += checked.issues.filter(pl.col("severity") == "warning").height
    room = max(MAX_ISSUES - len(report.issues), 0)
    for line, column, rule, severity in checked.issues.head(room).iter_rows():
        found = _found(contract, match, block, line, column)
        hint = rule_hint(contract, rule, column)
        report.issues.append(Issue(rule, hint, line, column, found, severity))


def _found(contract: Contract, match: HeaderMatch, block: Block, line: int, column: str | None) -> str | None:
    """The cell as it stands in the file, unless it is personal."""
    if column is None or contract.field(column).is_personal:
        return None
    cells = block.frame.filter(pl.col("_line") == line)[f"c{match.columns.index(column)}"]
    return shorten(cells.item(0)) if cells.len() else None


def _note(report: CheckReport, issues: list[Issue]) -> None:
    report.issues += issues
    report.issue_counts.update(issue.rule for issue in issues)
