"""Ports of this machine: find a free one, or say who is in the way."""

from __future__ import annotations

import errno
import socket

import psutil

from elt.errors import ConfigurationError


def find_free_port(first: int = 0) -> int:
    """A port of the loopback address that nobody listens on now: the first free from `first` on, or any.

    Raises:
        ConfigurationError: 500 ports in a row are taken.
    """
    for port in range(first, first + 500) if first else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise ConfigurationError(f"None of the ports {first} to {first + 499} is free.")


def is_free(host: str, port: int) -> bool:
    """Whether we could listen there."""
    return _listen_error(host, port) is None


def require_free(host: str, port: int, variable: str, purpose: str) -> None:
    """Make sure that a service can listen there.

    Raises:
        ConfigurationError: it cannot; says who does, and which variable chooses another port.
    """
    error = _listen_error(host, port)
    if error is None:
        return
    if error.errno == errno.EADDRINUSE:
        raise ConfigurationError(
            f"Port {port}, where {purpose} should listen, is in use{_holder(port)}. "
            f"Stop that program, or choose another port: {variable}={port + 1} ./start.sh up"
        )
    raise ConfigurationError(
        f"{purpose} cannot listen on {host}:{port} ({error.strerror}). Set {variable} or LAUREL_HOST."
    )


def _listen_error(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def _holder(port: int) -> str:
    """Who listens on the port, as far as we may see."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
