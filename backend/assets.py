"""Style, scripts and pictures of the pages: compressed, and kept by browsers as long as they are the same."""

from __future__ import annotations

import functools
import gzip
import hashlib
from pathlib import Path

from flask import Blueprint, Flask, Response, request, send_from_directory, url_for

from backend.access import allow
from elt.errors import NotFound

assets = Blueprint("assets", __name__)

_FOLDER = Path(__file__).with_name("static")
_FILES = frozenset(path.relative_to(_FOLDER).as_posix() for path in _FOLDER.rglob("*") if path.is_file())
_COMPRESSED = frozenset({".css", ".js", ".json", ".svg"})
_KEPT = "public, max-age=31536000, immutable"
_ASKED_AGAIN = "no-cache"


def register_assets(app: Flask) -> None:
    """Serve `backend/static` below /assets/; templates name a file by `asset("laurel.css")`."""
    app.register_blueprint(assets)
    app.jinja_env.globals["asset"] = address


def address(name: str) -> str:
    """Where a file is, with its digest: a changed file has another address."""
    return url_for("assets.show_asset", name=name, v=_digest(name))


@assets.get("/assets/<path:name>")
@allow("docs:read")
def show_asset(name: str) -> Response:
    """A file, for anybody; pages without sign-in need them, too.

    Raises:
        NotFound: it is none of ours. A file has one name here, so that it is compressed once.
    """
    if name not in _FILES:
        raise NotFound("There is no such file.")
    response = send_from_directory(_FOLDER, name, conditional=True)
    if Path(name).suffix in _COMPRESSED and response.status_code == 200:
        response.vary.add("Accept-Encoding")
        if request.accept_encodings["gzip"]:
            response = _with_compressed(response, name)
    response.headers["Cache-Control"] = _KEPT if request.args.get("v") == _digest(name) else _ASKED_AGAIN
    return response


def _with_compressed(response: Response, name: str) -> Response:
    """The same answer with its file made small, once for all requests."""
    response.direct_passthrough = False
    response.set_data(_compress(name))
    response.headers["Content-Encoding"] = "gzip"
    etag, _ = response.get_etag()
    response.set_etag(f"{etag}-gzip")
    return response


@functools.cache
def _compress(name: str) -> bytes:
    return gzip.compress((_FOLDER / name).read_bytes(), 9, mtime=0)


@functools.cache
def _digest(name: str) -> str:
    return hashlib.sha256((_FOLDER / name).read_bytes()).hexdigest()[:12]
