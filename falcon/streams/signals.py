"""Typing, presence and used tickets: processes tell one another these beside the log, without storing or promising
anything.

A signal may be lost, late or doubled without harm: clients forget typing after some seconds, processes repeat presence,
and a ticket is good for a minute only.
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
from falcon.streams.presence import PresenceTable
from falcon.streams.subscription import Subscription
from falcon.telemetry import metrics

log = logging.getLogger("falcon.streams")

SIGNALS: Final = ("typing", "presence")
ROOM_MEMBERS_MAX: Final = 50  # presence is told in rooms of at most so many members
AUDIENCE_MAX: Final = 500  # connections of a process that are told about typing in a room; in a larger room none are
TYPING_SECONDS: Final = 1.0  # between two signals of an account

_ROOMS_MAX: Final = 100  # the account's rooms with the newest activity, whose members are told
_LINGER_SECONDS: Final = 5.0  # an account that comes back within them was never away
_ALIVE_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 60.0
_TURN_SECONDS: Final = 1.0
_CHUNK: Final = 50  # accounts in a signal
_REMEMBERED_MAX: Final = 10_000
_TICKET_SECONDS: Final = 90.0  # longer than a ticket is good

Kind: TypeAlias = Literal["typing", "presence"]


class SignalTransport(Protocol):
    """Sends to every process of this Falcon that has streams, the sender included. What cannot be sent at once is
    lost."""

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
    """A process that has just started asks who is online."""


class _Used(msgspec.Struct, frozen=True, tag="used"):
    """A used ticket. No other process accepts it any more."""

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
    """An account with streams here. ``rooms``: as announced. ``leaves_at``: set when the last stream has ended."""

    streams: list[Subscription]
    rooms: tuple[RoomId, ...] = ()
    announced_at: float = 0.0
    leaves_at: float | None = None


class Signals:
    """One instance per event loop."""

    def __init__(
        self, transport: SignalTransport, feed: Feed, sizes: Sizes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport
        self._feed = feed
        self._sizes = sizes
        self._clock = clock
        self._process = secrets.token_hex(8)
        self._presence = PresenceTable()
        self._mine: dict[AccountId, _Mine] = {}
        self._typed: dict[AccountId, float] = {}
        self._small: dict[RoomId, tuple[bool, float]] = {}
        self._tickets = Once(_TICKET_SECONDS, clock)
        self._alive_at = 0.0
        self._tending: asyncio.Task[None] | None = None
        metrics.signals.begin(*((kind,) for kind in SIGNALS))

    def start(self) -> None:
        self._transport.open(self._take)
        self._send(_Asking())
        self._tending = asyncio.get_running_loop().create_task(self._tend())

    async def stop(self) -> None:
        """Does not announce that the accounts here are gone: most of them are on their way to another process."""
        if self._tending is not None:
            self._tending.cancel()
        await self._transport.close()

    # --- signals from this process ------------------------------------------------------------------------------------

    def typing(self, room_id: RoomId, account_id: AccountId) -> bool:
        """Returns True if the signal was sent, False if the account sent one a moment ago."""
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
        """True if no process that this one heard of has used the ticket. Tells the other processes."""
        if not self._tickets.is_first(ticket):
            return False
        self._send(_Used(ticket))
        return True

    def came(self, subscription: Subscription) -> None:
        """Called when a subscription follows the log. It is told which accounts are online already."""
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

    # --- signals from all processes -----------------------------------------------------------------------------------

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
        """Push under the token of what has been delivered so far: a signal moves no client's place in the log.

        A signal is not queued: a busy connection does without it.
        """
        frame: Frame | None = None
        for subscription in audience:
            if kind in subscription.signals and subscription.account_id != about and not subscription.busy:
                frame = frame or Frame(self._feed.token(), kind, encode(shown))
                subscription.push(frame)

    # --- presence of the accounts here --------------------------------------------------------------------------------

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TURN_SECONDS)
            try:
                await self._turn()
            except ReadStoreUnavailable as error:
                log.warning("who is there is told later: %s", error)
            except Exception:  # if this task ended, presence would be wrong for ever
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
        self._transport.send(encode(signal))
