"""Datasets: what can be handed in, a dry run of a file, and a proposal for what no contract knows."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Generic

from flask import Blueprint, Response, request

from backend.access import allow, principal
from backend.bodies import BLOCK_BYTES, open_submission
from backend.errors import InvalidRequest
from backend.filetypes import NotACsv
from backend.operations import Answer, Model, operation, parse_fields
from backend.schemas.datasets import (
    CheckCounts,
    CheckQuery,
    CheckReport,
    DatasetList,
    DatasetSummary,
    ProposedContract,
    ProposeFields,
)
from backend.services import services
from backend.streams import BlockReader, attach
from elt.contracts import Contract, get_contract, load_contracts
from elt.errors import DigestMismatch, TooLarge, TruncatedUpload, UploadRejected
from elt.generate import template_csv

datasets = Blueprint("datasets", __name__)


@datasets.get("/datasets")
@allow("datasets:read")
@operation("List datasets", {200: Answer("All that can be handed in.", DatasetList)})
def show_datasets() -> DatasetList:
    """Each has a contract."""
    return DatasetList(items=[_summary(contract) for contract in load_contracts().values()])


@datasets.get("/datasets/<dataset:name>")
@allow("datasets:read")
@operation("Show a dataset's contract", {200: Answer("In the words of Table Schema.", Contract)})
def show_dataset(name: str) -> Contract:
    """Columns, rules, key."""
    return get_contract(name)


@datasets.get("/datasets/<dataset:name>/template.csv")
@allow("datasets:read")
@operation(
    "Download an empty file with the right header",
    {200: Answer("A CSV with its header only.", media=("text/csv",))},
)
def download_template(name: str) -> Response:
    """To fill in."""
    response = Response(template_csv(get_contract(name)), content_type="text/csv; charset=utf-8")
    attach(response, f"{name}.csv")
    return response


@datasets.post("/datasets")
@allow("datasets:propose")
@operation(
    "Propose a contract for an unknown dataset",
    {200: Answer("A contract to edit and confirm; or why the sample cannot be read.", ProposedContract)},
    description="From a sample file. Inference only proposes; nothing is stored.",
    form=ProposeFields,
)
def propose() -> ProposedContract:
    """Types, key and personal columns as they look."""
    from elt.reading.propose import (
        propose_contract,  # needs Polars, which the API should not wait for to start
    )

    sample = _Sample(ProposeFields)
    stem = PurePosixPath(sample.filename or "dataset.csv").stem
    try:
        contract = propose_contract(sample.stream, sample.said.name or stem, sample.said.read_options())
    except UploadRejected as error:
        sample.explain(error)
        return ProposedContract(contract=None, reason=error.detail, issues=_issues(error))
    sample.finish()
    return ProposedContract(contract=contract)


@datasets.post("/datasets/<dataset:name>/check")
@allow("datasets:check")
@operation(
    "Check a file without handing it in",
    {200: Answer("What would become of it.", CheckReport)},
    description="Reads the whole file as the loader would. Nothing is stored.",
    form=CheckQuery,
)
def check(name: str) -> CheckReport:
    """A dry run."""
    from elt.loading.check import check_file  # needs Polars, which the API should not wait for to start

    contract = get_contract(name)
    sample = _Sample(CheckQuery)
    try:
        report = check_file(
            contract, sample.stream, sample.said.read_options(), only_school=principal().school_id
        )
    except UploadRejected as error:
        sample.explain(error)
        return CheckReport(
            dataset=name,
            would_load=False,
            reason=error.detail,
            counts=CheckCounts(read=0, accepted=0, rejected=0, repeated=0, warnings=0),
            issues=_issues(error),
        )
    sample.finish()
    return CheckReport.model_validate(report.to_dict())


class _Sample(Generic[Model]):
    """A file that is only looked at, while it comes in."""

    def __init__(self, model: type[Model]) -> None:
        self._submission = open_submission(services().settings.max_upload_bytes)
        self._known = dict(self._submission.fields)
        self.said = parse_fields(model, self._known)
        self.filename = self._submission.filename or request.args.get("filename")
        self.stream = BlockReader(self._submission.blocks())

    def explain(self, error: UploadRejected) -> None:
        """Return if the error is about a file that came whole and can be told of in an answer.

        Raises:
            UploadRejected: there is no CSV, or not all of it.
        """
        if isinstance(error, DigestMismatch | NotACsv | TooLarge | TruncatedUpload):
            raise error
        self.finish()

    def finish(self) -> None:
        """Read what is left, to be sure that it was whole and that nothing was said too late.

        Raises:
            InvalidRequest: fields of the form stand behind the file, where they could not be heeded.
        """
        while self.stream.read(BLOCK_BYTES):
            pass
        late = sorted(set(self._submission.fields) - set(self._known))
        if late:
            raise InvalidRequest(f"In the form these must stand before the file: {', '.join(late)[:200]}.")


def _issues(error: UploadRejected) -> list[Any]:
    return [issue.to_dict() for issue in error.issues]


def _summary(contract: Contract) -> DatasetSummary:
    return DatasetSummary(
        name=contract.name,
        title=contract.title,
        description=contract.description,
        grain=contract.grain,
        columns=[field.title for field in contract.file_fields],
    )
