"""How a stream begins: with the state of now, or with what has happened since a token, and then goes on live."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from falcon.domain.commands import Role
from falcon.domain.events import (
    Event,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessagePosted,
    RoomCreated,
    RoomDeleted,
)
from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Position
from falcon.streams import tokens
from falcon.streams.delivery import Delivery, Lookups, RoomInfo, Withheld
from falcon.streams.feed import Feed, decoded
from falcon.streams.frames import Frame
from falcon.streams.subscription import Subscription
from falcon.streams.tail import Raw
from falcon.telemetry import metrics

_CHUNK: Final = 1_000
_REACH_SECONDS: Final = 5.0
# What decides who was in a room, and whose text is not to be shown again.
_OF_THE_PAST: Final = re.compile(
    rb'\{"type":"(?:room-created|room-deleted|member-joined|member-changed|member-left|message-deleted)"'
)


class NotReached(Exception):
    """The log could not be read as far as it goes within a few seconds."""


class Standing(msgspec.Struct, frozen=True):
    """A room that the account is in now."""

    info: RoomInfo
    role: Role


class Beginning:
    """A subscription that has yet to be added to the feed. ``offsets``: what it has been shown, lane by lane.

    ``rooms``: those that the account was in there, with its role. ``seen_since``: those that it came to or left since.

    First :meth:`prepare`, which may fail; then say what the stream begins with, and :meth:`run`.
    """

    def __init__(self, feed: Feed, lookups: Lookups, offsets: Mapping[int, int], standings: Sequence[Standing]) -> None:
        self._feed = feed
        self._lookups = lookups
        self._offsets = dict(offsets)
        self._token = tokens.Token(feed.log_name, offsets)
        self._standings = {standing.info.room_id: standing for standing in standings}
        self.rooms = {standing.info.room_id: standing.role for standing in standings}
        self.seen_since: frozenset[RoomId] = frozenset()
        self._withheld: Withheld = ()
        self._seen: Mapping[RoomId, Seq] = {}

    @property
    def id(self) -> str:
        return self._token.text()

    async def prepare(self, positions: Mapping[int, Position]) -> None:
        """See to it that the lanes are read, as far as they go now. Raises NotReached, JournalUnavailable."""
        self._feed.follow(positions)
        ends = await self._feed.ends(self._offsets)
        try:
            async with asyncio.timeout(_REACH_SECONDS):
                await self._feed.reach(ends)
        except TimeoutError as error:
            raise NotReached from error

    # --- from the state of now ----------------------------------------------------------------------------------------

    def show_state(self, subscription: Subscription, name: str, data: bytes) -> None:
        """What was read from the tables, which may be ahead of ``offsets``: what it shows is not told again."""
        self._seen = {room_id: standing.info.last_seq for room_id, standing in self._standings.items()}
        subscription.push(Frame(self.id, name, data))

    # --- from a token -------------------------------------------------------------------------------------------------

    async def look_back(self, account_id: AccountId) -> None:
        """Find out in which rooms the account was then, and what has been deleted since. Raises JournalUnavailable,
        WrongPlace."""
        past = _Past(account_id)
        at = dict(self._offsets)
        for lane in at:
            while at[lane] < self._feed.reached(lane):
                raws, at[lane] = await self._next(lane, at[lane])
                past.look_at(raws)
        rooms = {room_id: standing.role for room_id, standing in self._standings.items()}
        for room_id, role in past.before.items():
            rooms.pop(room_id, None)
            if role is not None:
                rooms[room_id] = role
        self.rooms = rooms
        self.seen_since = frozenset(past.before)
        self._withheld = past.deleted

    # --- and on -------------------------------------------------------------------------------------------------------

    async def run(self, subscription: Subscription, *, replay: bool) -> None:
        """Show what is behind ``offsets``, and let the feed go on from there. Raises JournalUnavailable, WrongPlace."""
        while subscription.open:
            lane = next((lane for lane, offset in self._offsets.items() if offset < self._feed.reached(lane)), None)
            if lane is None:
                break
            raws, after = await self._next(lane, self._offsets[lane])
            for raw in raws:
                self._offsets[lane] = raw.at.offset + 1
                self._token.move(lane, raw.at.offset + 1)
                self._show(subscription, raw)
            self._offsets[lane] = max(self._offsets[lane], after)
            await subscription.drained()
        if subscription.open:  # nothing has been waited for since the lanes were compared
            if replay:
                subscription.push(Frame(self.id, "caught_up", b"{}"))
            self._feed.add(subscription, (standing.info for standing in self._standings.values()))

    async def _next(self, lane: int, offset: int) -> tuple[list[Raw], int]:
        remembered = self._feed.remembered_since(lane, offset, _CHUNK)
        if remembered is None:
            return await self._feed.read_again(lane, offset, _CHUNK)
        # Behind the last valid record there may be some that are void.
        after = remembered[-1].at.offset + 1 if len(remembered) == _CHUNK else self._feed.reached(lane)
        return remembered, after

    def _show(self, subscription: Subscription, raw: Raw) -> None:
        if (
            raw.key not in subscription.rooms
            and raw.key != subscription.account_id
            and not _OF_THE_PAST.match(raw.data)
        ):
            return
        try:
            event = decoded(raw).event
        except Undecodable:
            return  # the feed has said so
        if self._was_seen(event, subscription.account_id):
            return
        standing = self._standings.get(raw.key)
        info = None if standing is None else standing.info
        Delivery(self._token.text, event, info, self._lookups, _NOBODY, self._withheld).to(subscription)
        metrics.stream_deliveries.inc()

    def _was_seen(self, event: Event, account_id: AccountId) -> bool:
        match event:
            case MessagePosted(message=message):
                return message.seq <= self._seen.get(message.room_id, 0)
            case RoomCreated(room_id=room_id):
                return room_id in self._seen
            case MemberJoined(room_id=room_id, account_id=who):
                return room_id in self._seen and who == account_id
        return False


class _Past:
    """What happened to an account's rooms within a part of the log. ``before``: its role in a room before the first of
    it, None where it was no member. ``deleted``: messages."""

    def __init__(self, account_id: AccountId) -> None:
        self._account_id = account_id
        self.before: dict[RoomId, Role | None] = {}
        self.deleted: set[tuple[RoomId, Seq]] = set()

    def look_at(self, raws: Iterable[Raw]) -> None:
        for raw in raws:
            if _OF_THE_PAST.match(raw.data):
                try:
                    self._look_at(decoded(raw).event)
                except Undecodable:
                    continue  # the feed has said so

    def _look_at(self, event: Event) -> None:
        me = self._account_id
        match event:
            case MessageDeleted(message=message):
                self.deleted.add((message.room_id, message.seq))
            case RoomCreated(room_id=room_id, members=members) if any(m.account_id == me for m in members):
                self.before.setdefault(room_id, None)
            case MemberJoined(room_id=room_id, account_id=who) if who == me:
                self.before.setdefault(room_id, None)
            case MemberLeft(room_id=room_id, account_id=who, role=role) if who == me:
                self.before.setdefault(room_id, role or "member")
            case MemberChanged(room_id=room_id, account_id=who, role=role) if who == me:
                self.before.setdefault(room_id, role)  # what it was before is not said; it is told in a moment
            case RoomDeleted(room_id=room_id, members=members) if me in members:
                self.before.setdefault(room_id, "member")


class _Nobody:
    """No index has this subscription yet."""

    def enter(self, subscription: Subscription, room_id: RoomId) -> None:
        """It is added with its rooms in the end."""

    def leave(self, subscription: Subscription, room_id: RoomId) -> None:
        """Likewise."""


_NOBODY: Final = _Nobody()
