"""Export everything as of one position of the log: one JSON object a line.

The tables change while they are read, so an export has two parts: first each row as it was read, then every event that
was appended meanwhile, in the log's order. A later line about a thing replaces an earlier one. Events set values and
never add to them, so both parts together give the state at the position that the last line names, and nothing later.
"""

import asyncio
import re
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final, TypeVar

import msgspec
from starlette.responses import StreamingResponse

from falcon.domain.ids import Partition, RoomId, Seq
from falcon.features.accounts.api import account_line
from falcon.features.accounts.rules import AccountCreated
from falcon.features.accounts.table import AccountRow
from falcon.features.catalogue import Event
from falcon.features.messages.api import message_line
from falcon.features.messages.bodies import stored_in
from falcon.features.messages.pages import is_deleted
from falcon.features.messages.rules import MessageDeleted, MessageEdited, MessagePosted
from falcon.features.rooms.api import room_line
from falcon.features.rooms.table import RoomRow
from falcon.http import shapes
from falcon.http.api import importing, permissions
from falcon.http.api.importing import LINE_KINDS
from falcon.http.api.lines import encoded
from falcon.http.api.operation import ApiOperation, in_group
from falcon.http.edge import Edge
from falcon.http.problems import Problem, invalid
from falcon.http.requests import AuthedRequest, identity
from falcon.http.shapes import ExportQuery
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.read.store import ReadStoreUnavailable
from falcon.streams.feed import decoded
from falcon.streams.tail import LocatedRecord, WrongPlace

_VERSION: Final = 2  # of the lines, which the header states
_ROWS: Final = 200  # in a query; pages have as many
_EVENTS: Final = 1_000  # some 1 MB of the log
_SHORT_SECONDS: Final = 10.0  # how long the timeline may stay behind the list of rooms
_SHORT_PAUSE_SECONDS: Final = 0.1  # projections are mostly milliseconds behind
_PLACE: Final = re.compile(r"([0-9]{1,5}):([0-9]{1,18})")
_CHECKED: Final = ";"
_SINCE: Final = "must be the position of the first line"

_CHANGES: Final = {event: line for kind in LINE_KINDS for event, line in kind.changes.items()}
_DELETIONS: Final = codec.names_of(MessageDeleted)
_FOLLOWERS: Final = [kind.followers for kind in LINE_KINDS if kind.followers is not None]
_OF_ACCOUNTS: Final = [kind.of_account for kind in LINE_KINDS if kind.of_account is not None]

P = TypeVar("P", int, Position)


class ExportFailed(Exception):
    """The export cannot be complete. Its last line says so, and the connection is cut after it."""


# --- the request ------------------------------------------------------------------------------------------------------


class _ExportSection(IntEnum):
    """The parts of an export, in their order."""

    ACCOUNTS = 0
    ROOMS = 1
    THREADS = 2
    MESSAGES = 3
    BOOKMARKS = 4
    CHANGES = 5


class _From(msgspec.Struct, frozen=True):
    """The account, room or message after which an export resumes; the account with whose bookmarks it does."""

    section: _ExportSection = _ExportSection.ACCOUNTS
    identity: int = 0
    seq: int = 0


async def export_lines(edge: Edge, request: AuthedRequest) -> StreamingResponse:
    """Export all accounts, rooms and messages.

    Requires an administrator. The answer is newline-delimited JSON, as `falcon export` writes it.
    """
    # Accounts, rooms with their members, messages, and bookmarks, each by id; then what changed meanwhile.
    query = request.query(ExportQuery)
    if (query.resume is None) != (query.since is None):
        raise invalid("since", f"{_SINCE}, and come together with resume")
    if query.resume is None:
        export, start = Export(edge, await edge.store.applied_everywhere(edge.partitions)), None
    else:
        start = _resume(query.resume)
        export = Export(edge, await _located(edge, query.since or ""))
    return StreamingResponse(export.lines(start), media_type="application/x-ndjson")


