"""Opens streams: with the state of their rooms, or with what has happened since a resume token."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from falcon.base.shared import Shared
from falcon.domain.ids import AccountId, Partition, RoomId, Seq, partition_of
from falcon.features.read_marks.table import MemberRoom, followed_threads, roles_in_parts
from falcon.features.rooms.rules import Role
from falcon.features.rooms.table import RoomRow
from falcon.http import room_views
from falcon.http.limits.limiter import Limiter
from falcon.http.problems import Problem, broken, room_not_found, unauthenticated
from falcon.http.stream.callers import StreamCaller, wrong_ticket
from falcon.http.stream.events import CatchUp, Hello, RoomReach
from falcon.http.stream.turns import TableTurns
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.read.catalogue import ReadStore
from falcon.read.names import AccountNames
from falcon.streams import resume_tokens, room_lists
from falcon.streams.delivery import Lookups
from falcon.streams.feed import Feed
from falcon.streams.frames import encode
from falcon.streams.replay import NotReached, StreamReplay
from falcon.streams.revocations import Revocations
from falcon.streams.room_lists import NewestRooms, RoomLists
from falcon.streams.subscription import Subscription
from falcon.streams.tail import WrongPlace

log = logging.getLogger("falcon.http")

_HELLO_ROOMS_MAX: Final = room_lists.FEW
# A client gets so many bytes of missed events. One that has missed more reads the rooms that it shows by page, and a
# request of a few bytes never costs more than a large page.
_REPLAY_BYTES_MAX: Final = 1 << 20
_ROLES_PART: Final = 10_000  # rooms that one query reads
_MEMBERS: Final = ("memberships", "accounts")  # the read models that a replay needs
_MALFORMED: Final = "The resume token is not one that this Falcon gave."

Rooms: TypeAlias = frozenset[RoomId] | None  # None: all of the account's, also the ones that it joins later
Start: TypeAlias = Literal["hello", "catch_up", "replay"]


class TablePositions(NamedTuple):
    """Where the tables stand. That was read before ``asked_at``, on CLOCK_MONOTONIC."""

    applied: Mapping[Partition, Position]
    asked_at: float


class StreamTables:
    """The read tables that one stream asks when it begins. It reads first where they stand: the log from there on has
    what they did not show, such as the revocation of the caller's token."""

    def __init__(self, applied: Shared[dict[Partition, Position]], turns: TableTurns) -> None:
        self._applied = applied
        self._turns = turns
        self._positions: TablePositions | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[TablePositions]:
        """A turn to ask the tables. Raises Problem 503, ReadStoreUnavailable."""
        async with self._turns.turn():
            if self._positions is None:
                self._positions = TablePositions(await self._applied.get(), time.monotonic())
            yield self._positions


class PendingStream:
    """A stream that has been prepared and not begun. :attr:`release` must be called when it has ended, or is given up.

    ``start``: ``replay``, or the name of its first event with its ``data``. ``only``: the rooms that were asked for.
    ``id``: where the client resumes if the stream ends before its first event; empty if it has no resume token. If
    the client resumed from a state that it never saw, it would miss all of it. ``large``: rooms without receipts.
    ``size``: about as many bytes has what the client gets before live events.
    """

    def __init__(
        self, caller: StreamCaller, only: Rooms, replay: StreamReplay, start: Start, data: bytes = b""
    ) -> None:
        self.caller = caller
        self.only = only
        self.start = start
        self.signals = frozenset[str]()
        self.watched = frozenset[AccountId]()
        self.large: list[RoomId] = []
        self.id = ""
        self.release: Callable[[], None] = _nothing
        self.size = len(data)
        self._replayed = replay
        self._data = data

    async def begin(self, subscription: Subscription) -> None:
        """Show the first event, and what has happened after it, until the feed continues with the subscription."""
        rooms, follows, only = self._replayed.rooms, self._replayed.follows, self.only
        if only is not None:
            follows = {thread_id: parent for thread_id, parent in follows.items() if parent in only}
            rooms = {each: rooms[each] for each in (*only, *follows) if each in rooms}
        subscription.rooms, subscription.follows = dict(rooms), dict(follows)
        if self.start != "replay":
            self._replayed.show_state(subscription, self.start, self._data)
        await self._replayed.run(subscription, replay=self.start == "replay")


def _nothing() -> None:
    """The opening holds nothing."""


