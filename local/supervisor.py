"""supervisord: keeps the services alive. It is told what to do over a Unix socket that only we can open."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
from supervisor.xmlrpc import SupervisorTransport

from elt.errors import ConfigurationError, LaurelError
from local import leftovers
from local.environment import Paths
from local.services import Service

_LOG_BYTES = "10MB"
_LOG_BACKUPS = 3
_SOCKET_PATH_LIMIT = 90  # a Unix socket's path holds about 104 bytes, and supervisord appends its pid


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What supervisord says about one service. `pid` is 0 and `seconds` 0 unless it runs."""

    name: str
    state: str
    pid: int
    seconds: int
    note: str


class Supervisor:
    """The supervisor of one platform."""

    def __init__(self, where: Paths) -> None:
        self._where = where
        self._config = where.run / "supervisord.conf"
        self._pid_file = where.run / "supervisord.pid"

    def start(self, services: Iterable[Service], environment: dict[str, str]) -> None:
        """Start supervisord in the background, in a session of its own; no service is started yet.

        Raises:
            LaurelError: it did not come up; names its log.
        """
        self._config.touch(mode=0o600)
        self._config.write_text(self._configuration(services))
        log = self._where.logs / "supervisord.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "local.supervise", "--nodaemon", "-c", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._where.logs,
                env=environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while not self.is_running():
            if process.poll() is not None or time.monotonic() > deadline:
                raise LaurelError(f"The supervisor did not start. See {log}.")
            time.sleep(0.05)

    def is_running(self) -> bool:
        """Whether supervisord answers."""
        try:
            self._call("getState")
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def states(self) -> dict[str, ProcessState]:
        """Every service that supervisord knows, by name; empty when it does not run."""
        try:
            infos = self._call("getAllProcessInfo")
        except (OSError, xmlrpc.client.Error):
            return {}
        return {
            info["name"]: ProcessState(
                info["name"],
                info["statename"].lower(),
                info["pid"],
                max(0, info["now"] - info["start"]) if info["pid"] else 0,
                info["spawnerr"],
            )
            for info in infos
        }

    def start_service(self, name: str) -> None:
        """Start one service, unless it runs; does not wait until it is healthy."""
        if self.states()[name].state not in ("running", "starting"):
            self._call("startProcess", name, False)

    def add(self, services: Iterable[Service]) -> None:
        """Let the running supervisor know `services`, which include all that it knows; starts none."""
        self._config.write_text(self._configuration(services))
        ((added, _changed, _removed),) = self._call("reloadConfig")
        for name in added:
            self._call("addProcessGroup", name)

    def shut_down(self, at_once: Iterable[str], timeout_seconds: float = 150) -> None:
        """Stop the services `at_once`, the others after them, last started first; then supervisord itself.

        Returns when supervisord is gone, or after the timeout.
        """
        process = self._process()
        states = self.states()
        for name in at_once:
            if states[name].pid:
                self._call("stopProcess", name, False)
        self._call("shutdown")
        if process is not None:
            leftovers.wait([process], timeout_seconds)

    def _process(self) -> psutil.Process | None:
        try:
            return psutil.Process(int(self._pid_file.read_text()))
        except (OSError, ValueError, psutil.Error):
            return None

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket()}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(cast("Any", server).supervisor, method)(*arguments)

    def _socket(self) -> Path:
        """Beside the other files; where that path is too long, in a private folder under /tmp."""
        beside = self._where.run / "supervisord.sock"
        if len(os.fsencode(beside)) <= _SOCKET_PATH_LIMIT:
            return beside
        digest = hashlib.sha256(os.fsencode(self._where.home)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"laurel-{os.getuid()}-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid() or folder.is_symlink():
            raise ConfigurationError(f"{folder} belongs to someone else. Move LAUREL_HOME to a shorter path.")
        return folder / "supervisord.sock"

    def _configuration(self, services: Iterable[Service]) -> str:
        run, logs = self._where.run, self._where.logs
        sections = [
            _section(
                "supervisord",
                logfile=logs / "supervisord.log",
                logfile_maxbytes=_LOG_BYTES,
                logfile_backups=_LOG_BACKUPS,
                pidfile=self._pid_file,
                childlogdir=run,
                identifier="laurel",
                silent="true",
                **({"user": "root"} if os.geteuid() == 0 else {}),
            ),
            _section("unix_http_server", file=self._socket(), chmod="0700"),
            _section(
                "rpcinterface:supervisor",
                **{"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
            ),
        ]
        for priority, service in enumerate(services, start=1):
            sections.append(
                _section(
                    f"program:{service.name}",
                    command=shlex.join([sys.executable, "-m", "local.service", service.name]),
                    priority=priority,
                    autostart="false",
                    autorestart="true",
                    startsecs=3,
                    startretries=30,
                    stopsignal=service.stop_signal,
                    stopwaitsecs=service.stop_seconds,
                    killasgroup="true",
                    redirect_stderr="true",
                    # Relative to where supervisord runs: it expands `%` here twice, which a path may hold.
                    stdout_logfile=f"{service.name}.log",
                    stdout_logfile_maxbytes=_LOG_BYTES,
                    stdout_logfile_backups=_LOG_BACKUPS,
                )
            )
        return "\n".join(sections)


def _section(heading: str, **values: object) -> str:
    """One section of the file; `%` would start an expansion."""
    lines = [f"{name} = {str(value).replace('%', '%%')}" for name, value in values.items()]
    return "\n".join([f"[{heading}]", *lines, ""])
