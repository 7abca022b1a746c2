"""A server that gives examination results as the boards' API does; for tests and the demo.

Answers are pages of `{"status", "records", "total", "data"}` in an order that stays; refusals have `detail`.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from flask import Flask, Response, abort, request
from pydantic import TypeAdapter, ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, make_server

from demo.exam_faults import Fault, FaultQueue
from demo.exam_openapi import DEFAULT_LIMIT, MAX_LIMIT, describe, render_page
from demo.exam_records import SAT, WAEC, ExamRecords, RecordKind
from elt.errors import ConfigurationError

PATHS = {"/get-waec-records": WAEC, "/get-sat-scores": SAT}
_OPEN = ("/docs", "/openapi.json")
_MOST_WHOLE_NUMBER = 2**63 - 1

Json = dict[str, Any]


def create_exam_app(
    records: Path,
    *,
    api_key: str | None = None,
    faults: Iterable[Fault] = (),
    allow_faults: bool = False,
) -> Flask:
    """The server's application. Its faults can be told by `app.extensions["exam_faults"]`, too.

    Args:
        records: a CSV file, or a folder of them; see `demo.exam_records`.
        api_key: what the header X-API-Key must hold; None lets everybody in.
        faults: what goes wrong first.
        allow_faults: whether `/faults` lets callers say what goes wrong.

    Raises:
        ConfigurationError: the records cannot be read.
    """
    found = ExamRecords(records)
    queue = FaultQueue(faults)
    app = Flask("laurel-exam-server", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["exam_faults"] = queue
    document = describe(PATHS, needs_key=api_key is not None)

    @app.before_request
    def check_key() -> None:
        given = request.headers.get("X-API-Key", "")
        if api_key is not None and request.path not in _OPEN and not _is_same(given, api_key):
            abort(401, "The key in the header X-API-Key is missing or wrong.")

    for path, kind in PATHS.items():
        app.add_url_rule(path, path, lambda kind=kind: _answer(found, kind, queue))
    app.add_url_rule("/docs", "docs", lambda: render_page(document))
    app.add_url_rule("/openapi.json", "openapi", lambda: document)
    if allow_faults:
        app.add_url_rule(
            "/faults", "faults", lambda: _change_faults(queue), methods=["GET", "POST", "DELETE"]
        )
    app.register_error_handler(HTTPException, _refuse)
    app.register_error_handler(_WrongParameters, lambda error: ({"detail": error.issues}, 422))
    app.register_error_handler(ConfigurationError, lambda error: ({"detail": error.detail}, 503))
    return app


@contextmanager
def serve_in_background(app: Flask, port: int = 0) -> Iterator[str]:
    """Serve on the loopback address while the context lasts; gives the address. Port 0: any that is free."""
    server = open_server(app, "127.0.0.1", port)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def open_server(app: Flask, host: str, port: int) -> BaseWSGIServer:
    """A server that listens already; `serve_forever` answers, each request in a thread of its own."""
    return make_server(host, port, app, threaded=True)


class _WrongParameters(Exception):
    def __init__(self, issues: list[Json]) -> None:
        super().__init__("wrong parameters")
        self.issues = issues


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _refuse(error: HTTPException) -> tuple[Json, int]:
    return {"detail": error.description}, error.code or 500


def _answer(found: ExamRecords, kind: RecordKind, faults: FaultQueue) -> Response:
    school, year, skip, limit = _parameters(kind)
    records = found.find(kind, school, year)
    if not records:
        abort(404, f"There are no {kind.name} of school {school} in {year}.")
    fault = faults.take()
    if fault and fault.kind in ("too_many_requests", "unavailable"):
        return _refuse_for_now(fault)
    if fault and fault.kind == "slow":
        time.sleep(fault.seconds)
    if fault and fault.kind == "growing":
        records = records[:-1]
    page = records[skip : skip + limit]
    body = {"status": "success", "records": len(page), "total": len(records), "data": page}
    return _cut(body) if fault and fault.kind == "cut" else _json(body)


def _parameters(kind: RecordKind) -> list[int]:
    """School, year, skip and limit.

    Raises:
        _WrongParameters: some are missing or wrong; lists all of them.
    """
    issues: list[Json] = []
    values = [
        _whole_number(kind.school, None, 0, _MOST_WHOLE_NUMBER, issues),
        _whole_number("exam_year", None, 0, _MOST_WHOLE_NUMBER, issues),
        _whole_number("skip", 0, 0, _MOST_WHOLE_NUMBER, issues),
        _whole_number("limit", DEFAULT_LIMIT, 1, MAX_LIMIT, issues),
    ]
    if issues:
        raise _WrongParameters(issues)
    return values


def _whole_number(name: str, default: int | None, low: int, high: int, issues: list[Json]) -> int:
    given = request.args.get(name)
    if given is None and default is not None:
        return default
    if (
        given is not None
        and given.isascii()
        and given.isdecimal()
        and len(given) <= len(str(_MOST_WHOLE_NUMBER))
    ):
        value = int(given)
        if low <= value <= high:
            return value
    expected = f"expected a whole number from {low} to {high}"
    kind, text = ("missing", "missing; " + expected) if given is None else ("int_range", expected)
    issues.append({"type": kind, "loc": ["query", name], "msg": text})
    return low


def _refuse_for_now(fault: Fault) -> Response:
    if fault.kind == "unavailable":
        return _json({"detail": "The board is not available right now."}, 503)
    answer = _json({"detail": "Too many requests."}, 429)
    answer.headers["Retry-After"] = f"{fault.seconds:.0f}"
    return answer


def _json(body: Json, status: int = 200) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")


def _cut(body: Json) -> Response:
    """An answer that announces all of its bytes and breaks off after half of them."""
    content = json.dumps(body, ensure_ascii=False).encode()

    def half() -> Iterator[bytes]:
        yield content[: len(content) // 2]
        raise ConnectionAbortedError("cut on request")

    return Response(half(), mimetype="application/json", headers={"Content-Length": str(len(content))})


def _change_faults(faults: FaultQueue) -> Response:
    """GET lists what is still to happen, POST adds to it, DELETE forgets it."""
    if request.method == "POST":
        try:
            faults.add(TypeAdapter(Fault).validate_json(request.get_data(), strict=True))
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_context=False, include_input=False)
            raise _WrongParameters([dict(issue) for issue in wrong]) from None
    elif request.method == "DELETE":
        faults.clear()
    waiting = TypeAdapter(list[Fault]).dump_python(faults.waiting, mode="json")
    return _json({"waiting": waiting}, 201 if request.method == "POST" else 200)
