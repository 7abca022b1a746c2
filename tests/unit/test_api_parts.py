"""The parts of the API that need no database: forms, digests, kinds of files, errors, the document."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Iterator

import jsonschema
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from structlog.testing import CapturingLogger
from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadRequest

from backend.app import create_app
from backend.digests import read_announced
from backend.errors import InvalidRequest, problem_kind, status_of
from backend.filetypes import check_head
from backend.forms import Form
from backend.operations import parse_query
from backend.schemas.report import ReportAddress
from backend.schemas.students import StudentsQuery
from backend.streams import BlockReader
from elt import errors
from elt.errors import LaurelError, TruncatedUpload, UploadRejected
from elt.settings import Settings


@pytest.fixture(scope="module")
def app() -> Flask:
    return create_app(
        Settings(
            database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"),
            secret_key=SecretStr("x" * 32),
            pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
            store_url="file:///nonexistent",
        )
    )


def in_pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def form_of(content: bytes, fields: dict[str, str], file_at: int) -> bytes:
    parts = [
        f'--bound\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = b'--bound\r\nContent-Disposition: form-data; name="file"; filename="a \xc3\xa9.csv"\r\n'
    parts.insert(file_at, head + b"Content-Type: text/csv\r\n\r\n" + content + b"\r\n")
    return b"".join(parts) + b"--bound--\r\n"


@settings(deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from([b"\r\n--boun", b"--bound", b"\r\n", b"\r", b"-", b"x"])).map(b"".join),
    ).filter(lambda content: b"\r\n--bound" not in b"\r\n" + content + b"\r\n"),
    size=st.integers(1, 120),
    file_at=st.integers(0, 2),
)
def test_a_form_gives_back_file_and_fields_however_it_is_cut(content: bytes, size: int, file_at: int) -> None:
    fields = {"dataset": "students", "note": "ein Gruß"}
    form = Form(in_pieces(form_of(content, fields, file_at), size), "bound")
    assert form.find_file().filename == "a é.csv"
    assert b"".join(form.file_blocks()) == content
    assert form.fields == fields


@settings(deadline=None)
@given(cut=st.integers(0, 250))
def test_a_form_that_is_cut_short_is_never_taken_for_whole(cut: int) -> None:
    whole = form_of(b"a,b\n1,2\n", {"dataset": "students"}, 0)
    last_boundary = len(whole) - 2
    form = Form(in_pieces(whole[: min(cut, last_boundary - 1)], 16), "bound")

    def read_all() -> None:
        form.find_file()
        list(form.file_blocks())

    with pytest.raises(TruncatedUpload):
        read_all()


@pytest.mark.parametrize("boundary", ["", "x" * 5000])
def test_an_impossible_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(BadRequest):
        Form(iter([b"--x"]), boundary).find_file()


def test_a_field_too_long_to_be_one_is_refused() -> None:
    body = form_of(b"a\n", {"note": "x" * 70_000}, 1)
    with pytest.raises(BadRequest, match="longer"):
        Form(iter([body]), "bound").find_file()


def test_both_headers_give_the_digest_in_hexadecimal() -> None:
    digest = hashlib.sha256(b"x")
    text = base64.b64encode(digest.digest()).decode()
    announced = read_announced(
        Headers(
            {
                "Content-Digest": f"sha-512=:AAAA:, sha-256=:{text}:",
                "X-Content-SHA256": digest.hexdigest().upper(),
            }
        )
    )
    assert (announced.content, announced.file) == (digest.hexdigest(), digest.hexdigest())


@pytest.mark.parametrize("head", [b"a,b\n1,2\n", b"PK,price\n", b"\xff\xfea\0\n\0", b"BM,MZ\n", b"\0\n"])
def test_what_may_be_a_csv_passes(head: bytes) -> None:
    check_head(head)


@pytest.mark.parametrize(
    "head", [b"<!DOCTYPE HTML>", b"  <html>", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PAR1", b'[{"a": 1}]']
)
def test_what_is_certainly_no_csv_does_not_pass(head: bytes) -> None:
    with pytest.raises(UploadRejected):
        check_head(head)


@settings(deadline=None)
@given(blocks=st.lists(st.binary(max_size=20)), size=st.integers(1, 9))
def test_a_block_reader_gives_every_byte_once(blocks: list[bytes], size: int) -> None:
    filled = [block for block in blocks if block]
    reader = BlockReader(iter(filled))
    read = b"".join(iter(lambda: reader.read(size), b""))
    assert read == b"".join(filled)


def test_every_error_of_ours_has_a_status_and_a_name() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LaurelError)
    ]
    statuses = {kind.__name__: status_of(kind("why")) for kind in kinds}
    assert statuses["UploadRejected"] == 422
    assert statuses["DigestMismatch"] == statuses["TruncatedUpload"] == 400
    assert statuses["DiskFull"] == statuses["StoreUnavailable"] == 503
    assert statuses["TransformError"] == 500
    assert problem_kind(errors.UploadRejected) == "urn:laurel:problem:upload-rejected"


def test_a_fault_of_ours_is_logged_and_not_shown(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not what reaches a stream: whichever test came before may have set up logging.
    log = CapturingLogger()
    monkeypatch.setattr("backend.errors._log", log)

    def fail() -> None:
        raise RuntimeError("the secret of STU001")

    fail.laurel_action = "health:read"  # type: ignore[attr-defined]
    fresh = create_app(app.extensions["laurel"].settings)
    fresh.add_url_rule("/broken", "broken", fail)
    answer = fresh.test_client().get("/broken")
    assert answer.status_code == 500
    assert "STU001" not in answer.text
    logged = str(log.calls)
    assert "in fail" in logged  # where it happened
    assert "STU001" not in logged.replace(
        'raise RuntimeError("the secret of STU001")', ""
    )  # not what it said
    assert answer.json["instance"].removeprefix("urn:uuid:") in answer.json["detail"]


def test_an_error_that_repeats_half_a_character_is_still_told(app: Flask) -> None:
    def fail() -> None:
        raise errors.NotFound("no \ud800 here")

    fail.laurel_action = "health:read"  # type: ignore[attr-defined]
    fresh = create_app(app.extensions["laurel"].settings)
    fresh.add_url_rule("/half", "half", fail)
    answer = fresh.test_client().get("/half")
    assert (answer.status_code, answer.json["detail"]) == (404, "no ? here")


def test_invented_methods_are_counted_as_one(app: Flask) -> None:
    for method in ("PUT", "BREW", "WHEN"):
        app.test_client().open("/healthz", method=method)
    counted = app.test_client().get("/metrics").text
    assert 'method="other"' in counted
    assert 'method="PUT"' in counted
    assert "BREW" not in counted
    assert "WHEN" not in counted


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nope", 404), ("PUT", "/healthz", 405)])
def test_the_frameworks_errors_are_problems_too(app: Flask, method: str, path: str, status: int) -> None:
    answer = app.test_client().open(path, method=method)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.json["status"] == status
    assert ("Allow" in answer.headers) == (status == 405)


def test_the_document_is_valid_and_the_same_at_both_addresses(app: Flask) -> None:
    client = app.test_client()
    document = client.get("/openapi.json").json
    assert document == client.get("/apispec_1.json").json
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    identifiers = [
        operation["operationId"] for path in document["paths"].values() for operation in path.values()
    ]
    assert len(identifiers) == len(set(identifiers))
    file = document["paths"]["/api/v1/uploads"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert file["schema"]["properties"]["file"]["contentMediaType"] == "text/csv"


def test_every_reference_in_the_document_leads_somewhere(app: Flask) -> None:
    document = app.test_client().get("/openapi.json").json

    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in set(references(document)):
        place: object = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]  # type: ignore[index]


def test_swagger_ui_comes_from_our_own_host_only(app: Flask) -> None:
    answer = app.test_client().get("/apidocs/?url=https://example.org/evil.json")
    assert answer.status_code == 200
    assert "https://" not in answer.text
    assert "evil" not in answer.text
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe-eval" not in answer.headers["Content-Security-Policy"]
    for path in (
        "vendor/swagger-ui/swagger-ui-bundle.js",
        "vendor/swagger-ui/swagger-ui.css",
        "apidocs/start.js",
    ):
        assert app.test_client().get(f"/static/{path}").status_code == 200


def test_an_asset_has_one_name_and_is_kept_as_long_as_it_is_the_same(app: Flask) -> None:
    client = app.test_client()
    with app.test_request_context():
        address = app.jinja_env.globals["asset"]("laurel.css")  # type: ignore[operator]
    kept = client.get(address, headers={"Accept-Encoding": "gzip"})
    assert (kept.status_code, kept.headers["Content-Encoding"]) == (200, "gzip")
    assert "immutable" in kept.headers["Cache-Control"]
    assert gzip.decompress(kept.data) == client.get(address).data
    assert client.get("/assets/laurel.css?v=older").headers["Cache-Control"] == "no-cache"
    for other in ("./laurel.css", "vendor/../laurel.css", "../app.py", "nothing.css"):
        assert client.get(f"/assets/{other}", headers={"Accept-Encoding": "gzip"}).status_code == 404, other


@pytest.mark.parametrize(
    ("model", "query", "said"),
    [
        (ReportAddress, "school=main&id=x&grade_level=SS1", "In the address: give either"),
        (StudentsQuery, "after=x", "In the address: after: is not written as it has to be here"),
        (StudentsQuery, "limit=0", "In the address: limit: Input should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_without_words_of_a_library(
    app: Flask, model: type[BaseModel], query: str, said: str
) -> None:
    with app.test_request_context(f"/?{query}"), pytest.raises(InvalidRequest) as refused:
        parse_query(model, is_form=True)
    assert refused.value.detail.startswith(said)
    for word in ("Value error", "body:", "match pattern", "^"):
        assert word not in f"{refused.value.detail}{refused.value.issues}"