class Opener:
    """Opens the streams of one event loop."""

    def __init__(
        self,
        store: ReadStore,
        feed: Feed,
        lookups: Lookups,
        names: AccountNames,
        applied: Shared[dict[Partition, Position]],
        lists: RoomLists,
        limiter: Limiter,
        turns: TableTurns,
        revocations: Revocations,
    ) -> None:
        self._store = store
        self._feed = feed
        self._lookups = lookups
        self._names = names
        self._room_lists = lists
        self._limiter = limiter
        self._turns = turns
        self._revocations = revocations
        self._all_applied = applied
        self._members_applied = Shared(lambda: store.applied_everywhere(feed.partitions, _MEMBERS))

    def tables(self, token: str | None) -> StreamTables:
        """The tables that a stream needs: those about members if it resumes from a ``token``, else all."""
        return StreamTables(self._all_applied if token is None else self._members_applied, self._turns)

    async def open(
        self, caller: StreamCaller, only: Rooms, token: str | None, tables: StreamTables, large: list[RoomId]
    ) -> PendingStream:
        """``token``: to resume from. ``tables``: as :meth:`tables` gave them for it. ``large``: rooms without receipts.
        Raises Problem 400, 401, 404, 429, 503, ReadStoreUnavailable."""
        hold = ExitStack()
        hold.enter_context(self._limiter.stream(caller.account_id))
        hold.enter_context(self._feed.held())
        try:
            opening = await self._prepare(caller, only, token, tables, large)
            opening.id, opening.large = token or "", large
            opening.release = hold.pop_all().close
            return opening
        except resume_tokens.WrongToken as error:
            raise _malformed(f"{_MALFORMED} ({error})") from error
        except WrongPlace as error:
            raise _malformed(_MALFORMED) from error
        except (JournalUnavailable, NotReached) as error:
            log.warning("a stream cannot begin: %s", error)
            raise Problem(503, "unavailable", "The log cannot be read now.", retry_after=1) from error
        finally:
            hold.close()

    async def _prepare(
        self, caller: StreamCaller, only: Rooms, token: str | None, tables: StreamTables, large: list[RoomId]
    ) -> PendingStream:
        if token is None:
            return await self._state(caller, only, "hello", tables, large)
        opening = await self._replay(caller, only, await self._feed.place_of(token), tables)
        return opening or await self._state(caller, only, "catch_up", self.tables(None), large)

    # --- from a resume token ------------------------------------------------------------------------------------------

    async def _replay(
        self, caller: StreamCaller, only: Rooms, place: resume_tokens.ResumePlace, tables: StreamTables
    ) -> PendingStream | None:
        """Replays the log for the account's memberships; None if too much has happened since then."""
        async with tables.turn() as positions:
            known = await self._is_known(caller, positions)
            roles = await self._roles(caller.account_id)
            follows = await self._store.follows_of(caller.account_id)
            open_rooms = await self._open_rooms(caller, only)
        segments = self._segments(positions.applied, caller.account_id, only)
        # A token does not name segments that had nothing for the account then.
        since = {segment: place.offsets.get(segment, position.offset) for segment, position in segments.items()}
        replay = StreamReplay(self._feed, self._lookups, place._replace(offsets=since), segments, roles, follows)
        await replay.prepare()
        if replay.length > self._feed.remembered or not await replay.remember():
            return None
        if not await self._check_access(replay, caller, only, known, open_rooms):
            return None
        size = replay.size(caller.account_id, only, _REPLAY_BYTES_MAX)
        if size > _REPLAY_BYTES_MAX:
            return None
        opening = PendingStream(caller, only, replay, "replay")
        opening.size = size
        return opening

    async def _roles(self, account_id: AccountId) -> dict[RoomId, Role]:
        """The account's role in each of its rooms. Raises ReadStoreUnavailable."""
        roles: dict[RoomId, Role] = {}
        async for part in roles_in_parts(self._store, account_id, _ROLES_PART):
            roles |= part
        return roles

    # --- from the state of now ----------------------------------------------------------------------------------------

    async def _state(
        self,
        caller: StreamCaller,
        only: Rooms,
        name: Literal["hello", "catch_up"],
        tables: StreamTables,
        large: list[RoomId],
    ) -> PendingStream:
        """The state as of the position that all tables have reached. Later events come from the log, also the ones that
        some tables show already."""
        async with tables.turn() as positions:
            known = await self._is_known(caller, positions)
            open_rooms = await self._open_rooms(caller, only)
            newest = await self._rooms(caller.account_id, only, open_rooms or {})
        segments = self._segments(positions.applied, caller.account_id, only)
        place = self._feed.beginning({segment: position.offset for segment, position in segments.items()})
        memberships = newest.memberships
        roles = {room_id: at.role for room_id, at in memberships.items() if at.role is not None and not at.parent}
        follows = {room_id: at.parent for room_id, at in memberships.items() if at.parent}
        replay = StreamReplay(self._feed, self._lookups, place, segments, roles, follows)
        await replay.prepare()
        if not await self._check_access(replay, caller, only, known, open_rooms):
            raise NotReached  # the room was closed and opened within this moment; the client comes again
        seqs = await replay.newest_before()
        threads = followed_threads(memberships)
        if name == "catch_up":
            reached = {room_id: at for room_id, at in memberships.items() if not at.parent} | threads
            last = {room_id: at.last_seq for room_id, at in reached.items() if room_id in replay.rooms}
            reach = [RoomReach(room_id, seqs.get(room_id, seq)) for room_id, seq in last.items()]
            return PendingStream(caller, only, replay, "catch_up", encode(CatchUp(reach)))
        shown = [_as_of(replay, seqs, each) for each in newest.rooms if each.room.room_id in replay.rooms]
        async with self._turns.turn():
            rows = await self._store.summaries(caller.account_id, shown)
            rooms = await room_views.room_summaries(self._names, caller.account_id, rows)
        unread = sum(
            seqs.get(thread_id, at.last_seq) > at.read_seq
            for thread_id, at in threads.items()
            if thread_id in replay.rooms
        )
        hello = Hello(caller.account_id, rooms, len(memberships) - len(follows) > len(newest.rooms), unread, large)
        return PendingStream(caller, only, replay, "hello", encode(hello))

    async def _rooms(self, account_id: AccountId, only: Rooms, open_rooms: Mapping[RoomId, RoomRow]) -> NewestRooms:
        """The rooms that a hello shows, and the account's membership of all its rooms, as the tables have them."""
        if only is None:
            return await self._room_lists.newest(account_id, _HELLO_ROOMS_MAX)
        follows = await self._store.follows_of(account_id)
        threads = [thread_id for thread_id, parent in follows.items() if parent in only]
        joined = await self._store.member_rooms_among(account_id, [*only, *threads])
        others = open_rooms.keys() - {each.room.room_id for each in joined}
        read = [MemberRoom(open_rooms[room_id], None, open_rooms[room_id].last_seq) for room_id in others]
        return room_lists.newest_first([*joined, *read], len(only))

    async def _open_rooms(self, caller: StreamCaller, only: Rooms) -> dict[RoomId, RoomRow] | None:
        """The open ones of the rooms that were asked for. None if the account reads only rooms that it is in."""
        if only is None:
            return None
        accounts = await self._store.accounts_of([caller.account_id])
        if caller.account_id not in accounts or accounts[caller.account_id].role == "guest":
            return None
        return {room.room_id: room for room in await self._store.rooms_among(only) if room.open}

    # --- shared -------------------------------------------------------------------------------------------------------

    async def _is_known(self, caller: StreamCaller, positions: TablePositions) -> bool:
        """True if the tables knew the caller's token at these positions or after them. Asks them again only if the
        token was looked up before the positions were read, and the log does not confirm it."""
        if caller.asked_at >= positions.asked_at or self._revocations.still_valid_since(
            caller.asked_at, time.monotonic()
        ):
            return True
        return await self._store.bearer(caller.account_id, caller.token_hash) is not None

    def _segments(
        self, applied: Mapping[Partition, Position], account_id: AccountId, only: Rooms
    ) -> dict[int, Position]:
        """The positions in the segments that may hold events for the stream."""
        feed = self._feed
        partitions = set(range(feed.partitions))
        if only is not None:
            partitions = {partition_of(each, feed.partitions) for each in (account_id, *only)}
        return {feed.segment_of(partition): applied[partition] for partition in partitions}

    async def _check_access(
        self,
        replay: StreamReplay,
        caller: StreamCaller,
        only: Rooms,
        known: bool,
        open_rooms: Mapping[RoomId, RoomRow] | None,
    ) -> bool:
        """Returns False if the account may read a room of which the replay shows only a part. Raises Problem 401 for a
        token that has been revoked, 404 for a room that the account may not read and was not in."""
        asked = only or frozenset()
        await replay.resolve_membership(caller.account_id, asked)
        if caller.token_hash in self._revocations or not replay.is_good(caller.token_hash, known=known):
            raise wrong_ticket() if caller.by_ticket else unauthenticated("The token is revoked.")
        is_whole = True
        for room_id in asked:
            is_open = open_rooms is not None and replay.read_open(room_id, open_in_tables=room_id in open_rooms)
            is_thread = room_id in replay.follows  # its room covers it
            if is_thread or not (is_open or room_id in replay.rooms or room_id in replay.seen_since):
                raise room_not_found(room_id, "rooms")
            is_whole = is_whole and not (is_open and replay.ends_in(room_id))
        return is_whole


def _as_of(replay: StreamReplay, seqs: Mapping[RoomId, Seq], member: MemberRoom) -> MemberRoom:
    """A room as of the position where the stream begins: its table may be ahead of that."""
    room = member.room
    last_seq = min(room.last_seq, seqs.get(room.room_id, room.last_seq))
    return MemberRoom(msgspec.structs.replace(room, last_seq=last_seq), replay.rooms[room.room_id], member.read_seq)


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed", detail, broken("resume", "must be the id of an event that this Falcon sent"))
