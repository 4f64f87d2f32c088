"""A client that listens: what it may see, and what is on its way to it."""

import asyncio
from array import array
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from falcon.domain.ids import AccountId, RoomId
from falcon.features.rooms.rules import Role
from falcon.streams.frames import Frame, Reason
from falcon.telemetry import metrics

_BOUND_BYTES: Final = 256 << 10  # of frames: hundreds of messages; a client that is further behind resumes from the log
_LATER_BYTES: Final = 500  # about as many as what is looked up will have


class Sink(Protocol):
    """A connection. It takes one frame at a time."""

    def send(self, frame: Frame, sent: Callable[[], None]) -> bool:
        """Returns True if the frame is sent already. Otherwise calls ``sent`` when it is. Raises nothing: a lost
        connection ends by itself."""

    def beat(self, sent: Callable[[], None]) -> bool:
        """Send something that is no event, so that neither side takes the connection for dead. ``sent`` as in
        :meth:`send`."""

    def close(self, reason: Reason, id: str) -> None:
        """Send the reason and the token to resume from, and end the connection at once."""


class Subscription:
    """``only``: the rooms that the client asked for; None for all, also the ones that the account joins later.

    ``rooms``: the account's rooms among them with its roles, as of the last event that was pushed. The role is None in
    an open room that it only reads. ``follows``: the threads that it follows, each with its room. A thread is in
    ``rooms`` while its room is. ``signals``: the kinds that the client wants. ``watched``: the accounts whose
    presence it wants. ``queued``: bytes that wait.

    A frame goes straight to the connection. While the connection is busy frames wait, up to ``bound``. A client that
    reads too slowly is ended, and resumes from its last frame.
    """

    __slots__ = (
        "_busy",
        "_drained",
        "_later",
        "_queue",
        "_sink",
        "account_id",
        "bound",
        "follows",
        "id",
        "only",
        "open",
        "queued",
        "quiet",
        "rooms",
        "signals",
        "token_hash",
        "watched",
    )

    def __init__(
        self,
        account_id: AccountId,
        token_hash: str,
        only: frozenset[RoomId] | None,
        sink: Sink,
        bound: int = _BOUND_BYTES,
        signals: frozenset[str] = frozenset(),
        watched: frozenset[AccountId] = frozenset(),
    ) -> None:
        self.account_id = account_id
        self.token_hash = token_hash
        self.only = only
        self.rooms: dict[RoomId, Role | None] = {}
        self.follows: dict[RoomId, RoomId] = {}
        self.signals = signals
        self.watched = array("Q", watched - {account_id})  # most streams watch many
        self.open = True
        self.bound = bound
        self.id = ""
        self.quiet = True
        self._sink = sink
        self._busy = False
        self._queue: deque[Frame | _Later] = deque()
        self.queued = 0
        self._later: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    def wants(self, room_id: RoomId) -> bool:
        return self.only is None or room_id in self.only

    def push(self, frame: Frame) -> None:
        """A subscription gets nothing after its end: its client resumes elsewhere and would see the event twice."""
        if not self.open:
            return
        if not self._busy:
            self.id = frame.id
            self.quiet = False
            self._busy = not self._sink.send(frame, self._sent)
        else:
            self._queue.append(frame)
            self._count(len(frame))

    def push_later(self, id: str, name: str, make: Callable[[], Awaitable[bytes | None]]) -> None:
        """Push a frame whose data has yet to be looked up. Later frames wait for it. No frame is sent if ``make``
        returns None."""
        if not self.open:
            return
        later = _Later(id, name, make)
        if self._busy:
            self._queue.append(later)
            self._count(len(later))
        else:
            self._look_up(later)

    async def drained(self) -> None:
        """Wait until nothing is queued any more, or the subscription has ended."""
        while self._busy and self.open:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def beat(self) -> None:
        """Called every few seconds. Sends a heartbeat if nothing was sent since the last call."""
        if self.quiet and not self._busy and self.open:
            self._busy = not self._sink.beat(self._sent)
        self.quiet = True

    def end(self, reason: Reason) -> None:
        """Drop what is queued, and send the connection the token to resume from."""
        if self.open:
            metrics.streams_ended.labels(reason).inc()
            self.lose()
            self._sink.close(reason, self.id)

    def lose(self) -> None:
        """The connection has gone."""
        self.open = False
        self._queue.clear()
        self.queued = 0
        if self._later is not None:
            self._later.cancel()
        self._wake()

    @property
    def busy(self) -> bool:
        return self._busy

    def _sent(self) -> None:
        self._busy = False
        while self._queue and not self._busy:
            following = self._queue.popleft()
            self.queued -= len(following)
            if isinstance(following, _Later):
                self._look_up(following)
            else:
                self.push(following)
        if not self._busy:
            self._wake()

    def _count(self, size: int) -> None:
        self.queued += size
        if self.queued > self.bound:
            self.end("slow")

    def _look_up(self, later: "_Later") -> None:
        self._busy = True

        async def look_up() -> None:
            try:
                data = await later.make()
            except Exception:  # the client gets the event when it resumes
                self.end("draining")
                raise
            self._busy = False
            if data is not None:
                self.push(Frame(later.id, later.name, data))
            if not self._busy:
                self._sent()

        self._later = asyncio.get_running_loop().create_task(look_up())

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)


class _Later:
    __slots__ = ("id", "make", "name")

    def __init__(self, id: str, name: str, make: Callable[[], Awaitable[bytes | None]]) -> None:
        self.id = id
        self.name = name
        self.make = make

    def __len__(self) -> int:
        return _LATER_BYTES
