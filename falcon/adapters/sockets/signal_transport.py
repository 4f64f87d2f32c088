"""Signals (``falcon.streams.signals``) between the processes of one machine: datagrams to sockets in a folder that they
share."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from falcon.base.process import short_path
from falcon.telemetry import metrics

_SUFFIX: Final = ".signals"
_DATAGRAM_BYTES_MAX: Final = 128 << 10  # twice a full message of signals
_READ_AT_ONCE: Final = 100  # then others have a turn of the loop
_WAITING_MAX: Final = 1_000  # for each process; the kernel itself queues ten
_RETRY_SECONDS: Final = 0.005  # the receiver's socket is full: it empties in a turn of its loop


class SocketSignalTransport:
    """``folder``: must exist. ``log_name``: of the log; processes of another one are not heard. ``name``: this
    process's name, which no other had."""

    def __init__(self, folder: Path, log_name: str, name: str) -> None:
        self._folder = folder
        self._log_name = log_name
        self.name = name
        self._file = self._file_of(name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._waiting: dict[str, deque[bytes]] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._receive: Callable[[bytes], None]

    def open(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive
        with short_path(self._folder, self._file) as path:
            self._socket.bind(str(path))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def send(self, data: bytes) -> None:
        for file in [path.name for path in self._folder.glob(self._file_of("*"))]:
            self._add(file, data)
        self._begin_sending()

    def send_to(self, process: str, data: bytes) -> None:
        self._add(self._file_of(process), data)
        self._begin_sending()

    async def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        (self._folder / self._file).unlink(missing_ok=True)

    def _file_of(self, process: str) -> str:
        return f"{self._log_name}.{process}{_SUFFIX}"

    def _add(self, file: str, data: bytes) -> None:
        waiting = self._waiting.setdefault(file, deque())
        if len(waiting) < _WAITING_MAX:
            waiting.append(data)
        else:
            metrics.signals_lost.inc()

    def _begin_sending(self) -> None:
        if self._retry is None:
            self._send_waiting()

    def _send_waiting(self) -> None:
        self._retry = None
        for name, waiting in list(self._waiting.items()):
            if self._is_sent(name, waiting):
                del self._waiting[name]
        if self._waiting:
            self._retry = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._send_waiting)

    def _is_sent(self, name: str, waiting: deque[bytes]) -> bool:
        """True when nothing waits for that process any more, also because it has gone."""
        with short_path(self._folder, name) as path:
            try:
                while waiting:
                    self._socket.sendto(waiting[0], str(path))
                    waiting.popleft()
            except BlockingIOError:  # the receiver is behind
                return False
            except ConnectionRefusedError:  # the receiver has been killed
                path.unlink(missing_ok=True)
            except OSError:  # the receiver has just ended
                metrics.signals_lost.inc(len(waiting))
        return True

    def _read(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(_READ_AT_ONCE):
                self._receive(self._socket.recv(_DATAGRAM_BYTES_MAX))
