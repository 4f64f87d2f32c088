"""How a stream begins: with the state of now, or with what has happened since a token, and then goes on live."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
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
from falcon.streams.delivery import Delivery, Lookups, RoomInfo
from falcon.streams.feed import Feed, decoded, info_of
from falcon.streams.frames import Frame
from falcon.streams.subscription import Subscription
from falcon.streams.tail import Raw
from falcon.telemetry import metrics

_CHUNK: Final = 1_000
_REACH_SECONDS: Final = 5.0
_TURN_BYTES: Final = 32 << 10
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

    First :meth:`prepare` and :meth:`look_back`, which may fail; then say what the stream begins with, and :meth:`run`.
    The feed must be held meanwhile. ``rooms``: those that the account was in at ``offsets``, with its role.
    ``seen_since``: those that it came to or left behind that.
    """

    def __init__(self, feed: Feed, lookups: Lookups, offsets: Mapping[int, int], standings: Sequence[Standing]) -> None:
        self._feed = feed
        self._lookups = lookups
        self._offsets = dict(offsets)
        self._token = tokens.Token(feed.log_name, offsets)
        self._standings = standings
        self._infos = {standing.info.room_id: copy(standing.info) for standing in standings}
        self._again: dict[int, Position] = {}
        self._past = _Past(0)
        self._looked: dict[int, int] = {}
        self._seen: dict[RoomId, Seq] = {}
        self.rooms = {standing.info.room_id: standing.role for standing in standings}
        self.seen_since: frozenset[RoomId] = frozenset()

    @property
    def id(self) -> str:
        return self._token.text()

    async def prepare(self, positions: Mapping[int, Position]) -> None:
        """See to it that the lanes are read, from these positions on if they are not yet, as far as they go now.

        Raises NotReached, JournalUnavailable; WrongPlace for offsets that are beyond the log.
        """
        self._feed.follow(positions)
        ends = await self._feed.ends(self._offsets)
        for lane, offset in self._offsets.items():
            if offset > ends[lane]:  # which may be stale
                await self._feed.again(lane, offset)
        try:
            async with asyncio.timeout(_REACH_SECONDS):
                await self._feed.reach({lane: max(ends[lane], offset) for lane, offset in self._offsets.items()})
        except TimeoutError as error:
            raise NotReached from error

    async def look_back(self, account_id: AccountId) -> None:
        """Find out in which rooms the account was then, and what has been deleted since. Raises JournalUnavailable,
        WrongPlace."""
        self._past = _Past(account_id)
        self._looked = dict(self._offsets)
        await self._look_on()
        for room_id, role in self._past.before.items():
            self.rooms.pop(room_id, None)
            if role is not None:
                self.rooms[room_id] = role
        self.seen_since = frozenset(self._past.before)
        self._again.clear()

    async def _look_on(self) -> None:
        """As far as the lanes have been read by now: what is deleted while others are shown is not shown either."""
        for lane, offset in self._looked.items():
            while offset < self._feed.reached(lane):
                raws, offset = await self._next(lane, offset)
                self._past.look_at(raws)
                self._looked[lane] = offset

    def show_state(self, subscription: Subscription, name: str, data: bytes) -> None:
        """What was read from the tables, which may be ahead of ``offsets``: what it shows is not told again."""
        self._seen = {standing.info.room_id: standing.info.last_seq for standing in self._standings}
        subscription.push(Frame(self.id, name, data))

    async def run(self, subscription: Subscription, *, replay: bool) -> None:
        """Show what is behind ``offsets``, and let the feed go on from there. Raises JournalUnavailable, WrongPlace."""
        while subscription.open:
            lane = next((lane for lane, offset in self._offsets.items() if offset < self._feed.reached(lane)), None)
            if lane is None:
                break
            await self._look_on()
            raws, after = await self._next(lane, self._offsets[lane])
            await self._show_all(subscription, lane, raws)
            self._offsets[lane] = max(self._offsets[lane], after)
        if subscription.open:  # nothing has been waited for since the lanes were compared
            if replay:
                subscription.push(Frame(self.id, "caught_up", b"{}"))
            self._feed.add(subscription, (standing.info for standing in self._standings))

    async def _show_all(self, subscription: Subscription, lane: int, raws: Sequence[Raw]) -> None:
        """As fast as it is read, and with turns for others in between."""
        size = 0
        for raw in raws:
            self._offsets[lane] = raw.at.offset + 1
            self._token.move(lane, raw.at.offset + 1)
            self._show(subscription, raw)
            size += len(raw.data)
            if subscription.busy:
                await subscription.drained()
            if size > _TURN_BYTES:
                size = 0
                await asyncio.sleep(0)
            if not subscription.open:
                return

    async def _next(self, lane: int, offset: int) -> tuple[Sequence[Raw], int]:
        remembered = self._feed.remembered_since(lane, offset, _CHUNK)
        if remembered is None:
            return await self._read_again(lane, offset)
        # Behind the last valid record there may be some that are void.
        after = remembered[-1].at.offset + 1 if len(remembered) == _CHUNK else self._feed.reached(lane)
        return remembered, after

    async def _read_again(self, lane: int, offset: int) -> tuple[Sequence[Raw], int]:
        """Each part goes on from where the one before stood: only that is certain to be right."""
        position = self._again.get(lane)
        if position is None or position.offset != offset:
            position = await self._feed.again(lane, offset)
        raws, self._again[lane] = await self._feed.read_again(lane, position, _CHUNK)
        return raws, self._again[lane].offset

    def _show(self, subscription: Subscription, raw: Raw) -> None:
        concerned = raw.key in subscription.rooms or raw.key == subscription.account_id
        if not concerned and not _OF_THE_PAST.match(raw.data):
            return
        try:
            event = decoded(raw).event
        except Undecodable:
            return  # the feed has said so
        if isinstance(event, RoomCreated):
            self._infos[event.room_id] = info_of(event)
        info = self._infos.get(raw.key)
        if info is not None:
            info.follow(event)
        if not self._was_seen(event, subscription):
            Delivery(self._token.text, raw, event, info, self._lookups, _NOBODY, self._past.deleted).to(subscription)
            metrics.stream_deliveries.inc()

    def _was_seen(self, event: Event, subscription: Subscription) -> bool:
        """Whether the state that was shown at the beginning has it. What it has is the account's."""
        match event:
            case MessagePosted(message=message):
                return message.seq <= self._seen.get(message.room_id, 0)
            case RoomCreated(room_id=room_id, members=members) if room_id in self._seen:
                roles = {member.account_id: member.role for member in members}
                self._enter(subscription, room_id, roles.get(subscription.account_id))
                return True
            case MemberJoined(room_id=room_id, account_id=who, role=role) if who == subscription.account_id:
                if room_id in self._seen:
                    self._enter(subscription, room_id, role)
                    return True
            case MemberLeft(room_id=room_id, account_id=who) if who == subscription.account_id:
                self._seen.pop(room_id, None)  # if he comes back that is news
        return False

    def _enter(self, subscription: Subscription, room_id: RoomId, role: Role | None) -> None:
        if role is not None and subscription.wants(room_id):
            subscription.rooms[room_id] = role


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
            case RoomDeleted(room_id=room_id, members=members, by=by) if me in members:
                self.before.setdefault(room_id, "admin" if by == me else "member")  # the event does not say it


class _Nobody:
    """No index has this subscription yet."""

    def enter(self, subscription: Subscription, room_id: RoomId) -> None:
        """It is added with its rooms in the end."""

    def leave(self, subscription: Subscription, room_id: RoomId) -> None:
        """Likewise."""


_NOBODY: Final = _Nobody()
