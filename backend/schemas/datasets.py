"""Models of datasets: what can be handed in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from backend.errors import InvalidRequest
from backend.schemas.common import Answered, IssueModel, Name, Sent
from elt.contracts import get_contract, load_contracts
from elt.errors import UnknownDataset
from elt.reading.dialect import ReadOptions


def _known(name: str) -> str:
    try:
        get_contract(name)
    except UnknownDataset as error:
        raise InvalidRequest(error.detail, error.issues) from None
    return name


DatasetName = Annotated[
    str, AfterValidator(_known), Field(json_schema_extra={"enum": sorted(load_contracts())})
]
Encoding = Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
Delimiter = Annotated[
    Literal[",", ";", "tab", "|"], BeforeValidator(lambda sent: "tab" if sent == "\t" else sent)
]
DateFormat = Literal[
    "YYYY-MM-DD", "YYYY/MM/DD", "DD/MM/YYYY", "DD-MM-YYYY", "DD.MM.YYYY", "MM/DD/YYYY", "MM-DD-YYYY"
]


class ReadFields(Sent):
    """How to read a file; what is left out is found, and the file refused where it is not clear."""

    encoding: Encoding | None = Field(default=None, description="The file's encoding.")
    delimiter: Delimiter | None = Field(default=None, description="What separates its cells.")
    date_format: DateFormat | None = Field(
        default=None, description="How its dates are written; default: YYYY-MM-DD."
    )

    def read_options(self) -> ReadOptions:
        """In the reader's words."""
        delimiter = "\t" if self.delimiter == "tab" else self.delimiter
        return ReadOptions(self.encoding, delimiter, self.date_format)


class ProposeFields(ReadFields):
    """What a proposal needs beside a sample file."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] | None = Field(
        default=None, description="Name of the new dataset, in snake_case; default: from the file's name."
    )
    filename: Name | None = Field(
        default=None, description="The file's name, where the body is the file itself."
    )


class CheckQuery(ReadFields):
    """The parameters of a dry run."""

    filename: Name | None = Field(
        default=None, description="The file's name, where the body is the file itself."
    )


class DatasetSummary(Answered):
    """A dataset in a list."""

    name: str
    title: str
    description: str
    grain: str = Field(description="What one row is.")
    columns: list[str] = Field(description="The headers that a file may have.")


class DatasetList(Answered):
    """All datasets."""

    items: list[DatasetSummary]


class ProposedContract(Answered):
    """A contract inferred from a sample: to edit and to confirm. Nothing has been stored."""

    contract: dict[str, Any] | None = Field(
        description="In the words of Table Schema, as contracts are written; null: the sample cannot be read."
    )
    reason: str | None = Field(default=None, description="Why it cannot be read.")
    issues: list[IssueModel] = Field(default=[], description="What is wrong with the sample.")


class Detected(Answered):
    """How a file was read."""

    encoding: str
    delimiter: str
    has_bom: bool
    header: list[str]


class MappedColumn(Answered):
    """Where a column of the file goes."""

    position: int = Field(description="The column's place in the file, from 1.")
    header: str
    column: str | None = Field(description="The contract's column; null: it is not loaded.")
    type: str | None = Field(default=None, description="What the contract takes its values for.")


class ReadRow(Answered):
    """A row as it was read."""

    line: int
    cells: list[str]


class CheckCounts(Answered):
    """Rows of the file: `read` = `accepted` + `rejected` + `repeated`."""

    read: int
    accepted: int
    rejected: int
    repeated: int
    warnings: int


class CheckReport(Answered):
    """What would become of a file. Nothing has been stored."""

    dataset: str
    would_load: bool = Field(description="Whether the rows within the contract would be loaded.")
    reason: str | None = Field(description="Why not.")
    detected: Detected | None = Field(default=None, description="How it was read; null: it cannot be read.")
    mapping: list[MappedColumn] = Field(default=[], description="Which column goes where.")
    rows: list[ReadRow] = Field(default=[], description="The first 20 rows as they were read.")
    counts: CheckCounts
    issue_counts: dict[str, int] = Field(default={}, description="How often each rule is broken.")
    issues: list[IssueModel] = Field(description="What is wrong: with the file, then with its first rows.")
