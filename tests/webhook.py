"""A webhook that keeps what people are told."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

from elt.settings import Settings


@contextmanager
def told(settings: Settings, *, refused: int = 0) -> Iterator[tuple[Settings, list[dict[str, Any]]]]:
    """Settings whose alerts come here, and the messages in the order in which they came.

    `refused`: so many are not taken at first.
    """
    left = itertools.repeat(503, refused)
    messages: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = next(left, 204)
            if status == 204:
                messages.append(message)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        update = {"alert_webhook_url": SecretStr(address), "outgoing_allow": "127.0.0.0/8"}
        yield settings.model_copy(update=update), messages
        server.shutdown()
