"""Limits on requests, shared by all workers; and what is believed of proxies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from flask import Flask
from pydantic import SecretStr

from backend.app import create_app
from backend.operations import operation_of
from elt.settings import Settings
from elt.warehouse import Connection

BASE = "/api/v1"


@pytest.fixture
def make_app(settings: Settings) -> Iterator[Callable[..., Flask]]:
    """Applications as several workers have them: each with connections of its own."""
    made: list[Flask] = []

    def make(**changes: object) -> Flask:
        made.append(create_app(settings.model_copy(update=changes)))
        return made[-1]

    yield make
    for app in made:
        app.extensions["laurel"].close()


def get(app: Flask, path: str, key: str, address: str = "198.51.100.7", **headers: str) -> int:
    headers = {"Authorization": f"Bearer {key}", **headers}
    return app.test_client().get(path, headers=headers, environ_base={"REMOTE_ADDR": address}).status_code


def test_workers_share_one_count_per_caller(
    make_app: Callable[..., Flask], make_key: Callable[..., str], connection: Connection
) -> None:
    one, two = make_app(caller_requests_per_minute=3), make_app(caller_requests_per_minute=3)
    key = make_key("researcher")
    assert [get(app, f"{BASE}/datasets", key) for app in (one, two, one, two, one)] == [200] * 3 + [429] * 2
    assert get(two, f"{BASE}/datasets", make_key("researcher")) == 200  # another caller
    connection.execute("update ops.rates set expires_at = now()")
    assert get(two, f"{BASE}/datasets", key) == 200  # the next minute


def test_wrong_keys_count_for_their_address(
    make_app: Callable[..., Flask], make_key: Callable[..., str], connection: Connection
) -> None:
    app = make_app(address_requests_per_minute=3)
    unknown = make_key("researcher")
    connection.execute("delete from ops.keys")
    assert [get(app, f"{BASE}/datasets", unknown) for _ in range(4)] == [401, 401, 401, 429]
    assert get(app, f"{BASE}/datasets", unknown, "198.51.100.8") == 401
    wide = [get(app, f"{BASE}/datasets", unknown, f"2001:db8::{n}") for n in range(1, 5)]
    assert wide == [401, 401, 401, 429]  # one customer has many addresses


def test_a_refusal_says_when_to_come_back(
    make_app: Callable[..., Flask], make_key: Callable[..., str]
) -> None:
    app = make_app(caller_requests_per_minute=1)
    client, headers = app.test_client(), {"Authorization": f"Bearer {make_key('researcher')}"}
    client.get(f"{BASE}/datasets", headers=headers)
    refused = client.get(f"{BASE}/datasets", headers=headers)
    assert (refused.status_code, refused.content_type) == (429, "application/problem+json")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.json["type"] == "urn:laurel:problem:too-many-requests"


def test_health_and_documentation_are_not_counted_and_need_no_database(
    make_app: Callable[..., Flask], make_key: Callable[..., str]
) -> None:
    key = make_key("admin")
    app = make_app(
        caller_requests_per_minute=1,
        address_requests_per_minute=1,
        database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"),
    )
    for path in ("/healthz", "/openapi.json", "/apidocs/") * 2:
        assert get(app, path, key) == 200
    assert get(app, f"{BASE}/datasets", key) == 503  # as without limits


def test_a_caller_cannot_choose_its_address(
    make_app: Callable[..., Flask], make_key: Callable[..., str]
) -> None:
    direct = make_app(address_requests_per_minute=2)
    key = make_key("researcher")
    forged = [get(direct, f"{BASE}/datasets", key, **{"X-Forwarded-For": f"10.0.0.{n}"}) for n in range(3)]
    assert forged == [200, 200, 429]
    behind = make_app(address_requests_per_minute=2, trusted_proxies=1)
    # The proxy adds the address that it saw; what the caller wrote before it does not count.
    told = [
        get(behind, f"{BASE}/datasets", key, "127.0.0.1", **{"X-Forwarded-For": f"10.0.0.{n}, 192.0.2.1"})
        for n in range(3)
    ]
    assert told == [200, 200, 429]


@pytest.mark.parametrize(("proxies", "is_believed"), [(0, False), (1, True)])
def test_tls_is_believed_of_a_trusted_proxy_only(
    make_app: Callable[..., Flask], proxies: int, is_believed: bool
) -> None:
    client = make_app(trusted_proxies=proxies).test_client()
    answer = client.get("/healthz", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"})
    assert ("Strict-Transport-Security" in answer.headers) is is_believed


def test_a_large_body_that_is_no_file_is_refused(
    make_app: Callable[..., Flask], make_key: Callable[..., str]
) -> None:
    app = make_app()
    headers = {"Authorization": f"Bearer {make_key('admin')}"}
    taken = []
    for rule in app.url_map.iter_rules():
        declared = operation_of(app, rule.endpoint)
        if declared is None or declared.body is None:
            continue
        path = re.sub(r"<[^>]+>", str(UUID(int=0)), rule.rule)
        [method] = (rule.methods or set()) - {"OPTIONS"}
        body = b'{"name": "' + b"x" * 1024 * 1024 + b'"}'
        answer = app.test_client().open(
            path, method=method, data=body, content_type="application/json", headers=headers
        )
        taken.append((path, answer.status_code))
    assert len(taken) > 5
    assert {status for _, status in taken} == {413}, taken
