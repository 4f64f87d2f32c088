"""Leads the workers through a run: gives them the chat, has locust spawn and end users, gathers their records."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

import gevent
import msgspec
from locust import LoadTestShape
from locust.env import Environment

from load_tests.users.locust_users import CLASSES
from load_tests.users.recorder import Part, Timeline
from load_tests.users.stage import World
from load_tests.users.worker import AUDIT, AUDITED, PART, STAGE, STAGED, Place

_JOIN_SECONDS: Final = 60.0
_STAGE_SECONDS: Final = 30.0
_AUDIT_SECONDS: Final = 180.0
_PROGRESS_SECONDS: Final = 1.0
_AT_WORK: Final = ("spawning", "running")


class RunFailed(Exception):
    """The run could not be made or finished; the text says why, in one line."""


class Leader:
    """Workers join it at ``host`` and ``port``."""

    def __init__(self, host: str, port: int, timeline: Timeline) -> None:
        """Raises RunFailed if another leader has the port."""
        self.begun = self.ended = 0.0  # of the shape, by the machine's monotonic clock
        self._timeline = timeline
        self._staged: set[str] = set()
        self._audited: set[str] = set()
        self._environment = Environment(user_classes=list(CLASSES))
        self._environment.events.worker_report.add_listener(self._reported)
        try:
            self._runner = self._environment.create_master_runner("*" if host == "0.0.0.0" else host, port)
        except Exception as fault:  # locust lets through what zmq and it raise, which has no type in common
            raise RunFailed(f"workers cannot join at {host}:{port}: {fault}") from fault
        self._runner.register_message(STAGED, lambda environment, msg: self._staged.add(msg.node_id))
        self._runner.register_message(AUDITED, self._was_audited)

    def run(
        self,
        world: World,
        shape: LoadTestShape,
        workers: int,
        progress: Callable[[], None],
        alive: Callable[[], str | None],
        join_seconds: float = _JOIN_SECONDS,
    ) -> None:
        """Run until the shape ends, then read all confirmed messages once more.

        ``progress`` is called each second; ``alive`` names processes that have ended and must not. Raises RunFailed.
        """
        self._environment.shape_class = shape
        shape.runner = self._runner
        try:
            self._wait(lambda: self._runner.worker_count >= workers, join_seconds, alive, "joined", workers)
            self._give(world, workers, alive)
            self.begun = time.time()
            self._runner.start_shape()
            self._follow(self._runner.shape_greenlet, workers, progress, alive)
            self.ended = time.time()
            self._wait(lambda: self._runner.worker_count >= workers, _STAGE_SECONDS, alive, "stopped", workers)
            self._runner.send_message(AUDIT)
            self._wait(lambda: len(self._audited) >= workers, _AUDIT_SECONDS, alive, "read everything again", workers)
        finally:
            self._runner.quit()

    def _give(self, world: World, workers: int, alive: Callable[[], str | None]) -> None:
        """To each its place. It is asked until it has answered: it may have joined and not be listening yet."""
        clients = sorted(client.id for client in self._runner.clients.all)[:workers]

        def all_staged() -> bool:
            for number, client in enumerate(clients):
                if client not in self._staged:
                    place = msgspec.msgpack.encode(Place(world, number, len(clients)))
                    self._runner.send_message(STAGE, {STAGE: place}, client)
            return len(self._staged) >= len(clients)

        self._wait(all_staged, _STAGE_SECONDS, alive, "taken its place", workers)

    def _follow(
        self, running: Any, workers: int, progress: Callable[[], None], alive: Callable[[], str | None]
    ) -> None:
        while not running.ready():
            running.join(timeout=_PROGRESS_SECONDS)
            if (ended := alive()) is not None:
                raise RunFailed(ended)
            # While they stop, locust takes each off its list and puts it there again.
            if self._runner.state in _AT_WORK and self._runner.worker_count < workers:
                raise RunFailed(f"of {workers} workers {self._runner.worker_count} are left")
            progress()
        if running.exception is not None:
            raise RunFailed(f"the shape failed: {running.exception!r}")

    def _wait(
        self,
        until: Callable[[], bool],
        seconds: float,
        alive: Callable[[], str | None],
        what: str,
        workers: int,
    ) -> None:
        for _ in range(round(seconds / 0.2)):
            if until():
                return
            if (ended := alive()) is not None:
                raise RunFailed(ended)
            gevent.sleep(0.2)
        raise RunFailed(f"not all of {workers} workers have {what} within {seconds:g} s")

    def _reported(self, client_id: str, data: dict[str, Any]) -> None:
        self._add(data)

    def _was_audited(self, environment: Any, msg: Any) -> None:
        self._add(msg.data)
        self._audited.add(msg.node_id)

    def _add(self, data: dict[str, Any]) -> None:
        if PART in data:
            self._timeline.add(msgspec.msgpack.decode(data[PART], type=Part))


def quiet() -> None:
    """Keep locust's own log lines out: the progress line has what matters."""
    logging.getLogger("locust").setLevel(logging.ERROR)
