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
from locust.stats import stats_history

from load_tests.users.locust_users import CLASSES
from load_tests.users.recorder import Met, by_kind
from load_tests.users.stage import World
from load_tests.users.worker import AUDIT, AUDITED, STAGE, STAGED, Place
from tools.harness.progress import say

_JOIN_SECONDS: Final = 60.0
_STAGE_SECONDS: Final = 30.0
_AUDIT_SECONDS: Final = 180.0
_PROGRESS_SECONDS: Final = 5.0
_AT_WORK: Final = ("spawning", "running")


class RunFailed(Exception):
    """The run could not be made or finished; the text says why, in one line."""


class Leader:
    """Workers join it at ``host`` and ``port``."""

    def __init__(self, host: str, port: int) -> None:
        """Raises RunFailed if another leader has the port."""
        self._staged: set[str] = set()
        self._audited: set[str] = set()
        self.environment = Environment(user_classes=list(CLASSES))
        try:
            self._runner = self.environment.create_master_runner("*" if host == "0.0.0.0" else host, port)
        except Exception as fault:  # locust lets through what zmq and it raise, which has no type in common
            raise RunFailed(f"workers cannot join at {host}:{port}: {fault}") from fault
        self._runner.register_message(STAGED, lambda environment, msg: self._staged.add(msg.node_id))
        self._runner.register_message(AUDITED, lambda environment, msg: self._audited.add(msg.node_id))

    def run(
        self,
        world: World,
        shape: LoadTestShape,
        workers: int,
        alive: Callable[[], str | None],
        join_seconds: float = _JOIN_SECONDS,
    ) -> None:
        """Run until the shape ends, then read all confirmed messages once more.

        ``alive`` names processes that have ended and must not. Raises RunFailed.
        """
        self.environment.shape_class = shape
        shape.runner = self._runner
        remembering = gevent.spawn(stats_history, self._runner)
        try:
            self._wait(lambda: self._runner.worker_count >= workers, join_seconds, alive, "joined", workers)
            self._give(world, workers, alive)
            self._runner.start_shape()
            self._follow(self._runner.shape_greenlet, workers, alive)
            self._wait(lambda: self._runner.worker_count >= workers, _STAGE_SECONDS, alive, "stopped", workers)
            self._runner.send_message(AUDIT)
            self._wait(lambda: len(self._audited) >= workers, _AUDIT_SECONDS, alive, "read everything again", workers)
        finally:
            remembering.kill()
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

    def _follow(self, running: Any, workers: int, alive: Callable[[], str | None]) -> None:
        told = time.monotonic()
        while not running.ready():
            running.join(timeout=1.0)
            if (ended := alive()) is not None:
                raise RunFailed(ended)
            # While they stop, locust takes each off its list and puts it there again.
            if self._runner.state in _AT_WORK and self._runner.worker_count < workers:
                raise RunFailed(f"of {workers} workers {self._runner.worker_count} are left")
            if time.monotonic() - told >= _PROGRESS_SECONDS:
                told = time.monotonic()
                all_of_them = self._runner.stats.total
                rate, failed = all_of_them.current_rps, all_of_them.num_failures
                say(f"{self._runner.user_count:,} people, {rate:,.0f}/s, {failed:,} failed")
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

    def met(self) -> dict[str, Met]:
        """What the users of all workers have met so far."""
        return by_kind(self._runner.stats)

    def failures(self) -> dict[str, int]:
        """Their texts, with how often they came."""
        return {f"{each.name}: {each.error}": each.occurrences for each in self._runner.stats.errors.values()}


def quiet() -> None:
    """Keep locust's own log lines out: the progress line has what matters."""
    logging.getLogger("locust").setLevel(logging.ERROR)
