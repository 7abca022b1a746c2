"""A connection taken over from gunicorn's threads, so that an answer without an end holds none of them.

gunicorn gives the connection's socket to the application (`gunicorn.socket`) and closes it when the view is
done: it shuts it down in both worlds, also in that of a duplicate. So the duplicate is kept, and in the place
of gunicorn's own descriptor comes a socket that is connected to nothing; that is what gunicorn closes. The
view then ends with the error of a client that has gone away, which gunicorn takes in silence. What this
relies on in gunicorn is held by `tests/integration/test_live_stream.py`.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any


def can_take_over(environ: Mapping[str, Any]) -> bool:
    """Whether this request's connection can be taken: gunicorn's, plain, and of no other request."""
    connection = environ.get("gunicorn.socket")
    is_plain = isinstance(connection, socket.socket) and not isinstance(connection, ssl.SSLSocket)
    return is_plain and environ["SERVER_PROTOCOL"] in ("HTTP/1.0", "HTTP/1.1")


def take_over(environ: Mapping[str, Any]) -> socket.socket:
    """The connection as a socket of our own; what was written before has been sent, or is on its way.

    Raise `handed_over()` right afterwards: there is nobody left to write to.
    """
    theirs: socket.socket = environ["gunicorn.socket"]
    with socket.socket(theirs.family, theirs.type) as unconnected:
        ours = theirs.dup()
        os.dup2(unconnected.fileno(), theirs.fileno(), inheritable=False)
    return ours


def handed_over() -> OSError:
    """What the generator of the answer raises once its connection has been taken."""
    return BrokenPipeError(errno.EPIPE, "The connection was taken over.")
