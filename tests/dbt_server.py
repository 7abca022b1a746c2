"""The installed dbt, without the two seconds that each start of it takes: a process that has loaded it forks.

    python dbt_server.py serve SOCKET              # until its standard input ends
    python dbt_server.py run SOCKET [ARGUMENT…]    # `dbt ARGUMENT…` with this environment, folder, output

Each command has a process of its own as ever, which ends when whoever asked for it does. What our programs
start in tests (`laurel run`, a task of Airflow) starts dbt as on the platform.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

_LONGEST = 200_000  # bytes of arguments and environment


class DbtServer:
    """The server, started when it is needed first."""

    def __init__(self) -> None:
        self._program: Path | None = None

    def program(self) -> Path:
        """What runs as `dbt` does."""
        if self._program is None:
            self._program = self._start()
        return self._program

    def stop(self) -> None:
        """End it; nothing is built any more at that time."""
        if self._program is not None:
            self._process.communicate()
            shutil.rmtree(self._program.parent)

    def _start(self) -> Path:
        # Not a folder of pytest's: the path of a socket may have a hundred bytes only.
        folder = Path(tempfile.mkdtemp(prefix="laurel-test-dbt-"))
        command = [sys.executable, __file__, "serve", str(folder / "socket")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "dbt could not be loaded"
        program = folder / "dbt"
        client = f"exec '{sys.executable}' -IS '{__file__}' run '{folder / 'socket'}' \"$@\""
        program.write_text(f"#!/bin/sh\n{client}\n")
        program.chmod(0o755)
        return program


def _serve(path: str) -> None:
    import dbt.adapters.postgres  # noqa: F401 - dbt loads it when it has read its profile
    from dbt.cli.main import cli

    gc.freeze()  # nobody looks through what is there for good, nor copies it
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and they end this
        os.write(1, b"ready\n")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks for their status
        while sys.stdin not in (ready := select.select([sys.stdin, listener], [], [])[0]):
            assert listener in ready
            connection = listener.accept()[0]
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                _attend(connection, cli)
                os._exit(0)
            connection.close()


def _attend(connection: socket.socket, dbt: Callable[[], Any]) -> None:
    """Let a process do what is asked, end it when nobody waits for it any more, and tell its status."""
    message, descriptors, _, _ = socket.recv_fds(connection, _LONGEST, 3)
    worker = os.fork()
    if worker == 0:
        connection.close()
        _work(json.loads(message), descriptors, dbt)
    for descriptor in (0, 1, *descriptors):
        os.close(descriptor)
    ended = os.pidfd_open(worker)
    if connection in select.select([connection, ended], [], [])[0]:
        os.kill(worker, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    with suppress(BrokenPipeError):
        connection.send(str(status).encode())


def _work(request: dict[str, Any], descriptors: list[int], dbt: Callable[[], Any]) -> NoReturn:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["dbt", *request["arguments"]]
    sys.exit(dbt())


def _run(path: str, arguments: list[str]) -> int:
    request = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(path)
        socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
        status = int(server.recv(16))
    if status < 0:
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
    else:
        sys.exit(_run(sys.argv[2], sys.argv[3:]))
