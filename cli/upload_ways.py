"""Two ways to the same uploads: over HTTP, or straight to the database and store of this machine.

Both speak in the API's own words, so that a command need not know which way it goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import click
import httpx
from pydantic import ValidationError
from uuid6 import uuid7

from backend.errors import InvalidRequest
from backend.filetypes import HEAD_BYTES, check_head
from backend.schemas.uploads import Upload, UploadDetail, UploadQuery
from cli.account import caller
from elt.errors import ConfigurationError, Issue, LaurelError, UploadRejected
from elt.log import configure_logging
from elt.notify import announce_upload
from elt.people.keys import is_well_formed
from elt.people.principals import Principal
from elt.settings import Settings, load_settings
from elt.store.base import Store, open_store
from elt.store.object_keys import new_object_key
from elt.uploads.accept import NewUpload, accept_upload, check_request
from elt.uploads.ledger import get_upload, list_uploads
from elt.uploads.lifecycle import retry_upload, withdraw_upload
from elt.uploads.rejects import row_issues
from elt.warehouse import Connection, connect
from local.services import local_url

Json = dict[str, Any]

_BLOCK = 1024 * 1024
_ISSUES = 50


class Way(Protocol):
    """What the commands need; each answer is the API's JSON."""

    def upload(self, file: Path, said: dict[str, str]) -> Json:
        """Hand a file in."""

    def show(self, upload_id: UUID) -> Json:
        """One upload with its issues."""

    def list(self, limit: int) -> list[Json]:
        """The newest uploads."""

    def withdraw(self, upload_id: UUID) -> Json:
        """Take one back."""

    def retry(self, upload_id: UUID) -> Json:
        """Let a failed one wait again."""


@contextmanager
def open_way(url: str | None, key: str | None) -> Iterator[Way]:
    """Over HTTP where there is a key, so that its owner acts and nobody else; without one straight.

    Raises:
        UsageError: an address without a key, a key that is none, or one that no API on this machine awaits.
        ConfigurationError: neither a key nor a platform on this machine.
    """
    if key is not None:
        if not (key.isascii() and is_well_formed(key)):
            raise click.UsageError("This is no API key: look for a typing error in --key or LAUREL_API_KEY.")
        with _client(url or _local_api(), key, through_proxy=url is not None) as client:
            yield _Remote(client)
        return
    if url is not None:
        raise click.UsageError("An address needs a key: give --key or set LAUREL_API_KEY.")
    settings = load_settings()
    configure_logging(json=settings.log_json, level="WARNING")
    with connect(settings.database_url.get_secret_value(), application_name="laurel-uploads") as connection:
        yield _Direct(settings, connection, open_store(settings.resolved_store_url))


def _local_api() -> str:
    try:
        settings = load_settings()
        url = local_url(settings, settings.port)
        httpx.get(f"{url}/healthz", timeout=10, trust_env=False).raise_for_status()
    except (ConfigurationError, httpx.HTTPError):
        raise click.UsageError(
            "There is a key but no address, and no Laurel answers on this machine. Give --url or set "
            "LAUREL_URL, or start one (./start.sh up)."
        ) from None
    return url


def _client(url: str, key: str, *, through_proxy: bool) -> httpx.Client:
    return httpx.Client(
        base_url=f"{url.rstrip('/').removesuffix('/api/v1')}/api/v1",
        headers={"Authorization": f"Bearer {key}"},
        timeout=httpx.Timeout(60, write=None, read=600),  # a large file takes its time
        trust_env=through_proxy,
    )


class _Remote:
    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def upload(self, file: Path, said: dict[str, str]) -> Json:
        with file.open("rb") as content:
            return self._ask(
                "POST",
                "/uploads",
                params={"filename": file.name, **said},
                content=iter(lambda: content.read(_BLOCK), b""),
                headers={"Content-Type": "text/csv", "Content-Length": str(file.stat().st_size)},
            )

    def show(self, upload_id: UUID) -> Json:
        return self._ask("GET", f"/uploads/{upload_id}")

    def list(self, limit: int) -> list[Json]:
        found: list[Json] = self._ask("GET", "/uploads", params={"limit": limit})["items"]
        return found

    def withdraw(self, upload_id: UUID) -> Json:
        return self._ask("DELETE", f"/uploads/{upload_id}")

    def retry(self, upload_id: UUID) -> Json:
        return self._ask("POST", f"/uploads/{upload_id}/retry")

    def _ask(self, method: str, path: str, **sent: Any) -> Json:
        try:
            answer = self._client.request(method, path, **sent)
        except httpx.TransportError as error:
            raise LaurelError(f"No answer from {self._client.base_url} ({type(error).__name__}).") from error
        try:
            body = answer.json()
        except ValueError:
            raise LaurelError(
                f"{self._client.base_url} answers {answer.status_code}, and not as Laurel."
            ) from None
        if not answer.is_success:
            raise _refused(body)
        return dict(body)


def _refused(problem: Json) -> UploadRejected:
    error = UploadRejected(problem.get("detail", ""), [Issue(**issue) for issue in problem.get("issues", [])])
    error.title = problem.get("title", error.title)
    return error


class _Direct:
    def __init__(self, settings: Settings, connection: Connection, store: Store) -> None:
        self._settings = settings
        self._connection = connection
        self._store = store
        self._principal = Principal(caller(), "admin", None, "Command line")

    def upload(self, file: Path, said: dict[str, str]) -> Json:
        try:
            query = UploadQuery.model_validate_strings(said)
        except ValidationError as error:
            raise InvalidRequest.of(error, "In the options") from None
        request = NewUpload(
            dataset=query.dataset,
            filename=file.name,
            media_type="text/csv",
            school_id=query.school_id or self._settings.default_school_id,
            title=query.title,
            note=query.note,
            fixes=UUID(query.fixes) if query.fixes else None,
            options=query.read_options(),
        )
        check_request(self._connection, request, self._principal)
        upload_id = UUID(int=uuid7().int)
        key = new_object_key(upload_id, 1, file.name)
        with file.open("rb") as content:
            check_head(content.read(HEAD_BYTES))
            content.seek(0)
            stored = self._store.put(key, iter(lambda: content.read(_BLOCK), b""), media_type="text/csv")
        accepted = accept_upload(self._connection, self._store, upload_id, request, stored, self._principal)
        if accepted.created:
            announce_upload(self._settings, accepted.upload_id, wait=True)
        return self.show(accepted.upload_id)

    def show(self, upload_id: UUID) -> Json:
        record = get_upload(self._connection, upload_id)
        rows = row_issues(self._connection, self._store, upload_id, limit=_ISSUES + 1)
        more = "laurel status" if len(rows) > _ISSUES else None
        return UploadDetail.with_issues(record, rows[:_ISSUES], more).model_dump(mode="json")

    def list(self, limit: int) -> list[Json]:
        found = list_uploads(self._connection, limit=limit)
        return [Upload.of(record).model_dump(mode="json") for record in found]

    def withdraw(self, upload_id: UUID) -> Json:
        withdraw_upload(self._connection, self._store, upload_id, self._principal)
        announce_upload(self._settings, upload_id, wait=True)
        return self.show(upload_id)

    def retry(self, upload_id: UUID) -> Json:
        retry_upload(self._connection, upload_id, self._principal)
        announce_upload(self._settings, upload_id, wait=True)
        return self.show(upload_id)