def _resume(text: str) -> _From:
    section, *numbers = text.split(":")
    if text == "changes":
        return _From(_ExportSection.CHANGES)
    values = [identity(number, _wrong_resume) for number in numbers]
    match section, values:
        case "account", [account_id]:
            return _From(_ExportSection.ACCOUNTS, account_id)
        case "room", [room_id]:
            return _From(_ExportSection.ROOMS, room_id)
        case "thread", [room_id]:
            return _From(_ExportSection.THREADS, room_id)
        case "message", [room_id, seq]:
            return _From(_ExportSection.MESSAGES, room_id, seq)
        case "bookmark", [account_id]:
            return _From(_ExportSection.BOOKMARKS, account_id - 1)
    raise _wrong_resume(text)


def _wrong_resume(text: str) -> Problem:
    rule = (
        "must be account:REF, room:REF, thread:REF, message:ROOM:SEQ, bookmark:ACCOUNT or changes, from the last line"
    )
    return invalid("resume", rule)


def _since(text: str, partitions: int) -> dict[Partition, int]:
    places = [_PLACE.fullmatch(item) for item in text.split(",")]
    found = {int(place[1]): int(place[2]) for place in places if place is not None}
    if len(found) != len(places) or found.keys() != set(range(partitions)):
        raise invalid("since", f"{_SINCE}: PARTITION:OFFSET of every partition")
    return found


async def _located(edge: Edge, text: str) -> dict[Partition, Position]:
    places, _, check = text.partition(_CHECKED)
    since = _since(places, edge.partitions)
    try:
        if check != await _check(edge, since):
            raise invalid("since", f"{_SINCE} of an export of this log; begin it again if the log was restored since")
        return {
            partition: await edge.tail.position(edge.tail.segment(partition), at) for partition, at in since.items()
        }
    except WrongPlace as error:
        raise invalid("since", f"{_SINCE} ({error})") from error
    except JournalUnavailable as error:
        raise Problem(503, "unavailable", "The log cannot be read now.", retry_after=1) from error


async def _check(edge: Edge, since: Mapping[Partition, int]) -> str:
    """A checksum of the log's name and of the starts that wrote the records before these offsets. Raises WrongPlace,
    JournalUnavailable."""
    segments = {partition: edge.tail.segment(partition) for partition in since}
    await edge.tail.starts.know({segments[partition]: offset for partition, offset in since.items()})
    numbers = [edge.tail.starts.number(segments[partition], offset) for partition, offset in sorted(since.items())]
    return f"{zlib.crc32(msgspec.json.encode([edge.instance, numbers])):08x}"


# --- the export -------------------------------------------------------------------------------------------------------


