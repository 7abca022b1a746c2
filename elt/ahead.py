"""Work ahead in a second thread: the next items are made while the present one is used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Full, Queue
from typing import Any, TypeVar

Item = TypeVar("Item")

_END = object()
_POLL_SECONDS = 0.2


@contextmanager
def work_ahead(items: Iterator[Item], *, depth: int) -> Iterator[Iterator[Item]]:
    """Iterate in a thread of its own, at most `depth` items ahead.

    An exception of the iterator is raised where its item would have come. When the caller leaves early, the
    thread stops at its next item and has ended on return.
    """
    queue: Queue[Any] = Queue(maxsize=depth)
    is_left = threading.Event()

    def put(item: Any) -> bool:
        while not is_left.is_set():
            try:
                queue.put(item, timeout=_POLL_SECONDS)
            except Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((_END, None))
        except BaseException as error:  # handed to the consumer, who raises it
            put((_END, error))

    def consume() -> Iterator[Item]:
        while True:
            item, error = queue.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item

    thread = threading.Thread(target=produce, name="work-ahead", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        is_left.set()
        thread.join()
