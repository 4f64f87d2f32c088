"""Who types, who is there, and which tickets are used: said from process to process beside the log. Nothing of it is
kept, or promised.

A signal that is lost, late or doubled does no harm: a client forgets who types after some seconds, a process says again
and again who is there, and a ticket is good for a minute only.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from falcon.domain.ids import AccountId, RoomId
from falcon.once import Once
from falcon.read.store import ReadStoreUnavailable
from falcon.streams.feed import Feed
from falcon.streams.frames import Frame, encode
from falcon.streams.presence import Presence
from falcon.streams.subscription import Subscription
from falcon.telemetry import metrics

log = logging.getLogger("falcon.streams")

SIGNALS: Final = ("typing", "presence")
ROOM_MEMBERS_MAX: Final = 50  # of a room in which one is told who is there
AUDIENCE_MAX: Final = 500  # connections of a process that are told who types in a room; in a fuller one nobody is
TYPING_SECONDS: Final = 1.0  # between two signals of an account

_ROOMS_MAX: Final = 100  # of an account, whose members are told: those with the newest activity
_LINGER_SECONDS: Final = 5.0  # who comes back within them was never away
_ALIVE_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 60.0
_TURN_SECONDS: Final = 1.0
_CHUNK: Final = 50  # accounts in a signal
_REMEMBERED_MAX: Final = 10_000
_TICKET_SECONDS: Final = 90.0  # longer than a ticket is good

Kind: TypeAlias = Literal["typing", "presence"]


class Wire(Protocol):
    """To every process of this Falcon that has streams, the sender included. What cannot be sent at once is lost."""

    def open(self, take: Callable[[bytes], None]) -> None:
        """``take`` is called on the running event loop."""

    def send(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


class Sizes(Protocol):
    async def has_at_most(self, room_id: RoomId, members: int) -> bool:
        """Raises ReadStoreUnavailable."""


class _Typing(msgspec.Struct, frozen=True, tag="typing"):
    room_id: RoomId
    account_id: AccountId


class _Here(msgspec.Struct, frozen=True, tag="here"):
    """Each account with the rooms whose members may know."""

    process: str
    accounts: tuple[tuple[AccountId, tuple[RoomId, ...]], ...]


class _Gone(msgspec.Struct, frozen=True, tag="gone"):
    process: str
    accounts: tuple[AccountId, ...]


class _Alive(msgspec.Struct, frozen=True, tag="alive"):
    process: str


class _Asking(msgspec.Struct, frozen=True, tag="asking"):
    """By a process that does not know who is there."""


class _Used(msgspec.Struct, frozen=True, tag="used"):
    """A ticket, which is good in no other process any more either."""

    ticket: bytes


_Signal: TypeAlias = _Typing | _Here | _Gone | _Alive | _Asking | _Used
_decode: Final = msgspec.json.Decoder(_Signal).decode


class TypingShown(msgspec.Struct, frozen=True):
    room_id: RoomId
    account_id: AccountId


class PresenceShown(msgspec.Struct, frozen=True):
    account_id: AccountId
    online: bool


class _Mine(msgspec.Struct, eq=False):
    """An account with streams here. ``rooms``: as announced. ``leaves_at``: where the last of them has ended."""

    streams: list[Subscription]
    rooms: tuple[RoomId, ...] = ()
    announced_at: float = 0.0
    leaves_at: float | None = None


class Signals:
    """Of one event loop."""

    def __init__(self, wire: Wire, feed: Feed, sizes: Sizes, clock: Callable[[], float] = time.monotonic) -> None:
        self._wire = wire
        self._feed = feed
        self._sizes = sizes
        self._clock = clock
        self._process = secrets.token_hex(8)
        self._presence = Presence()
        self._mine: dict[AccountId, _Mine] = {}
        self._typed: dict[AccountId, float] = {}
        self._small: dict[RoomId, tuple[bool, float]] = {}
        self._tickets = Once(_TICKET_SECONDS, clock)
        self._alive_at = 0.0
        self._tending: asyncio.Task[None] | None = None
        metrics.signals.begin(*((kind,) for kind in SIGNALS))

    def start(self) -> None:
        self._wire.open(self._take)
        self._send(_Asking())
        self._tending = asyncio.get_running_loop().create_task(self._tend())

    async def stop(self) -> None:
        """Nobody is told that all who were here are gone: most of them are on their way to another process."""
        if self._tending is not None:
            self._tending.cancel()
        await self._wire.close()

    # --- what is done here --------------------------------------------------------------------------------------------

    def typing(self, room_id: RoomId, account_id: AccountId) -> bool:
        """Whether it was passed on; False where the account has said so a moment ago."""
        now = self._clock()
        if now - self._typed.get(account_id, -TYPING_SECONDS) < TYPING_SECONDS:
            return False
        if len(self._typed) >= _REMEMBERED_MAX:
            self._typed = {who: at for who, at in self._typed.items() if now - at < TYPING_SECONDS}
        self._typed[account_id] = now
        metrics.signals.labels("typing").inc()
        self._send(_Typing(room_id, account_id))
        return True

    def is_first_use(self, ticket: bytes) -> bool:
        """Whether the ticket was used nowhere yet, as far as is known here; the other processes are told."""
        if not self._tickets.is_first(ticket):
            return False
        self._send(_Used(ticket))
        return True

    def came(self, subscription: Subscription) -> None:
        """It follows the log from now on. Who is there already, it is told."""
        mine = self._mine.setdefault(subscription.account_id, _Mine([]))
        mine.streams.append(subscription)
        mine.leaves_at = None
        for account_id in self._presence.among(subscription.rooms) - {subscription.account_id}:
            self._show([subscription], "presence", PresenceShown(account_id, True), account_id)

    def went(self, subscription: Subscription) -> None:
        mine = self._mine.get(subscription.account_id)
        if mine is not None and subscription in mine.streams:
            mine.streams.remove(subscription)
            if not mine.streams:
                mine.leaves_at = self._clock() + _LINGER_SECONDS

    # --- what others say ----------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        try:
            signal = _decode(data)
        except msgspec.DecodeError as error:
            log.warning("a signal is not as Falcon's are: %s", error)
            return
        now = self._clock()
        match signal:
            case _Typing(room_id=room_id, account_id=account_id):
                audience = self._feed.in_room(room_id)
                if len(audience) <= AUDIENCE_MAX:
                    self._show(audience, "typing", TypingShown(room_id, account_id), account_id)
            case _Here(process=process, accounts=accounts):
                for account_id, rooms in accounts:
                    if self._presence.here(process, account_id, rooms, now):
                        self._show_presence(account_id, rooms, online=True)
            case _Gone(process=process, accounts=left):
                for account_id in left:
                    told = self._presence.gone(process, account_id)
                    if told is not None:
                        self._show_presence(account_id, told, online=False)
            case _Alive(process=process):
                if not self._presence.alive(process, now):
                    self._send(_Asking())
            case _Used(ticket=ticket):
                self._tickets.is_first(ticket)
            case _Asking():
                self._send_here([who for who, mine in self._mine.items() if mine.announced_at])

    def _show_presence(self, account_id: AccountId, rooms: Collection[RoomId], *, online: bool) -> None:
        audience = {each for room_id in rooms for each in self._feed.in_room(room_id)}
        self._show(audience, "presence", PresenceShown(account_id, online), account_id)

    def _show(self, audience: Iterable[Subscription], kind: Kind, shown: msgspec.Struct, about: AccountId) -> None:
        """Under the token of what has been passed on by now, so that a signal moves nobody's place in the log.

        Whoever is busy does without: a signal waits in no buffer.
        """
        frame: Frame | None = None
        for subscription in audience:
            if kind in subscription.signals and subscription.account_id != about and not subscription.busy:
                frame = frame or Frame(self._feed.token(), kind, encode(shown))
                subscription.push(frame)

    # --- who is here --------------------------------------------------------------------------------------------------

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TURN_SECONDS)
            try:
                await self._turn()
            except ReadStoreUnavailable as error:
                log.warning("who is there is told later: %s", error)
            except Exception:  # whatever it is: if this ended, nobody would be told who is there any more
                log.exception("signals met a fault of ours; they go on")

    async def _turn(self) -> None:
        now = self._clock()
        if now - self._alive_at >= _ALIVE_SECONDS:
            self._alive_at = now
            self._send(_Alive(self._process))
        self._send_gone(
            [who for who, mine in self._mine.items() if mine.leaves_at is not None and now > mine.leaves_at]
        )
        for account_id, rooms in self._presence.forgotten(now):
            self._show_presence(account_id, rooms, online=False)
        due = [who for who, mine in self._mine.items() if mine.streams and now - mine.announced_at >= _AGAIN_SECONDS]
        for first in range(0, len(due), _CHUNK):
            await self._announce(due[first : first + _CHUNK], now)

    async def _announce(self, accounts: list[AccountId], now: float) -> None:
        for account_id in accounts:
            mine = self._mine.get(account_id)
            if mine is not None and mine.streams:
                mine.rooms = await self._small_rooms(mine.streams[-1], now)
                mine.announced_at = now
        self._send_here([who for who in accounts if who in self._mine])

    async def _small_rooms(self, subscription: Subscription, now: float) -> tuple[RoomId, ...]:
        small: list[RoomId] = []
        for room_id in list(subscription.rooms)[:_ROOMS_MAX]:
            known = self._small.get(room_id)
            if known is None or now - known[1] > _AGAIN_SECONDS:
                if len(self._small) >= _REMEMBERED_MAX:
                    self._small.clear()
                known = self._small[room_id] = (await self._sizes.has_at_most(room_id, ROOM_MEMBERS_MAX), now)
            if known[0]:
                small.append(room_id)
        return tuple(small)

    def _send_here(self, accounts: list[AccountId]) -> None:
        for first in range(0, len(accounts), _CHUNK):
            some = accounts[first : first + _CHUNK]
            metrics.signals.labels("presence").inc(len(some))
            self._send(_Here(self._process, tuple((who, self._mine[who].rooms) for who in some)))

    def _send_gone(self, accounts: list[AccountId]) -> None:
        for account_id in accounts:
            del self._mine[account_id]
        if accounts:
            metrics.signals.labels("presence").inc(len(accounts))
            self._send(_Gone(self._process, tuple(accounts)))

    def _send(self, signal: _Signal) -> None:
        self._wire.send(encode(signal))
