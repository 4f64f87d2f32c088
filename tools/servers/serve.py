"""A server in the foreground, as the first process of a container: it ends when one of its processes has ended."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tools.servers.daemon import Say
from tools.servers.hbase import HBase
from tools.servers.kafka import Kafka
from tools.servers.opensearch import OpenSearch

_LOOK_SECONDS: Final = 0.5
_END: Final = (signal.SIGTERM, signal.SIGINT)


def serve(server: Kafka | HBase | OpenSearch, say: Say) -> int:
    """Start it and show what its processes say. Returns the exit code: 0 when asked to end, 1 when one has ended.

    Nothing of it runs when this returns. Raises ServerFault when it cannot be started.
    """
    kind = type(server).__name__
    with _signals() as asked_within:
        logs = [_Log(status.name, server.folder / "log" / f"{status.name}.log") for status in server.status()]
        try:
            say(f"{kind}: {server.start(say)}")
            while not asked_within(_LOOK_SECONDS):
                for log in logs:
                    log.show(say)
                _bury()
                if gone := [status.name for status in server.status() if status.pid is None]:
                    say(f"{kind}: {', '.join(gone)} ended by itself; ending the rest")
                    return 1
            say(f"{kind}: asked to end")
            return 0
        finally:
            server.stop()
            for log in logs:
                log.show(say)


@contextmanager
def _signals() -> Iterator[Callable[[float], bool]]:
    """True if a signal to end came, now or within so many seconds.

    The first process of a container has no default for any signal. A signal that comes during a start must not
    interrupt it, since a process would be left that is not recorded.
    """
    woken, waking = os.pipe2(os.O_NONBLOCK)
    before = signal.set_wakeup_fd(waking)
    handlers = {number: signal.signal(number, lambda *_: None) for number in (*_END, signal.SIGCHLD)}

    def asked_within(seconds: float) -> bool:
        select.select([woken], [], [], seconds)
        with suppress(BlockingIOError):
            return any(number in _END for number in os.read(woken, 1024))
        return False

    try:
        yield asked_within
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(woken)
        os.close(waking)


class _Log:
    """A file that grows; what it holds already is not shown."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._shown = path.stat().st_size if path.exists() else 0

    def show(self, say: Say) -> None:
        with suppress(FileNotFoundError), self._path.open("rb") as log:
            if self._path.stat().st_size < self._shown:  # put aside since
                self._shown = 0
            log.seek(self._shown)
            lines, whole, _ = log.read().rpartition(b"\n")
            self._shown += len(lines) + len(whole)
            for line in lines.decode(errors="replace").splitlines():
                say(f"{self._name}: {line}")


def _bury() -> None:
    """The first process of a container waits for all orphans that end."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
