"""The events of the live stream as bytes (server-sent events, as the HTML standard has them)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from backend.schemas.live import LivePicture
from elt.live.picture import Picture

RETRY_MILLISECONDS = 2000
"""After how long a browser connects again."""

OPENING = f"retry: {RETRY_MILLISECONDS}\n\n".encode()
"""What a stream begins with."""

LAST_CHUNK = b"0\r\n\r\n"
"""The end of an answer in chunks."""

# What tells the elements of a list apart; viewers merge by it.
_LISTS = {"countries": "country", "hours": "hour", "sources": "source"}

Shown = dict[str, Any]
"""A picture as JSON has it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes to send, made once for all viewers: as they are, and as a chunk of HTTP/1.1."""

    plain: bytes
    chunk: bytes


def frame(payload: bytes) -> Frame:
    """The payload in both forms."""
    return Frame(payload, b"%X\r\n%b\r\n" % (len(payload), payload))


HEARTBEAT = frame(b": alive\n\n")
"""Says that the connection stands, and nothing else."""


def show(picture: Picture) -> Shown:
    """The picture in JSON's types."""
    return LivePicture.model_validate(picture).model_dump(mode="json")


def picture_event(shown: Shown) -> Frame:
    """The whole picture."""
    return _event("picture", shown, shown["version"])


def change_event(before: Shown, now: Shown) -> Frame | None:
    """What is new since `before`; None if nothing is; the whole picture where something is gone.

    Without a new version it carries no id: what can be new then (the hour, how fresh the sources are) is told
    to everybody who connects.
    """
    if any(_names(before, name) - _names(now, name) for name in ("countries", "sources")):
        return picture_event(now)
    new: Shown = {}
    for name in _LISTS:
        changed = [element for element in now[name] if element not in before[name]]
        if changed:
            new[name] = changed
    if not new and now["version"] == before["version"]:
        return None
    head = {name: now[name] for name in ("version", "changed_at", "responses")}
    return _event("change", head | new, now["version"] if now["version"] != before["version"] else None)


def resume_event(shown: Shown) -> Frame:
    """For who has this version: all that can be new without a new one."""
    names = ("version", "changed_at", "responses", "hours", "sources")
    return _event("change", {name: shown[name] for name in names}, None)


def stale_event(shown: Shown | None) -> Frame:
    """What was shown last may be old: nothing newer can be read for now."""
    version = shown["version"] if shown is not None else None
    return _event("stale", {"version": version, "detail": "The figures cannot be read now."}, None)


def _names(shown: Shown, name: str) -> set[str]:
    return {element[_LISTS[name]] for element in shown[name]}


def _event(name: str, content: Shown, number: int | None) -> Frame:
    id_line = "" if number is None else f"id: {number}\n"
    data = json.dumps(content, separators=(",", ":"))
    return frame(f"event: {name}\n{id_line}data: {data}\n\n".encode())
