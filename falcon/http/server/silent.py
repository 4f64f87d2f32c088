"""Accepted connections whose clients have sent nothing yet."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from falcon.http.server.connection_slots import ConnectionSlot
from falcon.http.server.connections import PAUSE_SECONDS, TURN_SECONDS
from falcon.telemetry import metrics


class _Silent(NamedTuple):
    connection: socket.socket
    slot: ConnectionSlot
    since: float  # on the loop's clock


class SilentConnections:
    """Each costs a socket and a callback. A transport and a parser cost five times as much, in time and in memory, so
    that clients could take the processor by connecting in thousands.

    ``seconds``: a connection that stays silent for longer is closed. ``on_heard`` gets one when its first bytes have
    come. They are not read yet.
    """

    def __init__(self, seconds: float, on_heard: Callable[[socket.socket, ConnectionSlot], None]) -> None:
        self._seconds = seconds
        self._on_heard = on_heard
        self._waiting: dict[int, _Silent] = {}  # by descriptor, the ones that came first at the beginning
        self._closing: asyncio.TimerHandle | None = None

    def add(self, connection: socket.socket, slot: ConnectionSlot) -> None:
        """``connection`` does not block. Its first bytes may have come already."""
        sent = _has_sent(connection)
        if sent is None:
            self._wait(connection, slot)
        else:
            self._end_silence(connection, slot, sent)

    def _wait(self, connection: socket.socket, slot: ConnectionSlot) -> None:
        loop = asyncio.get_running_loop()
        descriptor = connection.fileno()
        self._waiting[descriptor] = _Silent(connection, slot, loop.time())
        loop.add_reader(descriptor, self._hear, descriptor)
        if self._closing is None:
            self._closing = loop.call_later(self._seconds, self._close_late)

    def close(self) -> None:
        """Close all of them."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        for descriptor in list(self._waiting):
            self._close(descriptor)

    def _hear(self, descriptor: int) -> None:
        connection, slot, _ = self._waiting[descriptor]
        sent = _has_sent(connection)
        if sent is not None:
            self._forget(descriptor)
            self._end_silence(connection, slot, sent)

    def _end_silence(self, connection: socket.socket, slot: ConnectionSlot, sent: bool) -> None:
        if sent:
            self._on_heard(connection, slot)
        else:
            _end(connection, slot)

    def _forget(self, descriptor: int) -> _Silent:
        asyncio.get_running_loop().remove_reader(descriptor)
        return self._waiting.pop(descriptor)

    def _close(self, descriptor: int) -> None:
        connection, slot, _ = self._forget(descriptor)
        _end(connection, slot)

    def _close_late(self) -> None:
        """Closes for some milliseconds, so that others do not wait long."""
        loop = asyncio.get_running_loop()
        latest = loop.time() - self._seconds
        until = time.perf_counter() + TURN_SECONDS  # the loop's own clock stands still within a turn
        self._closing = None
        while self._waiting and time.perf_counter() < until:
            descriptor, silent = next(iter(self._waiting.items()))
            if silent.since > latest:
                self._closing = loop.call_at(silent.since + self._seconds, self._close_late)
                return
            self._close(descriptor)
            metrics.connections_cut.labels("timeout").inc()
        if self._waiting:
            self._closing = loop.call_later(PAUSE_SECONDS, self._close_late)


def _end(connection: socket.socket, slot: ConnectionSlot) -> None:
    connection.close()
    slot.free()


def _has_sent(connection: socket.socket) -> bool | None:
    """True if bytes have come, False if the client has gone, None if it is silent."""
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return None
    except OSError:
        return False
