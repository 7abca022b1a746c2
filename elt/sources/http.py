"""Records of an API that answers in JSON, page by page.

Answers are small (a school's results of some years), so all of a request is read before it is compared. An
API whose number of records changes while it is read is read again from the first page.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import stamina

from elt.contracts import Contract
from elt.errors import SourceFault, SourceUnavailable
from elt.outgoing import NotCalledError, get, new_client
from elt.sources.configuration import Request
from elt.sources.tables import Digest, SourceRows, TableSpec, range_of, shape_of

_ATTEMPTS = 6
_LONGEST_PAUSE = 60.0  # seconds that we let an API make us wait
_READINGS = 4
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_REFUSED = {401: "the key is missing or wrong", 403: "the key may not read this"}


class Api:
    """An API at its address."""

    def __init__(
        self, address: str, key: str | None, *, parameters: dict[str, str], allow: str, timeout_seconds: int
    ) -> None:
        """`key` goes into the header X-API-Key. `allow`: as in `elt.outgoing`."""
        self._address = address.rstrip("/")
        self._headers = {"X-API-Key": key} if key else {}
        self._parameters = parameters
        self._allow = allow
        self._client = new_client(httpx.Timeout(min(60, timeout_seconds), connect=10))

    def close(self) -> None:
        """Close what is kept open between two questions."""
        self._client.close()

    def table(self, request: Request, contract: Contract) -> ApiTable:
        """The records of one request.

        Raises:
            SourceFault: a parameter that it needs is not set, or records lack a column of the key.
            SourceUnavailable: the API does not answer, however often it is asked.
        """
        try:
            query = {name: value.format(**self._parameters) for name, value in request.query.items()}
        except KeyError as error:
            raise SourceFault(
                f"{request.path} needs the parameter {error.args[0]}; set it under `parameters` of the "
                f"source."
            ) from None
        records: list[dict[str, Any]] = []
        for year in self._years(request):
            asked = {**query, request.year: str(year)} if request.year else query
            records += self._all_records(request, asked)
        return ApiTable(request, contract, records)

    def _years(self, request: Request) -> Sequence[int | None]:
        if request.year is None:
            return [None]
        return range(request.years_from, datetime.now(UTC).year + 1)

    def _all_records(self, request: Request, query: dict[str, str]) -> list[dict[str, Any]]:
        for _ in range(_READINGS):
            records = self._read_pages(request, query)
            if records is not None:
                return records
        raise SourceUnavailable(
            f"The number of records of {request.path} changed each of {_READINGS} times that it was read. "
            "It is tried again with the next run."
        )

    def _read_pages(self, request: Request, query: dict[str, str]) -> list[dict[str, Any]] | None:
        """All pages of one question; None where the number of records changed on the way."""
        records: list[dict[str, Any]] = []
        expected: int | None = None
        while True:
            page = {}
            if request.paging:
                page = {
                    request.paging.offset: str(len(records)),
                    request.paging.size: str(request.paging.rows),
                }
            answer = self._ask(request, {**query, **page})
            if answer is None:
                return None if records and expected is not None and len(records) != expected else records
            found = answer.get(request.records)
            if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
                raise SourceFault(
                    f"{request.path} answers without a list of records under {request.records!r}."
                )
            total = answer.get(request.total) if request.total else None
            if expected is not None and total != expected:
                return None
            expected = total if isinstance(total, int) else None
            if records and found[:1] == records[:1]:
                return records  # it gives all at once, whichever page is asked for
            records += found
            if not request.paging or not found or len(records) == expected:
                return records
            if expected is None and len(found) < request.paging.rows:
                return records
            if expected is not None and len(records) > expected:
                return None

    def _ask(self, request: Request, query: dict[str, str]) -> dict[str, Any] | None:
        """One answer; None where there are no records. What may pass is asked again, as the API wants it."""
        for attempt in stamina.retry_context(
            on=_pause_before_retry, attempts=_ATTEMPTS, timeout=5 * _LONGEST_PAUSE, wait_max=_LONGEST_PAUSE
        ):
            with attempt:
                return self._ask_once(request, query)
        raise AssertionError  # the last attempt has raised

    def _ask_once(self, request: Request, query: dict[str, str]) -> dict[str, Any] | None:
        path = request.path
        try:
            answer = get(
                self._client, self._address + path, query=query, headers=self._headers, allow=self._allow
            )
        except NotCalledError as error:
            raise SourceFault(f"{path} was not called. {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _NotAnsweredError(f"{path} does not answer ({type(error).__name__}).") from None
        if answer.status_code == request.nothing:
            return None
        if answer.status_code in _RETRIED:
            raise _NotAnsweredError(f"{path} answers {answer.status_code}.", _retry_after(answer))
        if not answer.is_success:
            why = _REFUSED.get(answer.status_code, "its parameters do not fit")
            raise SourceFault(f"{path} answers {answer.status_code}: {why}.")
        try:
            content = answer.json()
        except ValueError:
            raise _NotAnsweredError(f"{path} answers with something that is no JSON.") from None
        if not isinstance(content, dict):
            raise SourceFault(f"{path} answers with something else than an object.")
        return content


class _NotAnsweredError(SourceUnavailable):
    """May pass. `pause`: how many seconds the API asks us to wait."""

    def __init__(self, detail: str, pause: float | None = None) -> None:
        super().__init__(detail)
        self.pause = pause


def _pause_before_retry(error: Exception) -> bool | float:
    if not isinstance(error, _NotAnsweredError):
        return False
    return True if error.pause is None else min(error.pause, _LONGEST_PAUSE)


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds, from either of the two forms that the header has."""
    said = answer.headers.get("Retry-After", "")
    if said.isdecimal():
        return float(said)
    try:
        wanted: float = parsedate_to_datetime(said).timestamp()
        return max(0.0, wanted - time.time())
    except ValueError:
        return None


