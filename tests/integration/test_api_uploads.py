"""Handing in files over HTTP, in process: what is answered, and what is in the store afterwards."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection

CSV = b"Student ID,First Name\nSTU001,Ada\n"
BASE = "/api/v1/uploads"


def objects(store: Store) -> list[str]:
    return [item.key for item in store.list("uploads/")]


def as_form(content: bytes = CSV, **fields: str) -> dict[str, Any]:
    return {**fields, "file": (io.BytesIO(content), "students.csv", "text/csv")}


def test_a_raw_body_is_stored_and_recorded(researcher: FlaskClient, store: Store) -> None:
    answer = researcher.post(f"{BASE}?dataset=students&filename=s.csv", data=CSV, content_type="text/csv")
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{BASE}/{answer.json['id']}"
    assert answer.json["status"] == "stored"
    assert answer.json["sha256"] == hashlib.sha256(CSV).hexdigest()
    assert answer.json["counts"]["read"] is None
    [key] = objects(store)
    assert store.open(key).read() == CSV


def test_a_form_is_stored_without_its_wrapping(researcher: FlaskClient, store: Store) -> None:
    answer = researcher.post(BASE, data=as_form(dataset="students", note="first try"))
    assert answer.status_code == 201
    assert answer.json["note"] == "first try"
    assert answer.json["filename"] == "students.csv"
    [key] = objects(store)
    assert store.open(key).read() == CSV


@pytest.mark.parametrize("dataset_first", [True, False])
def test_fields_of_a_form_may_stand_before_or_behind_its_file(
    researcher: FlaskClient, dataset_first: bool
) -> None:
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="dataset"\r\n\r\nstudents\r\n',
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n' + CSV + b"\r\n",
    ]
    body = b"".join(parts if dataset_first else parts[::-1]) + b"--b--\r\n"
    answer = researcher.post(BASE, data=body, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 201, answer.json
    assert answer.json["dataset"] == "students"
    assert answer.json["size_bytes"] == len(CSV)


def test_the_same_bytes_again_answer_with_the_first_upload(researcher: FlaskClient, store: Store) -> None:
    first = researcher.post(BASE, data=as_form(dataset="students"))
    again = researcher.post(BASE, data=as_form(dataset="students"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json["id"] == first.json["id"]
    assert len(objects(store)) == 1


def test_an_idempotency_key_repeats_its_request_and_no_other(researcher: FlaskClient) -> None:
    headers = {"Idempotency-Key": "monday-1"}
    first = researcher.post(BASE, data=as_form(dataset="students"), headers=headers)
    again = researcher.post(BASE, data=as_form(dataset="students"), headers=headers)
    other = researcher.post(BASE, data=as_form(CSV + b"STU002,Bisi\n", dataset="students"), headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert again.json["id"] == first.json["id"]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Content-Digest", f"sha-256=:{base64.b64encode(hashlib.sha256(CSV).digest()).decode()}:"),
        ("X-Content-SHA256", hashlib.sha256(CSV).hexdigest()),
    ],
)
def test_announced_digests_are_compared(
    researcher: FlaskClient, store: Store, header: str, value: str
) -> None:
    url = f"{BASE}?dataset=students"
    wrong = researcher.post(url, data=CSV + b"more\n", headers={header: value})
    assert wrong.status_code == 400
    assert wrong.json["type"] == "urn:laurel:problem:digest-mismatch"
    assert objects(store) == []
    assert researcher.post(url, data=CSV, headers={header: value}).status_code == 201


def test_a_digest_sent_with_a_form_may_be_that_of_the_form_or_of_its_file(
    researcher: FlaskClient, store: Store
) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + CSV + b"\r\n--b--\r\n"
    for covered, status in ((b"else", 400), (body, 201), (CSV, 200)):
        digest = base64.b64encode(hashlib.sha256(covered).digest()).decode()
        answer = researcher.post(
            f"{BASE}?dataset=students",
            data=body,
            content_type="multipart/form-data; boundary=b",
            headers={"Content-Digest": f"sha-256=:{digest}:"},
        )
        assert answer.status_code == status, answer.json
    assert len(objects(store)) == 1


@pytest.mark.parametrize("value", ["sha-256=abc", "sha-256=:abc:", "md5=:abcd:", ""])
def test_a_digest_that_cannot_be_checked_is_refused(researcher: FlaskClient, value: str) -> None:
    answer = researcher.post(f"{BASE}?dataset=students", data=CSV, headers={"Content-Digest": value})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"x" * 600, "PNG"),
        (b"PK\x03\x04" + b"x" * 600, "CSV UTF-8"),
        (b"%PDF-1.7\n" + b"x" * 600, "PDF"),
        (b"\0" * 5000, "zero bytes"),
        (b"", "empty"),
    ],
)
@pytest.mark.parametrize("form", [True, False])
def test_what_is_certainly_no_csv_is_refused_with_advice(
    researcher: FlaskClient, store: Store, content: bytes, word: str, form: bool
) -> None:
    body, media = content, "text/csv"
    if form:  # by hand: the test client's own form is malformed where the file is empty
        body = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + content + b"\r\n--b--\r\n"
        media = "multipart/form-data; boundary=b"
    answer = researcher.post(f"{BASE}?dataset=students", data=body, content_type=media)
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert word in answer.json["detail"]
    assert answer.json["issues"][0]["hint"]
    assert objects(store) == []


def test_an_unknown_dataset_names_the_known_ones(researcher: FlaskClient, store: Store) -> None:
    for answer in (
        researcher.post(f"{BASE}?dataset=pupils", data=CSV),
        researcher.post(BASE, data=as_form(dataset="pupils")),
    ):
        assert answer.status_code == 422
        assert "academic_history" in answer.json["detail"]
    assert objects(store) == []


@pytest.mark.parametrize(
    ("query", "column"),
    [("", "dataset"), ("dataset=students&colour=red", "colour"), ("dataset=students&fixes=me", "fixes")],
)
def test_what_is_said_wrongly_about_a_file_is_named(
    researcher: FlaskClient, store: Store, query: str, column: str
) -> None:
    for answer in (
        researcher.post(f"{BASE}?{query}", data=CSV),
        researcher.post(f"{BASE}?{query}", data=as_form()),
    ):
        assert answer.status_code == 422
        assert [issue["column"] for issue in answer.json["issues"]] == [column]
    assert objects(store) == []


@pytest.mark.parametrize(
    "body",
    [
        b"no form at all",
        b'--b\r\nContent-Disposition: form-data; name="dataset"\r\n\r\nstudents\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n' * 2 + b"--b--\r\n",
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
    ],
)
def test_a_malformed_form_is_refused_and_leaves_nothing(
    researcher: FlaskClient, store: Store, body: bytes
) -> None:
    answer = researcher.post(
        f"{BASE}?dataset=students", data=body, content_type="multipart/form-data; boundary=b"
    )
    assert answer.status_code == 400, answer.json
    assert objects(store) == []


def test_a_form_that_ends_early_is_refused_and_leaves_nothing(researcher: FlaskClient, store: Store) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + CSV
    answer = researcher.post(
        f"{BASE}?dataset=students", data=body, content_type="multipart/form-data; boundary=b"
    )
    assert answer.status_code == 400
    assert answer.json["type"] == "urn:laurel:problem:truncated-upload"
    assert objects(store) == []


def test_a_file_over_the_limit_is_refused(settings: Settings, connection: Connection, store: Store) -> None:
    from elt.people.keys import create_key

    small = settings.model_copy(update={"max_upload_bytes": 20})
    app = create_app(small)
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = (
        f"Bearer {create_key(connection, 'k', 'researcher', None, 't')[1]}"
    )
    for answer in (
        client.post(f"{BASE}?dataset=students", data=CSV),
        client.post(BASE, data=as_form(dataset="students")),
    ):
        assert answer.status_code == 413
    assert objects(store) == []
    app.extensions["laurel"].close()


def test_an_upload_is_shown_to_its_uploader_and_to_admins_only(
    researcher: FlaskClient, client_of: Callable[..., FlaskClient]
) -> None:
    made = researcher.post(BASE, data=as_form(dataset="students")).json
    address = f"{BASE}/{made['id']}"
    other, admin = client_of("researcher"), client_of("admin")
    assert researcher.get(address).json["id"] == made["id"]
    assert admin.get(address).json["uploader"] == made["uploader"]
    assert other.get(address).status_code == 404
    for method, path in (
        ("GET", "/content"), ("GET", "/issues"), ("GET", "/rejects.csv"), ("DELETE", ""), ("PUT", ""),
    ):  # fmt: skip
        assert other.open(address + path, method=method).status_code == 404
    assert other.patch(address, json={"note": "mine"}).status_code == 404
    assert [item["id"] for item in admin.get(BASE).json["items"]] == [made["id"]]
    assert other.get(BASE).json == {"items": [], "next": None}


def test_lists_page_by_cursor_newest_first(researcher: FlaskClient) -> None:
    made = [
        researcher.post(BASE, data=as_form(CSV + f"STU{n},X\n".encode(), dataset="students")).json["id"]
        for n in range(5)
    ]
    seen: list[str] = []
    after = ""
    while True:
        page = researcher.get(f"{BASE}?limit=2{after}").json
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == made[::-1]
    assert researcher.get(f"{BASE}?dataset=teachers").json["items"] == []
    assert len(researcher.get(f"{BASE}?status=stored").json["items"]) == 5


def test_the_file_comes_back_as_it_was_sent(researcher: FlaskClient) -> None:
    made = researcher.post(BASE, data=as_form(dataset="students")).json
    answer = researcher.get(f"{BASE}/{made['id']}/content")
    assert answer.data == CSV
    assert answer.headers["ETag"] == f'"{made["sha256"]}"'
    assert answer.headers["Cache-Control"] == "no-store"  # computers are shared
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    same = researcher.get(f"{BASE}/{made['id']}/content", headers={"If-None-Match": answer.headers["ETag"]})
    assert same.status_code == 304


def test_a_path_in_the_name_of_a_file_is_left_out(researcher: FlaskClient) -> None:
    answer = researcher.post(f"{BASE}?dataset=students&filename=C:%5Cmine%5C..%2Fscores.csv", data=CSV)
    assert answer.json["filename"] == "scores.csv"


def test_a_new_version_keeps_the_upload(researcher: FlaskClient) -> None:
    made = researcher.post(BASE, data=as_form(dataset="students")).json
    changed = CSV + b"STU002,Bisi\n"
    answer = researcher.put(f"{BASE}/{made['id']}?filename=better.csv", data=changed)
    assert answer.status_code == 200, answer.json
    assert answer.json["id"] == made["id"]
    assert [version["version"] for version in answer.json["versions"]] == [2, 1]
    assert researcher.get(f"{BASE}/{made['id']}/content").data == changed
    assert researcher.get(f"{BASE}/{made['id']}/content?version=1").data == CSV


def test_title_and_note_change_without_the_other(researcher: FlaskClient) -> None:
    made = researcher.post(BASE, data=as_form(dataset="students", title="Spring", note="draft")).json
    changed = researcher.patch(f"{BASE}/{made['id']}", json={"note": None})
    assert (changed.json["title"], changed.json["note"]) == ("Spring", None)


def test_a_withdrawn_upload_says_so_and_cannot_be_withdrawn_twice(researcher: FlaskClient) -> None:
    made = researcher.post(BASE, data=as_form(dataset="students")).json
    assert researcher.delete(f"{BASE}/{made['id']}").json["status"] == "withdrawn"
    assert researcher.get(f"{BASE}/{made['id']}").json["status"] == "withdrawn"
    assert researcher.delete(f"{BASE}/{made['id']}").status_code == 409
    assert researcher.put(f"{BASE}/{made['id']}", data=CSV).status_code == 409


def test_a_key_of_one_school_hands_in_for_that_school_only(client_of: Callable[..., FlaskClient]) -> None:
    bound = client_of("researcher", school_id="north")
    assert bound.post(BASE, data=as_form(dataset="students")).json["school_id"] == "north"
    refused = bound.post(BASE, data=as_form(dataset="students", school_id="south"))
    assert refused.status_code == 403


def test_a_school_named_behind_the_file_is_refused_and_leaves_no_object(
    client_of: Callable[..., FlaskClient], store: Store
) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n' + CSV + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="school_id"\r\n\r\nsouth\r\n--b--\r\n'
    )
    refused = client_of("researcher", school_id="north").post(
        f"{BASE}?dataset=students", data=body, content_type="multipart/form-data; boundary=b"
    )
    assert refused.status_code == 403, refused.text
    assert objects(store) == []


def test_only_admins_approve(researcher: FlaskClient, client_of: Callable[..., FlaskClient]) -> None:
    made = researcher.post(BASE, data=as_form(dataset="students")).json
    assert researcher.post(f"{BASE}/{made['id']}/approve").status_code == 403
    assert client_of("admin").post(f"{BASE}/{made['id']}/approve").status_code == 409
