"""Sends at a fixed rate, whatever the answers: `python -m tools.bench.overloading.push`, on a core of its own.

One thread with thousands of connections, each with one request at a time, as clients have them. It reads jobs from
standard input, a line of JSON each, and answers each with its tallies as a line of JSON on standard output, until the
input ends.

The moments of the requests are drawn before any answer is known (a Poisson process), and their times count from these.
If no connection is free for one, a connection is opened for it. Otherwise it waits for one, and the wait counts.
"""

from __future__ import annotations

import errno
import gc
import re
import secrets
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Final

import msgspec

TALLY_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 5.0  # then a client has given up, and its connection is of no use
_SOURCES: Final = 100
_IP_BIND_ADDRESS_NO_PORT: Final = 24  # Linux's; Python has no name for it before 3.14
_RESET: Final = struct.pack("ii", 1, 0)
_TURN_MAX: Final = 200  # requests that are sent before answers are looked at again
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER: Final = re.compile(rb"\r\nretry-after: *\d+\r\n", re.IGNORECASE)


class Segment(msgspec.Struct, frozen=True):
    """``rate``: requests a second, for so many seconds."""

    rate: float
    seconds: float


class Job(msgspec.Struct, frozen=True):
    """Segments that follow one another without a break."""

    segments: list[Segment]


class Setup(msgspec.Struct, frozen=True):
    """The first line of the input. ``targets``: of rooms, with the tokens of members; ``text_bytes``: of a message."""

    host: str
    port: int
    targets: list[tuple[int, str]]
    connections: int
    connections_max: int
    text_bytes: int = 100
    seed: int = 1


class Tally(msgspec.Struct):
    """For a tenth of a second. ``offered``: requests meant for it. All others were answered in it. ``accepted``,
    ``refused``: their times in s; ``unanswered``: given up; ``broken``: connections that ended; ``bare``: refusals
    without Retry-After; ``waiting``: the most that waited for a connection; ``late``: the most by which one was sent
    late though a connection was free, in s."""

    offered: int = 0
    accepted: list[float] = []
    refused: list[float] = []
    unanswered: int = 0
    broken: int = 0
    bare: int = 0
    others: dict[str, int] = {}
    waiting: int = 0
    late: float = 0.0


class Pushed(msgspec.Struct, frozen=True):
    """``began``: by the machine's monotonic clock; ``cpu``: what the generator used, in s."""

    began: float
    tallies: list[Tally]
    connections: int
    cpu: float


class _Connection:
    """``meant``: when the request was that is under way on it, or 0."""

    __slots__ = ("meant", "number", "pending", "sent", "sock", "torn")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.meant = 0.0
        self.sent = 0.0
        self.number = 0  # of requests that it has carried
        self.pending: bytes | None = None
        self.torn = b""


class Requests:
    """Each with a key and a text of its own, made of prepared parts."""

    def __init__(self, setup: Setup) -> None:
        filler = b"x" * max(1, setup.text_bytes - 17)
        self._tail = b' %b"}' % filler
        length = len(b'{"text":"') + 16 + len(self._tail)
        session = secrets.token_hex(4).encode()
        self._heads = [
            b"POST /v1/rooms/%d/messages HTTP/1.1\r\nHost: %b:%d\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\nIdempotency-Key: %b-"
            % (room, setup.host.encode(), setup.port, token.encode(), length, session)
            for room, token in setup.targets
        ]
        self._count = 0

    def next(self) -> bytes:
        number = self._count
        self._count = number + 1
        # Keys of real clients are random, so the leading digits are scattered; the counter keeps each one unique.
        key = b"%08x%08x" % (number * 2654435761 & 0xFFFFFFFF, number)
        return b'%b%b\r\n\r\n{"text":"%b%b' % (self._heads[number % len(self._heads)], key, key, self._tail)


