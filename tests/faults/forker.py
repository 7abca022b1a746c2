"""Does what the API and a run do, in a process of its own for each request, and kills it in time.

Reads one request a line from standard input, `{"dataset": …, "path": …}` to hand that file in or `{}` to
load what waits, with `"after"` seconds and `"signal"` for a death. Answers one line each: the process's exit
status (negative: the signal) and the id of the upload, if it was acknowledged. Python and our modules are
loaded once, so that a thousand deaths take minutes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from elt import pipeline
from elt.log import configure_logging
from elt.people.principals import Principal
from elt.settings import Settings, load_settings
from elt.store.base import open_store
from elt.store.object_keys import new_object_key
from elt.uploads.accept import NewUpload, accept_upload
from elt.warehouse import connect

_PIECE = 4096


def _hand_in(settings: Settings, dataset: str, path: str) -> str:
    store = open_store(settings.resolved_store_url)
    upload_id = UUID(int=uuid7().int)
    content = Path(path).read_bytes()
    pieces = (content[start : start + _PIECE] for start in range(0, len(content), _PIECE))
    stored = store.put(new_object_key(upload_id, 1, "file.csv"), pieces)
    request = NewUpload(dataset=dataset, filename="file.csv", school_id="main")
    sender = Principal("key:sender", "researcher", name="S")
    with connect(settings.database_url.get_secret_value(), application_name="laurel-api") as connection:
        return str(accept_upload(connection, store, upload_id, request, stored, sender).upload_id)


def _load(settings: Settings) -> str:
    plan = pipeline.begin(settings, trigger="cli", in_parts=True)
    for group in plan.groups:
        pipeline.load(settings, plan.run_id, group)
    return ""


def _work(settings: Settings, request: dict[str, Any], answer: int) -> None:
    said = _hand_in(settings, request["dataset"], request["path"]) if "path" in request else _load(settings)
    os.write(answer, said.encode())


def _serve(settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _work(settings, request, writing)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    if "signal" in request:
        time.sleep(request["after"])
        os.kill(child, request["signal"])  # not reaped yet, so the number is still its own
    _, status = os.waitpid(child, 0)
    with open(reading, "rb") as pipe:
        return {"status": os.waitstatus_to_exitcode(status), "upload_id": pipe.read().decode()}


if __name__ == "__main__":
    configure_logging(json=True, level="ERROR")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        print(json.dumps(_serve(load_settings(), json.loads(line))), flush=True)
