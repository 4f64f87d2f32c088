"""Typing, presence and used tickets: processes tell one another these beside the log, without storing or promising
anything.

A signal may be lost, late or doubled without harm: clients forget typing after some seconds, processes compare what
they know of presence, and a ticket is good for a minute only.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable
from itertools import chain, islice
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from falcon.base.once import Once
from falcon.domain.ids import AccountId, RoomId
from falcon.features.accounts.rules import AccountChanged
from falcon.streams.feed import Feed
from falcon.streams.frames import Frame, encode
from falcon.streams.presence import ROOMS_MAX, Presence
from falcon.streams.replicated_maps import MapChanges, MapId, Sum
from falcon.streams.subscription import Subscription
from falcon.telemetry import metrics

log = logging.getLogger("falcon.streams")

SIGNALS: Final = ("typing", "presence", "accounts", "receipts")
WATCHED_MAX: Final = 500  # accounts that a stream may watch
AUDIENCE_MAX: Final = 500  # connections of a process that hear of typing in a room; in a larger room none are
TYPING_SECONDS: Final = 1.0  # between two signals of an account
ALIVE_SECONDS: Final = 3.0  # between two signs of life of a process

_LINGER_SECONDS: Final = 3.0  # an account that comes back within them was never away
_TURN_SECONDS: Final = 0.25  # typing and presence are shown this much later at most, and changes meanwhile go together
_COMPARED_EVERY: Final = 40  # turns: a process compares with each other process after so many
_MESSAGES_MAX: Final = 200  # that are sent at once; the rest waits, and later changes of it cost nothing more
_ACCOUNTS_MAX: Final = 5_000  # that are looked at in a turn for streams that have entered rooms: some milliseconds
_FEW: Final = 8  # a tuple of so many streams takes less memory than a set, and is searched as quickly
_REMEMBERED_MAX: Final = 10_000  # accounts; then the ones that have stopped typing are forgotten
# A process that was stopped for so long shows no typing until it has taken what came meanwhile.
_STOPPED_SECONDS: Final = 2.0
_CATCHES_UP_SECONDS: Final = 2.0
_TICKET_SECONDS: Final = 90.0  # longer than a ticket is good

Kind: TypeAlias = Literal["typing", "presence", "account"]
_ACCOUNTS_ONLY: Final = frozenset({"accounts"})
_SHOWN_FIELDS: Final = frozenset({"name", "handle", "title", "deactivated"})
_Watching: TypeAlias = tuple[Subscription, ...] | set[Subscription]


class SignalTransport(Protocol):
    """Sends to processes of this Falcon that have streams. What cannot be sent at once is lost. The signals from one
    process to another arrive in order.

    ``name``: of this process, different from all others of this Falcon.
    """

    name: str

    def open(self, receive: Callable[[bytes], None]) -> None:
        """``receive`` is called on the running event loop."""

    def send(self, data: bytes) -> None:
        """Send to every process, the sender included."""

    def send_to(self, process: str, data: bytes) -> None:
        """Send to the process with this name, which may be the sender."""

    async def close(self) -> None: ...


class _Types(msgspec.Struct, frozen=True, tag="types"):
    """Goes to the keeper of the room."""

    room_id: RoomId
    account_id: AccountId


class _Typing(msgspec.Struct, frozen=True, tag="typing"):
    """Goes to a process that listens in the room."""

    room_id: RoomId
    account_id: AccountId


class _Parts(msgspec.Struct, frozen=True, tag="parts"):
    process: str
    parts: list[MapChanges]


class _Sums(msgspec.Struct, frozen=True, tag="sums"):
    process: str
    sums: list[Sum]


class _Again(msgspec.Struct, frozen=True, tag="again"):
    """The process asks for these maps as they are, or for all that it should have."""

    process: str
    places: list[MapId] | None = None


class _Alive(msgspec.Struct, frozen=True, tag="alive"):
    """Goes to every process. ``keeps``: True; 0.1.0 looks at it while a cluster is upgraded. ``leaves``: the process
    ends now."""

    process: str
    keeps: bool = True
    leaves: bool = False


class _Used(msgspec.Struct, frozen=True, tag="used"):
    """A used ticket. No other process accepts it any more."""

    ticket: bytes


_Signal: TypeAlias = _Types | _Typing | _Parts | _Sums | _Again | _Alive | _Used
_decode: Final = msgspec.json.Decoder(_Signal).decode


class TypingShown(msgspec.Struct, frozen=True):
    room_id: RoomId
    account_id: AccountId


class PresenceShown(msgspec.Struct, frozen=True):
    account_id: AccountId
    online: bool


class AccountShown(msgspec.Struct, frozen=True):
    """The account as people see it now."""

    account_id: AccountId
    name: str
    handle: str | None
    title: str
    deactivated: bool


class Signals:
    """One instance per event loop."""

    def __init__(self, transport: SignalTransport, feed: Feed, clock: Callable[[], float] = time.monotonic) -> None:
        self._transport = transport
        self._feed = feed
        self._clock = clock
        self._presence = Presence(transport.name)
        self._mine: dict[AccountId, list[Subscription]] = {}
        self._leaving: dict[AccountId, float] = {}  # those whose last stream has ended, and when to tell
        self._watching: dict[AccountId, _Watching] = {}
        self._shown: dict[Subscription, set[AccountId]] = {}  # by stream: the ones that it knows to be online
        self._entered: dict[Subscription, None] = {}  # they have entered or left a room
        self._late: dict[AccountId, set[Subscription]] = {}  # told when the connection is less busy
        self._typed: dict[AccountId, float] = {}
        self._tickets = Once(_TICKET_SECONDS, clock)
        self._alive_at = -math.inf
        self._turned_at = math.inf
        self._is_old_until = -math.inf
        self._turns = 0
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_sending_soon = False
        self._tending: asyncio.Task[None] | None = None
        metrics.signals.begin(*((kind,) for kind in SIGNALS))
        feed.moved = self._moved

    def start(self) -> None:
        self._transport.open(self._receive)
        self._loop = asyncio.get_running_loop()
        self._tending = self._loop.create_task(self._tend())

    def drain(self) -> None:
        """Expect the accounts here at other processes: their streams end without being missed."""
        self._draining = True

    async def stop(self) -> None:
        """Tells that this process ends, and not that its accounts are gone."""
        if self._tending is not None:
            self._tending.cancel()
        self._send_all(_Alive(self._presence.here, leaves=True))
        await self._transport.close()

    # --- tickets ------------------------------------------------------------------------------------------------------

    def is_first_use(self, ticket: bytes) -> bool:
        """True if no process that this one heard of has used the ticket. Tells the other processes."""
        if not self._tickets.is_first(ticket):
            return False
        self._send_all(_Used(ticket))
        return True

    # --- the streams of this process ----------------------------------------------------------------------------------

    def typing(self, room_id: RoomId, account_id: AccountId) -> bool:
        """Returns True if the signal was sent, or may be old; False if the account sent one a moment ago."""
        now = self._clock()
        if now - self._typed.get(account_id, -TYPING_SECONDS) < TYPING_SECONDS:
            return False
        if len(self._typed) >= _REMEMBERED_MAX:
            self._typed = {who: at for who, at in self._typed.items() if now - at < TYPING_SECONDS}
        self._typed[account_id] = now
        if self._may_be_old():
            return True
        metrics.signals.labels("typing").inc()
        self._send(self._presence.keeper_of(room_id), _Types(room_id, account_id))
        return True

    def came(self, subscription: Subscription) -> None:
        """Called when a subscription follows the log. It receives which of the watched accounts are online."""
        self._shown[subscription] = set()
        self._mine.setdefault(subscription.account_id, []).append(subscription)
        self._leaving.pop(subscription.account_id, None)
        self._tell_here(subscription.account_id)
        if "typing" in subscription.signals:
            for room_id in subscription.rooms:
                self._presence.listen(room_id)
        for account_id in subscription.watched:
            self._watching[account_id] = _with(self._watching.get(account_id, ()), subscription)
            self._presence.watch(account_id)
            self._show_presence(account_id, [subscription])
        self._send_soon()

    def went(self, subscription: Subscription) -> None:
        if self._shown.pop(subscription, None) is None:
            return
        mine = self._mine[subscription.account_id]
        mine.remove(subscription)
        if mine:
            self._tell_here(subscription.account_id)
        elif not self._draining:
            self._leaving[subscription.account_id] = self._clock() + _LINGER_SECONDS
        if "typing" in subscription.signals:
            for room_id in subscription.rooms:
                self._stop_listening(subscription, room_id)
        for account_id in subscription.watched:
            others = _without(self._watching[account_id], subscription)
            if others:
                self._watching[account_id] = others
            else:
                del self._watching[account_id]
                self._presence.unwatch(account_id)

    def _moved(self, subscription: Subscription, room_id: RoomId) -> None:
        """A subscription has entered or left a room."""
        if subscription not in self._shown:
            return  # not yet here, or not any more
        self._tell_here(subscription.account_id)
        if "typing" in subscription.signals:
            if room_id in subscription.rooms:
                self._presence.listen(room_id)
            else:
                self._stop_listening(subscription, room_id)
        if subscription.watched:
            self._entered[subscription] = None
        self._send_soon()

    def _tell_here(self, account_id: AccountId) -> None:
        # An account is not in the open rooms that it only reads.
        joined = (
            (room for room in reversed(each.rooms) if each.rooms[room] and room not in each.follows)
            for each in self._mine[account_id]
        )
        newest = (islice(rooms, ROOMS_MAX) for rooms in joined)
        here = dict.fromkeys(chain.from_iterable(newest))
        self._presence.tell_here(account_id, islice(here, ROOMS_MAX))

    def _stop_listening(self, subscription: Subscription, room_id: RoomId) -> None:
        here = self._feed.in_room(room_id)
        if not any(each is not subscription and "typing" in each.signals for each in here):
            self._presence.stop_listening(room_id)

    # --- signals from all processes -----------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        try:
            self._apply(_decode(data))
        except msgspec.ValidationError as error:
            log.debug("a signal is of another version: %s", error)
        except msgspec.DecodeError as error:
            log.warning("a signal is not as Falcon's are: %s", error)
        except Exception:  # if it reached the transport, that might read no further
            log.exception("a signal met a fault of ours; the others are taken")

    def _apply(self, signal: _Signal) -> None:
        match signal:
            case _Parts(process=process, parts=parts):
                self._hear_from(process)
                self._presence.receive(process, parts)
                self._show_changed()
                self._send_soon()
            case _Types() | _Typing() if self._may_be_old():
                pass
            case _Types(room_id=room_id, account_id=account_id):
                for process in self._presence.listeners(room_id):
                    self._send(process, _Typing(room_id, account_id))
            case _Typing(room_id=room_id, account_id=account_id):
                self._show_typing(room_id, account_id)
            case _Sums(process=process, sums=sums):
                self._hear_from(process)
                again = self._presence.compare(process, sums)
                if again:
                    metrics.presence_repairs.inc(len(again))
                    self._send(process, _Again(self._presence.here, again))
                self._show_changed()
            case _Again(process=process, places=places):
                self._presence.send_again(process, places)
                self._send_soon()
            case _Alive(process=process, leaves=False):
                self._hear(process)
            case _Alive(process=process):
                self._presence.leaves(process, self._clock())
            case _Used(ticket=ticket):
                self._tickets.is_first(ticket)

    def _may_be_old(self) -> bool:
        """True if this process was stopped: a request that it reads now, or a signal, may have waited since."""
        now = self._clock()
        if now - self._turned_at > _STOPPED_SECONDS:
            self._is_old_until = now + _CATCHES_UP_SECONDS
        return now < self._is_old_until

    def _hear(self, process: str) -> None:
        """The process is alive. Ask one that was not heard before for all that it has to tell."""
        if self._presence.heard(process, self._clock()):
            self._send(process, _Again(self._presence.here))

    def _hear_from(self, process: str) -> None:
        """A message of another process is a sign of life, too. A message of this one is none (`Keepers.silent`)."""
        if process != self._presence.here:
            self._hear(process)

    def _show_typing(self, room_id: RoomId, account_id: AccountId) -> None:
        """A signal is not queued: a busy connection does without it."""
        audience = self._feed.in_room(room_id)
        if len(audience) <= AUDIENCE_MAX:
            wanting = [
                each
                for each in audience
                if "typing" in each.signals and each.account_id != account_id and not each.busy
            ]
            self._push(wanting, "typing", TypingShown(room_id, account_id))

    def watching(self, event: AccountChanged) -> list[Subscription]:
        """The streams that watch the account, if it shows something else now."""
        if _SHOWN_FIELDS.isdisjoint(event.changed):
            return []
        return [each for each in self._watching.get(event.account_id, ()) if "accounts" in each.signals]

    def show_account(self, event: AccountChanged, watching: Iterable[Subscription]) -> None:
        """Tell these streams what the account shows now."""
        shown = AccountShown(event.account_id, event.name, event.handle, event.title, event.deactivated)
        self._push(list(watching), "account", shown)

    def _show_changed(self) -> None:
        for account_id in self._presence.changed():
            self._show_presence(account_id, self._watching.get(account_id, ()))

    def _show_presence(self, account_id: AccountId, watching: Iterable[Subscription]) -> None:
        """Tell these streams that the account is online or offline, if that is news. Only members of a common room may
        know."""
        rooms = self._presence.rooms_of(account_id)
        came: list[Subscription] = []
        left: list[Subscription] = []
        for subscription in watching:
            shown = self._shown.get(subscription)
            online = rooms is not None and not subscription.rooms.keys().isdisjoint(rooms)
            if shown is None or online == (account_id in shown) or subscription.signals == _ACCOUNTS_ONLY:
                continue
            if subscription.busy:
                self._late.setdefault(account_id, set()).add(subscription)
            elif online:
                shown.add(account_id)
                came.append(subscription)
            else:
                shown.discard(account_id)
                left.append(subscription)
        self._push(came, "presence", PresenceShown(account_id, True))
        self._push(left, "presence", PresenceShown(account_id, False))

    def _show_to_entered(self) -> None:
        """Tell streams that have entered or left a room which accounts are online in their rooms now. A room may be
        made with many members at once, so each turn tells some of the streams."""
        accounts = 0
        while self._entered and accounts < _ACCOUNTS_MAX:
            subscription, _ = self._entered.popitem()
            accounts += len(subscription.watched)
            for account_id in subscription.watched:
                self._show_presence(account_id, [subscription])

    def _push(self, audience: Collection[Subscription], kind: Kind, shown: msgspec.Struct) -> None:
        """Push under the token of what has been delivered so far: a signal moves no client's place in the log."""
        if audience:
            frame = Frame(self._feed.token(), kind, encode(shown))
            for subscription in audience:
                subscription.push(frame)

    # --- signals to other processes -----------------------------------------------------------------------------------

    async def _tend(self) -> None:
        while True:
            try:
                self._turn()
            except Exception:  # if this task ended, presence would be wrong for ever
                log.exception("signals met a fault of ours; they continue")
            await asyncio.sleep(_TURN_SECONDS)

    def _turn(self) -> None:
        now = self._clock()
        self._may_be_old()
        self._turned_at = now
        if now - self._alive_at >= ALIVE_SECONDS:
            self._alive_at = now
            self._send_all(_Alive(self._presence.here))
        self._miss(now)
        self._presence.pass_time(now)
        self._show_changed()
        self._show_to_entered()
        late, self._late = self._late, {}
        for account_id, subscriptions in late.items():
            self._show_presence(account_id, subscriptions)
        self._send_changes()
        self._compare(now)

    def _send_soon(self) -> None:
        """Send changes within this turn of the event loop, together with others that come before its end: a person may
        type in a room as soon as another listens."""
        if self._loop is not None and not self._is_sending_soon:
            self._is_sending_soon = True
            self._loop.call_soon(self._send_changes)

    def _send_changes(self) -> None:
        self._is_sending_soon = False
        for process, parts in self._presence.messages(_MESSAGES_MAX):
            metrics.signals.labels("presence").inc(sum(len(part.put) + len(part.dropped) for part in parts))
            self._send(process, _Parts(self._presence.here, parts))

    def _miss(self, now: float) -> None:
        """Tell that accounts are gone whose last stream has ended some time ago."""
        for account_id in [each for each, at in self._leaving.items() if now > at]:
            del self._leaving[account_id]
            del self._mine[account_id]
            self._presence.tell_gone(account_id)

    def _compare(self, now: float) -> None:
        """Let other processes compare what they have of this one's maps, some of them each turn."""
        self._turns += 1
        for process in islice(self._presence.processes, self._turns % _COMPARED_EVERY, None, _COMPARED_EVERY):
            sums = self._presence.sums(process, now)
            if sums is not None:
                self._send(process, _Sums(self._presence.here, sums))

    def _send(self, process: str, signal: _Signal) -> None:
        self._transport.send_to(process, encode(signal))

    def _send_all(self, signal: _Signal) -> None:
        self._transport.send(encode(signal))


def _with(watching: _Watching, subscription: Subscription) -> _Watching:
    """Most accounts are watched by few streams. One that all streams watch must not slow down each that comes or
    goes."""
    if isinstance(watching, set):
        watching.add(subscription)
        return watching
    more = (*watching, subscription)
    return more if len(more) <= _FEW else set(more)


def _without(watching: _Watching, subscription: Subscription) -> _Watching:
    if isinstance(watching, set):
        watching.discard(subscription)
        return watching
    return tuple(each for each in watching if each is not subscription)