class ApiTable:
    """The records of one request as a table; see `elt.sources.tables.SourceTable`."""

    def __init__(self, request: Request, contract: Contract, records: list[dict[str, Any]]) -> None:
        spec = TableSpec(request.path, contract.name, columns=dict(request.columns), ignore=request.ignore)
        found = {name: "json" for record in records for name in record}
        if not records:  # nothing to look at; the columns are those that were asked for
            found = {spec.source_column(name): "json" for name in contract.columns}
        shape = shape_of(request.path, contract, found, spec, without=list(request.constants))
        columns = (*request.constants, *shape.columns)
        self.shape = replace(shape, columns=columns)
        self._rows: dict[int, SourceRows] = {}
        position = columns.index(self.shape.range_column)
        for record in records:
            cells = tuple(
                request.constants.get(name, _as_text(record.get(spec.source_column(name))))
                for name in columns
            )
            number = range_of(cells[position] or "")
            rows = self._rows.setdefault(number, SourceRows(number, [], []))
            rows.hashes.append(_hash(cells))
            rows.cells.append(cells)

    def clock(self) -> float:
        """Ours: an API has none to tell."""
        return time.time()

    def is_unchanged_since(self, clock: float) -> bool:  # noqa: ARG002
        """It cannot tell."""
        return False

    def digests(self) -> dict[int, Digest]:
        """Of what was read."""
        return {number: Digest(len(rows), sum(rows.hashes)) for number, rows in self._rows.items()}

    def rows(self, ranges: Sequence[int]) -> Iterator[SourceRows]:
        """What was read."""
        return (self._rows[number] for number in sorted(ranges) if number in self._rows)

    def count(self) -> int:
        """How many records were read."""
        return sum(map(len, self._rows.values()))

    def newest_mark(self) -> str | None:
        """A request has no cursor."""
        return None

    def rows_since(self, mark: str) -> Iterator[SourceRows]:  # noqa: ARG002
        """Never asked for."""
        return iter(())


def _as_text(value: Any) -> str | None:
    """A JSON value as a cell; what is no plain value, as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else json.dumps(value, sort_keys=True)


def _hash(cells: tuple[str | None, ...]) -> int:
    digest = hashlib.blake2b(json.dumps(cells).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
