"""Where to go after signing in: only to pages of our own, whatever the address says."""

from __future__ import annotations

from urllib.parse import urlsplit

START = "/"


def safe_next(wanted: str | None) -> str:
    """The wanted page if it is a path on this site; else the start page.

    Browsers read `//host`, `/\\host` and paths with tabs or line ends in them as other sites.
    """
    if not wanted or not wanted.startswith("/") or wanted.startswith("//"):
        return START
    if "\\" in wanted or not wanted.isprintable() or not wanted.isascii():
        return START
    parts = urlsplit(wanted)
    return wanted if not parts.scheme and not parts.netloc else START