class Export:
    """``since``: the tables' positions before the first row was read."""

    def __init__(self, edge: Edge, since: Mapping[Partition, Position]) -> None:
        self._edge = edge
        self._positions = since
        self._since = {partition: at.offset for partition, at in since.items()}

    async def lines(self, start: _From | None) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._rows(start):
                yield chunk
            async for chunk in self._changes():
                yield chunk
        except (ExportFailed, ReadStoreUnavailable, JournalUnavailable, WrongPlace) as error:
            yield encoded({"type": "failed", "detail": str(error)})
            raise

    async def _rows(self, start: _From | None) -> AsyncIterator[bytes]:
        if start is None:
            start = _From()
            # The changes begin there, and no row is older. Its checksum has a log that was restored since refuse it.
            position = _text(self._since) + _CHECKED + await _check(self._edge, self._since)
            header = {"type": "falcon-export", "version": _VERSION, "source": self._edge.instance}
            yield encoded({**header, "position": position})
        if start.section == _ExportSection.ACCOUNTS:
            async for account in _all_accounts(self._edge, start.identity):
                yield encoded(account_line(account))
        for section in (_ExportSection.ROOMS, _ExportSection.THREADS):
            if start.section <= section:
                async for room in _all_rooms(self._edge, start.identity if start.section == section else 0):
                    if (room.parent is None) == (section == _ExportSection.ROOMS):
                        yield encoded(await room_line(self._edge, room))
        if start.section == _ExportSection.MESSAGES:
            async for chunk in _rest_of_room(self._edge, start.identity, start.seq):
                yield chunk
        if start.section <= _ExportSection.MESSAGES:
            async for room in _all_rooms(self._edge, start.identity if start.section == _ExportSection.MESSAGES else 0):
                async for chunk in _message_lines(self._edge, room, 0):
                    yield chunk
        if start.section <= _ExportSection.BOOKMARKS:
            after = start.identity if start.section == _ExportSection.BOOKMARKS else 0
            async for account in _all_accounts(self._edge, after):
                for lines_of in _OF_ACCOUNTS:
                    async for chunk in lines_of(self._edge, account.account_id):
                        yield chunk

    async def _changes(self) -> AsyncIterator[bytes]:
        """Every event from ``since`` to the log's end after the last row was read.

        An account is created before any event refers to it, but in another partition, whose end may have been read
        earlier. So the ends are read twice, and accounts are exported up to the second ones. Then the export contains
        every account that it refers to.
        """
        through = await self._ends()
        accounts_through = await self._ends()
        yield encoded({"type": "changes", "position": _text(self._since), "through": _text(through)})
        stops = self._by_segment(accounts_through, max)
        for segment, start in self._by_segment(self._positions, min).items():
            deleted = await self._deleted(segment, start, stops[segment], through)
            async for located in self._read(segment, start, stops[segment]):
                yield b"".join(self._change_lines(located, through, deleted))
        yield encoded({"type": "end", "position": _text(through)})

    async def _ends(self) -> dict[Partition, int]:
        """The brokers may report a stale end; the tables may be ahead of it, and of what is known of them."""
        tail, partitions = self._edge.tail, range(self._edge.partitions)
        self._edge.reads.freshness.invalidate(partitions)
        applied = await self._edge.store.applied_everywhere(self._edge.partitions)
        ends = await tail.ends(dict.fromkeys(tail.segment(partition) for partition in partitions))
        return {p: max(ends[tail.segment(p)], applied[p].offset) for p in partitions}

    def _by_segment(self, places: Mapping[Partition, P], pick: Callable[[P, P], P]) -> dict[int, P]:
        by_segment: dict[int, P] = {}
        for partition, place in places.items():
            segment = self._edge.tail.segment(partition)
            by_segment[segment] = pick(by_segment.get(segment, place), place)
        return by_segment

    async def _read(self, segment: int, position: Position, stop: int) -> AsyncIterator[list[LocatedRecord]]:
        while position.offset < stop:
            located, position = await self._edge.tail.read_range(segment, position, stop, _EVENTS)
            yield located
            await asyncio.sleep(0)  # let other tasks run

    async def _deleted(
        self, segment: int, position: Position, stop: int, through: Mapping[Partition, int]
    ) -> dict[tuple[RoomId, Seq], MessageDeleted]:
        """The messages that are deleted by the end of the export: what they said does not get into the changes."""
        found: dict[tuple[RoomId, Seq], MessageDeleted] = {}
        async for located in self._read(segment, position, stop):
            for raw in located:
                if raw.record.type in _DELETIONS and raw.at.offset < through[raw.partition]:
                    event = _event(raw)
                    assert isinstance(event, MessageDeleted)
                    found[event.message.room_id, event.message.seq] = event
        return found

    def _change_lines(
        self,
        located: list[LocatedRecord],
        through: Mapping[Partition, int],
        deleted: Mapping[tuple[RoomId, Seq], MessageDeleted],
    ) -> Iterator[bytes]:
        for raw in located:
            if raw.at.offset < self._since[raw.partition]:
                continue  # an older event of another partition in the same segment
            event = _event(raw)
            if isinstance(event, MessagePosted | MessageEdited):
                event = deleted.get((event.message.room_id, event.message.seq), event)
            if isinstance(event, AccountCreated) or raw.at.offset < through[raw.partition]:
                change = _CHANGES.get(type(event))  # read marks and tokens are not exported
                if change is not None:
                    yield encoded(change(event, f"{raw.partition}:{raw.at.offset}"))