class Pusher:
    """Its connections stay from job to job."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._requests = Requests(setup)
        self._chance = Random(setup.seed)
        self._epoll = select.epoll()
        self._all: dict[int, _Connection] = {}
        self._free: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()
        self._under_way: deque[tuple[_Connection, int]] = deque()
        self._busy = 0
        self._sources = 0
        self._cells: list[Tally] = []
        self._began = 0.0

    def connect(self) -> None:
        """Open the initial connections. Raises OSError."""
        while len(self._all) < self._setup.connections:
            sock = self._socket()
            sock.settimeout(30)
            sock.connect((self._setup.host, self._setup.port))
            connection = self._adopt(sock)
            self._epoll.register(sock.fileno(), select.EPOLLIN)
            self._free.append(connection)

    def push(self, job: Job) -> Pushed:
        """Send until all requests are answered or given up."""
        for connection in list(self._free):  # the server ends the ones that were idle
            self._look(connection, discard=True)
        self.connect()
        cpu = time.process_time()
        wall = time.time()
        self._cells = []
        self._began = time.monotonic()
        meant = moments(job.segments, self._chance)
        due = next(meant, None)
        while due is not None or self._busy or self._waiting:
            now = time.monotonic() - self._began
            sent = 0
            while due is not None and due <= now and sent < _TURN_MAX:
                self._begin(self._began + due)
                due = next(meant, None)
                sent += 1
            wait = 0.0 if sent == _TURN_MAX else 0.001 if due is not None else 0.02
            for handle, event in self._epoll.poll(wait):
                self._happened(self._all.get(handle), event)
            self._give_up(time.monotonic())
        return Pushed(wall, self._cells, len(self._all), time.process_time() - cpu)

    # --- sending ------------------------------------------------------------------------------------------------------

    def _begin(self, meant: float) -> None:
        self._cell(meant).offered += 1
        if self._free:
            cell = self._cell(time.monotonic())
            cell.late = max(cell.late, time.monotonic() - meant)
            self._send(self._free.popleft(), meant)
        elif len(self._all) < self._setup.connections_max:
            self._open(meant)
        else:
            self._waiting.append(meant)
            cell = self._cell(time.monotonic())
            cell.waiting = max(cell.waiting, len(self._waiting))

    def _send(self, connection: _Connection, meant: float) -> None:
        now = time.monotonic()
        connection.meant, connection.sent = meant, now
        connection.number += 1
        self._busy += 1
        self._under_way.append((connection, connection.number))
        try:
            connection.sock.send(self._requests.next())
        except OSError:
            self._broke(connection)

    def _open(self, meant: float) -> None:
        sock = self._socket()
        connection = self._adopt(sock)
        connection.meant, connection.sent = meant, time.monotonic()
        connection.number = 1
        connection.pending = self._requests.next()
        self._busy += 1
        self._under_way.append((connection, 1))
        if sock.connect_ex((self._setup.host, self._setup.port)) not in (0, errno.EINPROGRESS):
            self._all[sock.fileno()] = connection
            self._epoll.register(sock.fileno(), select.EPOLLIN)
            self._broke(connection)
            return
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _socket(self) -> socket.socket:
        """A socket from each of several local addresses in turn: with some thousand connections from one address to
        another the kernel's search for a free port takes up to most of a core."""
        sock = socket.socket()
        if self._setup.host.startswith("127."):
            self._sources += 1
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.1.{self._sources % _SOURCES + 1}", 0))
        return sock

    def _adopt(self, sock: socket.socket) -> _Connection:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = _Connection(sock)
        self._all[sock.fileno()] = connection
        return connection

    # --- what comes back ----------------------------------------------------------------------------------------------

    def _happened(self, connection: _Connection | None, event: int) -> None:
        if connection is None:
            return
        if connection.pending is not None and event & select.EPOLLOUT:
            pending, connection.pending = connection.pending, None
            try:
                connection.sock.send(pending)
            except OSError:
                self._broke(connection)
                return
            self._epoll.modify(connection.sock.fileno(), select.EPOLLIN)
            return
        self._look(connection)

    def _look(self, connection: _Connection, *, discard: bool = False) -> None:
        try:
            data = connection.sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._broke(connection)
            return
        if discard:
            return
        if connection.torn:
            data = connection.torn + data
        status = answered(data)
        if status is None:
            connection.torn = data
            return
        connection.torn = b""
        self._answered(connection, status, data)

    def _answered(self, connection: _Connection, status: bytes, data: bytes) -> None:
        now = time.monotonic()
        cell = self._cell(now)
        if status == b"201":
            cell.accepted.append(now - connection.meant)
        elif status in (b"503", b"429"):
            cell.refused.append(now - connection.meant)
            if _RETRY_AFTER.search(data) is None:
                cell.bare += 1
        else:
            name = status.decode()
            cell.others[name] = cell.others.get(name, 0) + 1
        self._busy -= 1
        connection.meant = 0.0
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._free.append(connection)

    def _broke(self, connection: _Connection) -> None:
        """An idle connection that the server has ended is no loss."""
        if connection.meant:
            self._busy -= 1
            self._cell(time.monotonic()).broken += 1
            connection.meant = 0.0
        else:
            self._free.remove(connection)
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._epoll.unregister(connection.sock.fileno())
        del self._all[connection.sock.fileno()]
        connection.number += 1  # so that it is not taken for the request under way
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # or its port is taken for a minute
        connection.sock.close()

    def _give_up(self, now: float) -> None:
        while self._under_way:
            connection, number = self._under_way[0]
            if connection.number == number and connection.meant:
                if now - connection.sent < _ANSWER_SECONDS:
                    break
                self._cell(now).unanswered += 1
                self._busy -= 1
                connection.meant = 0.0
                self._close(connection)
            self._under_way.popleft()
        while self._waiting and now - self._waiting[0] > _ANSWER_SECONDS:
            self._waiting.popleft()
            self._cell(now).unanswered += 1

    def _cell(self, now: float) -> Tally:
        index = int((now - self._began) / TALLY_SECONDS)
        while len(self._cells) <= index:
            self._cells.append(Tally())
        return self._cells[index]


def moments(segments: list[Segment], chance: Random) -> Iterator[float]:
    """When each request is meant to be sent, in s from the beginning."""
    begin = 0.0
    for segment in segments:
        at = begin
        while (at := at + chance.expovariate(segment.rate)) < begin + segment.seconds:
            yield at
        begin += segment.seconds


def answered(data: bytes) -> bytes | None:
    """The status of a whole answer; None for one of which some is to come."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = _LENGTH.search(data, 0, end + 2)
    size = int(length[1]) if length is not None else 0
    return data[9:12] if len(data) >= end + 4 + size else None


def main() -> int:
    gc.freeze()
    gc.disable()  # nothing here is in a cycle, and a pause would be taken for one of Falcon's
    setup = msgspec.json.decode(sys.stdin.buffer.readline(), type=Setup)
    pusher = Pusher(setup)
    pusher.connect()
    for line in sys.stdin.buffer:
        pushed = pusher.push(msgspec.json.decode(line, type=Job))
        sys.stdout.buffer.write(msgspec.json.encode(pushed) + b"\n")
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
