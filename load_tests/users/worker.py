"""A process with users, which joins the leader: `python -m load_tests.users.worker HOST:PORT`."""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType
from typing import Any, Final

import gevent
import locust.runners
import msgspec
from locust.env import Environment

from load_tests.users.audit import audit
from load_tests.users.beside import AsyncioThread
from load_tests.users.locust_users import CLASSES
from load_tests.users.recorder import Recorder
from load_tests.users.stage import Stage, World

# Messages between leader and workers, beside locust's own.
STAGE, STAGED, AUDIT, AUDITED = "falcon-stage", "falcon-staged", "falcon-audit", "falcon-audited"

_REPORT_SECONDS: Final = 1.0
_LOCUST_SECONDS: Final = 0.1

log = logging.getLogger("load_tests.worker")


class Place(msgspec.Struct):
    """Which worker of how many this is, and the chat that all of them act in."""

    world: World
    worker: int
    workers: int


class Worker:
    """One of several."""

    def __init__(self, host: str, port: int) -> None:
        """Waits until the leader has answered. Raises ConnectionError when it does not for minutes."""
        locust.runners.WORKER_REPORT_INTERVAL = _REPORT_SECONDS
        self._recorder = Recorder()
        self._stage: Stage | None = None
        self._thread = AsyncioThread()
        self._environment = Environment(user_classes=list(CLASSES))
        self._environment.falcon_thread = self._thread
        self._environment.events.user_error.add_listener(self._failed)
        self._runner = self._environment.create_worker_runner(host, port)
        self._runner.register_message(STAGE, self._enter)
        self._runner.register_message(AUDIT, self._audit, concurrent=True)

    def run(self) -> None:
        """Run until the leader ends it."""
        telling = gevent.spawn(self._tell_locust)
        self._runner.greenlet.join()
        telling.kill()
        self._thread.stop()

    def _enter(self, environment: Any, msg: Any) -> None:
        """The leader asks until it is answered, so it may ask twice."""
        if self._stage is None:
            place = msgspec.msgpack.decode(msg.data[STAGE], type=Place)
            self._stage = Stage(place.world, self._recorder, place.worker, place.workers)
            self._environment.falcon_stage = self._stage
        self._runner.send_message(STAGED)

    def _audit(self, environment: Any, msg: Any) -> None:
        if self._stage is not None:
            self._thread.run(audit(self._stage))
        self._tell()
        self._runner._send_stats()
        self._runner.send_message(AUDITED)

    def _failed(self, user_instance: Any, exception: BaseException, tb: TracebackType) -> None:
        """People record what Falcon does to them; what ends them otherwise is a fault in here."""
        log.error("%s", "".join(traceback.format_exception(exception)))
        self._recorder.faulted(f"{type(exception).__name__}: {exception}")

    def _tell_locust(self) -> None:
        """Its statistics are locust's own affair, and on gevent's thread."""
        while True:
            gevent.sleep(_LOCUST_SECONDS)
            self._tell()

    def _tell(self) -> None:
        for kind, seconds, failure in self._recorder.take():
            self._environment.events.request.fire(
                request_type="Falcon",
                name=kind,
                response_time=seconds * 1000,
                response_length=0,
                exception=None if failure is None else Failed(failure),
                context={},
            )


class Failed(Exception):
    """An act that was refused, or a promise that was not held."""


def main(arguments: list[str]) -> int:
    logging.basicConfig(level=logging.WARNING, format="worker: %(message)s")
    try:
        host, port = address(arguments[0])
    except (IndexError, ValueError):
        print("usage: python -m load_tests.users.worker HOST:PORT", file=sys.stderr)
        return 2
    try:
        worker = Worker(host, port)
    except ConnectionError:
        print(f"worker: no leader listens at {host}:{port}", file=sys.stderr)
        return 2
    worker.run()
    return 0


def address(text: str) -> tuple[str, int]:
    """Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host:
        raise ValueError("it should look like 127.0.0.1:5557")
    return host, int(port)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
