"""Digests that a sender announces: `Content-Digest` (RFC 9530) and `X-Content-SHA256`."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadRequest

_HEX = re.compile(r"[0-9a-fA-F]{64}")
_DICTIONARY_MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):\s*")


@dataclass(frozen=True, slots=True)
class Announced:
    """SHA-256 digests in hexadecimal: of the file, and of the content of the request (a form or the file)."""

    file: str | None
    content: str | None


def read_announced(headers: Headers) -> Announced:
    """Read both headers.

    Raises:
        BadRequest: one is malformed, or names no digest that can be checked.
    """
    file = headers.get("X-Content-SHA256")
    if file is not None and not _HEX.fullmatch(file):
        raise BadRequest("X-Content-SHA256 must be the SHA-256 of the file as 64 hexadecimal digits.")
    content = headers.get("Content-Digest")
    return Announced(file.lower() if file else None, None if content is None else _sha256_of(content))


def _sha256_of(header: str) -> str:
    members = [_DICTIONARY_MEMBER.fullmatch(member) for member in header.split(",")]
    if None in members:
        raise BadRequest("Content-Digest must look like sha-256=:<base64>: (RFC 9530).")
    found = {member[1]: member[2] for member in members if member}
    if "sha-256" not in found:
        raise BadRequest(f"Content-Digest: only sha-256 can be checked, found {', '.join(found)}.")
    try:
        digest = base64.b64decode(found["sha-256"], validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise BadRequest("Content-Digest: sha-256 must hold the 32 bytes of a SHA-256 in base64.")
    return digest.hex()
