"""The platform on one machine: up, down, and how it is."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from elt.errors import ConfigurationError, LaurelError
from elt.settings import Settings
from local import leftovers, ports, preparation
from local.environment import (
    Paths,
    airflow_database_url,
    is_embedded,
    load_platform_settings,
    paths,
    service_environment,
)
from local.services import (
    AIRFLOW_API,
    API,
    DAG_PROCESSOR,
    LIVE,
    POSTGRES,
    SCHEDULER,
    Service,
    platform_services,
)
from local.supervisor import ProcessState, Supervisor

# What a platform that runs keeps, whatever the environment of a later command says.
_ADDRESSES = {"host": "LAUREL_HOST", "port": "LAUREL_PORT", "airflow_port": "LAUREL_AIRFLOW_PORT"}
_HEALTHY_WITHIN_SECONDS = 180
_HOPELESS_AFTER_SECONDS = 40  # a service that keeps ending by itself will not get healthy


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """How one service is. `problem` is None when it is healthy."""

    name: str
    state: str
    pid: int
    seconds: int
    problem: str | None


class Platform:
    """The platform whose state lies in `LAUREL_HOME`. `say` shows progress to a person."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.where: Paths = paths()
        self._supervisor = Supervisor(self.where)
        self._ports_file = self.where.run / "ports.json"

    def is_running(self) -> bool:
        """Whether the supervisor runs; says nothing about the services."""
        return self._supervisor.is_running()

    def settings(self) -> Settings:
        """The settings; while the platform runs, with the addresses that it was started with."""
        settings = load_platform_settings(self.where)
        return settings.model_copy(update=self._running_addresses()) if self.is_running() else settings

    def up(self) -> Settings:
        """Start what does not run and wait until all is healthy. Safe to repeat.

        Raises:
            ConfigurationError, DiskFull: something is in the way; the message says what to do.
            LaurelError: a service does not get healthy; the message names its log.
        """
        try:
            self.where.make()
            with self._lock():
                settings = self._attach() if self.is_running() else self._start_supervisor()
                self._start_services(settings)
        except OSError as error:
            raise preparation.explain(error, self.where.home) from error
        return settings

    def add_services(self) -> None:
        """Start services that there are since the platform was started; waits until they are healthy.

        Raises:
            LaurelError: one does not get healthy; the message names its log.
        """
        with self._lock():
            known = self._supervisor.states()
            services = platform_services()
            self._supervisor.add(services.values())
            self._start([service for name, service in services.items() if name not in known], self.settings())

    def down(self) -> bool:
        """Stop everything, also what a killed supervisor left behind. Returns whether anything ran."""
        if not self.where.run.is_dir():
            return False
        with self._lock():
            was_running = self.is_running()
            if was_running:
                self._say("Stopping …")
                # Airflow's API goes after those who talk to it, the database last.
                self._supervisor.shut_down(at_once=(SCHEDULER, DAG_PROCESSOR, LIVE, API))
            remains = leftovers.find(self.where)
            leftovers.end(remains)
            self._ports_file.unlink(missing_ok=True)
        return was_running or bool(remains)

    def status(self) -> list[ServiceStatus]:
        """Every service, in the order in which they start."""
        states = self._supervisor.states()
        if not states:
            orphans = self.where.run.is_dir() and leftovers.find(self.where)
            reason = "the supervisor has ended; ./start.sh up starts all again" if orphans else "not running"
            return [ServiceStatus(name, "stopped", 0, 0, reason) for name in platform_services()]
        settings = self.settings()
        result = []
        for service in platform_services().values():
            known = states[service.name]
            problem = self._find_problem(service, known, settings)
            result.append(ServiceStatus(service.name, known.state, known.pid, known.seconds, problem))
        return result

    def _attach(self) -> Settings:
        """The settings of the platform that runs already.

        Raises:
            ConfigurationError: this environment asks for other addresses than those it has.
        """
        running = self.settings()
        asked = {
            name: value
            for name, value in load_platform_settings(self.where).model_dump(include=set(_ADDRESSES)).items()
            if os.environ.get(_ADDRESSES[name])
        }
        if any(getattr(running, name) != value for name, value in asked.items()):
            raise ConfigurationError(
                f"The platform runs already, the API on {running.host}:{running.port} and Airflow on port "
                f"{running.airflow_port}. To change that: ./start.sh down, then up."
            )
        return running

    def _start_supervisor(self) -> Settings:
        leftovers.end(leftovers.find(self.where))
        preparation.require_room(self.where.home)
        settings = load_platform_settings(self.where)
        airflow_database_url(settings)
        ports.require_free(settings.host, settings.port, "LAUREL_PORT", "the API")
        ports.require_free(settings.host, settings.airflow_port, "LAUREL_AIRFLOW_PORT", "Airflow")
        if is_embedded():
            preparation.make_cluster(self.where, self._say)
            settings = load_platform_settings(self.where)
        self._ports_file.write_text(settings.model_dump_json(include=set(_ADDRESSES)))
        self._supervisor.start(platform_services().values(), service_environment(self.where, settings))
        return settings

    def _start_services(self, settings: Settings) -> None:
        services = platform_services()
        if POSTGRES in services:
            self._start([services.pop(POSTGRES)], settings)
            preparation.make_databases(self.where)
        preparation.migrate_databases(self.where, settings, self._say)
        # Tasks talk to Airflow's API, whose first answer takes seconds: it is up, and warm from the health
        # check, before anything can run a task.
        self._start([services.pop(AIRFLOW_API), services.pop(API)], settings)
        self._start([service for service in services.values() if service.is_needed], settings)
        for service in services.values():
            self._supervisor.start_service(service.name)

    def _start(self, services: Iterable[Service], settings: Settings) -> None:
        services = list(services)
        for service in services:
            self._supervisor.start_service(service.name)
        for service in services:
            started = time.monotonic()
            self._wait(service, settings)
            self._say(f"  {service.name:<22} ready  {time.monotonic() - started:4.1f} s")

    def _wait(self, service: Service, settings: Settings) -> None:
        """Wait until a service is healthy.

        Raises:
            LaurelError: it keeps ending, or takes too long.
        """
        started = time.monotonic()
        while True:
            process = self._supervisor.states()[service.name]
            problem = self._find_problem(service, process, settings)
            if problem is None:
                return
            waited = time.monotonic() - started
            ends = not process.pid and waited > _HOPELESS_AFTER_SECONDS
            if process.state == "fatal" or ends or waited > _HEALTHY_WITHIN_SECONDS:
                raise LaurelError(
                    f"{service.name} does not get healthy: {problem}. Its log is "
                    f"{self.where.logs / service.name}.log; ./start.sh status shows the rest, "
                    "./start.sh down stops it."
                )
            time.sleep(0.3)

    def _find_problem(self, service: Service, process: ProcessState, settings: Settings) -> str | None:
        """Why a service is not healthy; None when it is."""
        if not process.pid:
            return process.note or f"not running ({process.state})"
        return service.check(self.where, settings, process.seconds)

    def _running_addresses(self) -> dict[str, object]:
        try:
            addresses: dict[str, object] = json.loads(self._ports_file.read_text())
        except (OSError, ValueError):
            return {}
        return addresses

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One `up` or `down` at a time."""
        with (self.where.run / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("Waiting for another up or down to finish …")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