def _event(raw: LocatedRecord) -> Event:
    try:
        return decoded(raw).event
    except Undecodable as error:
        raise ExportFailed(str(error)) from error


def _text(offsets: Mapping[Partition, int]) -> str:
    """Like Falcon-Position, but with the offset after the last event instead of the event's own."""
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(offsets.items()))


# --- rows -------------------------------------------------------------------------------------------------------------


async def _all_accounts(edge: Edge, after: int) -> AsyncIterator[AccountRow]:
    while rows := await edge.store.accounts(after, _ROWS):
        for row in rows:
            yield row
        after = rows[-1].account_id
        await asyncio.sleep(0)  # let other tasks run


async def _all_rooms(edge: Edge, after: int) -> AsyncIterator[RoomRow]:
    """Rooms, and threads of rooms that there are."""
    while rows := await edge.store.all_rooms(after, _ROWS):
        parents = {row.parent[0] for row in rows if row.parent is not None}
        there = {room.room_id for room in await edge.store.rooms_among(parents)} if parents else parents
        for row in rows:
            if row.parent is None or row.parent[0] in there:
                yield row
        after = rows[-1].room_id
        await asyncio.sleep(0)


async def _rest_of_room(edge: Edge, room_id: RoomId, seq: Seq) -> AsyncIterator[bytes]:
    """The lines after message ``seq`` of a room, if the room still exists. The client may have some of the lines that
    follow this message; it gets all of them again."""
    room = await edge.store.room(room_id)
    if room is None:
        return
    for followers in _FOLLOWERS:
        async for chunk in followers.lines(edge, room_id, seq):
            yield chunk
    async for chunk in _message_lines(edge, room, seq):
        yield chunk


async def _message_lines(edge: Edge, room: RoomRow, after: int) -> AsyncIterator[bytes]:
    """All messages up to the room's last seq. Raises ExportFailed if the timeline does not get that far."""
    until = time.monotonic() + _SHORT_SECONDS
    while True:
        rows = (await edge.store.page(room.room_id, after + 1, after + _ROWS)).messages
        if rows:
            async for chunk in _with_followers(edge, room.room_id, after + 1, rows):
                yield chunk
            after += len(rows)
            until = time.monotonic() + _SHORT_SECONDS
        elif after >= room.last_seq or await edge.store.room(room.room_id) is None:
            return
        elif time.monotonic() > until:
            raise ExportFailed(
                f"room {room.room_id} has {room.last_seq} messages, but the timeline ends at {after}: "
                "see whether its projection has stopped, and run falcon verify"
            )
        else:
            await asyncio.sleep(_SHORT_PAUSE_SECONDS)


async def _with_followers(edge: Edge, room_id: RoomId, first: Seq, rows: Sequence[bytes]) -> AsyncIterator[bytes]:
    """The lines of consecutive messages, each with the lines that follow it. A deleted message has none."""
    found = [(each, await each.having(edge, room_id, first, first + len(rows) - 1)) for each in _FOLLOWERS]
    lines: list[bytes] = []
    for seq, row in enumerate(rows, first):
        lines.append(encoded(message_line(stored_in(row))))
        for followers, having in found:
            if seq in having and not is_deleted(row):
                async for chunk in followers.lines(edge, room_id, seq):
                    lines.append(chunk)
                    yield b"".join(lines)
                    lines.clear()
    yield b"".join(lines)


# --- operations -------------------------------------------------------------------------------------------------------

OPERATIONS: Final = in_group(
    importing.GROUP,
    ApiOperation("GET", "/v1/export", export_lines, permissions.ADMINS, {200: None}, query=shapes.ExportQuery),
)
