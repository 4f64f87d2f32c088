"""Export everything as of one position of the log: one JSON object a line.

The tables change while they are read, so an export has two parts: first each row as it was read, then every event that
was appended meanwhile, in the log's order. A later line about a thing replaces an earlier one. Events set values and
never add to them, so both parts together give the state at the position that the last line names, and nothing later.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from starlette.responses import StreamingResponse

from falcon.domain.events import (
    AccountCreated,
    Event,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionAdded,
    ReactionRemoved,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from falcon.domain.ids import NOBODY, Partition, RoomId, Seq
from falcon.http.api.accounts import require_admin
from falcon.http.edge import Edge
from falcon.http.problems import Problem, invalid
from falcon.http.requests import AuthedRequest, identity
from falcon.http.shapes import ExportQuery
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.read.accounts.queries import AccountRow
from falcon.read.rooms.queries import RoomRow
from falcon.read.store import ReadStoreUnavailable
from falcon.read.timeline.messages import StoredMessage, stored, stored_in
from falcon.read.timeline.pages import is_deleted
from falcon.read.times import rfc3339
from falcon.streams.feed import decoded
from falcon.streams.tail import Raw, WrongPlace

_VERSION: Final = 2
_ROWS: Final = 200
_EVENTS: Final = 1_000
_SHORT_SECONDS: Final = 10.0  # how long the timeline may stay behind the list of rooms
_SHORT_PAUSE_SECONDS: Final = 0.1
_PLACE: Final = re.compile(r"([0-9]{1,5}):([0-9]{1,18})")

_encode: Final = msgspec.json.Encoder().encode

P = TypeVar("P", int, Position)


class ExportFailed(Exception):
    """The export cannot be complete. Its last line says so, and the connection is cut after it."""


# --- lines ------------------------------------------------------------------------------------------------------------


class _HeaderOut(msgspec.Struct, frozen=True, tag_field="type", tag="falcon-export"):
    """``position``: the changes begin there, and no row is older. The counts were read when the export began."""

    version: int
    source: str
    accounts: int
    rooms: int
    messages: int
    position: str


class _AccountOut(msgspec.Struct, frozen=True, tag_field="type", tag="account", omit_defaults=True):
    """``at``: the place of a change in the log, PARTITION:OFFSET, here and below. A row has none."""

    ref: str
    name: str
    at: str | None = None


class _MemberOut(msgspec.Struct, frozen=True):
    account: str
    role: str


class _RoomOut(msgspec.Struct, frozen=True, tag_field="type", tag="room", omit_defaults=True):
    ref: str
    kind: str
    name: str
    description: str
    created_at: str
    members: list[_MemberOut]
    at: str | None = None


class _MessageOut(msgspec.Struct, frozen=True, tag_field="type", tag="message", omit_defaults=True):
    """``missing``: the read tables have lost it. Then it has no author."""

    room: str
    seq: int
    author: str
    text: str
    posted_at: str
    edited_at: str | None
    deleted: bool
    reply_to: int | None
    mentions: list[str]
    missing: bool = False
    at: str | None = None


class _ReactionOut(msgspec.Struct, frozen=True, tag_field="type", tag="reaction", omit_defaults=True):
    """Follows the message, oldest first."""

    room: str
    seq: int
    emoji: str
    account: str
    reacted_at: str
    at: str | None = None


class _ReactionRemovedOut(msgspec.Struct, frozen=True, tag_field="type", tag="reaction-removed"):
    room: str
    seq: int
    emoji: str
    account: str
    at: str


class _ChangesOut(msgspec.Struct, frozen=True, tag_field="type", tag="changes"):
    """The lines that follow are events after ``position``, up to ``through``."""

    position: str
    through: str


class _RoomChangedOut(msgspec.Struct, frozen=True, tag_field="type", tag="room-changed"):
    room: str
    name: str
    description: str
    at: str


class _RoomDeletedOut(msgspec.Struct, frozen=True, tag_field="type", tag="room-deleted"):
    room: str
    at: str


class _MemberChangeOut(msgspec.Struct, frozen=True, tag_field="type", tag="member"):
    room: str
    account: str
    role: str
    at: str


class _MemberLeftOut(msgspec.Struct, frozen=True, tag_field="type", tag="member-left"):
    room: str
    account: str
    at: str


class _EndOut(msgspec.Struct, frozen=True, tag_field="type", tag="end"):
    """The export is complete. One without this line is not."""

    position: str


class _FailedOut(msgspec.Struct, frozen=True, tag_field="type", tag="failed"):
    detail: str


# --- the request ------------------------------------------------------------------------------------------------------


class _From(msgspec.Struct, frozen=True):
    """The account, room or message after which an export resumes. Section 3 is the changes."""

    section: int = 0
    identity: int = 0
    seq: int = 0


async def export_lines(edge: Edge, request: AuthedRequest) -> StreamingResponse:
    """Accounts, rooms with their members, and messages, each by id; then what changed while they were read."""
    require_admin(request)
    query = request.query(ExportQuery)
    if (query.resume is None) != (query.since is None):
        raise invalid("since", "must be the position of the first line, and come together with resume")
    if query.resume is None:
        export, start = Export(edge, await edge.store.applied_everywhere(edge.partitions)), None
    else:
        start = _resume(query.resume)
        export = Export(edge, await _located(edge, _since(query.since or "", edge.partitions)))
    return StreamingResponse(export.lines(start), media_type="application/x-ndjson")


def _resume(text: str) -> _From:
    section, *numbers = text.split(":")
    if text == "changes":
        return _From(3)
    values = [identity(number, _wrong_resume) for number in numbers]
    match section, values:
        case "account", [account_id]:
            return _From(0, account_id)
        case "room", [room_id]:
            return _From(1, room_id)
        case "message", [room_id, seq]:
            return _From(2, room_id, seq)
    raise _wrong_resume(text)


def _wrong_resume(text: str) -> Problem:
    return invalid("resume", "must be account:REF, room:REF, message:ROOM:SEQ or changes, from the last line")


def _since(text: str, partitions: int) -> dict[Partition, int]:
    places = [_PLACE.fullmatch(item) for item in text.split(",")]
    found = {int(place[1]): int(place[2]) for place in places if place is not None}
    if len(found) != len(places) or found.keys() != set(range(partitions)):
        raise invalid("since", "must be the position of the first line: PARTITION:OFFSET of every partition")
    return found


async def _located(edge: Edge, since: Mapping[Partition, int]) -> dict[Partition, Position]:
    try:
        return {
            partition: await edge.tail.position(edge.tail.segment(partition), at) for partition, at in since.items()
        }
    except WrongPlace as error:
        raise invalid("since", f"must be the position of the first line ({error})") from error
    except JournalUnavailable as error:
        raise Problem(503, "unavailable", "The log cannot be read now.", retry_after=1) from error


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
            yield _encode(_FailedOut(str(error))) + b"\n"
            raise

    async def _rows(self, start: _From | None) -> AsyncIterator[bytes]:
        if start is None:
            start = _From()
            accounts, rooms, messages = await self._edge.store.totals()
            position = _text(self._since)
            yield _line(_HeaderOut(_VERSION, self._edge.instance, accounts, rooms, messages, position))
        if start.section == 0:
            async for account in _all_accounts(self._edge, start.identity):
                yield _line(_AccountOut(str(account.account_id), account.name))
        if start.section <= 1:
            async for room in _all_rooms(self._edge, start.identity if start.section == 1 else 0):
                yield _line(await _room_out(self._edge, room))
        if start.section == 2:
            room_row = await self._edge.store.room(start.identity)
            if room_row is not None:
                # Some of the last message's reactions may be there. All of them are sent again.
                async for chunk in _reaction_lines(self._edge, start.identity, start.seq):
                    yield chunk
                async for chunk in _message_lines(self._edge, room_row, start.seq):
                    yield chunk
        if start.section <= 2:
            async for room in _all_rooms(self._edge, start.identity if start.section == 2 else 0):
                async for chunk in _message_lines(self._edge, room, 0):
                    yield chunk

    async def _changes(self) -> AsyncIterator[bytes]:
        """Every event from ``since`` to the log's end after the last row was read.

        An account is created before any event refers to it, but in another partition, whose end may have been read
        earlier. So the ends are read twice, and accounts are exported up to the second ones. Then the export contains
        every account that it refers to.
        """
        through = await self._ends()
        accounts_through = await self._ends()
        yield _line(_ChangesOut(_text(self._since), _text(through)))
        stops = self._by_segment(accounts_through, max)
        for segment, start in self._by_segment(self._positions, min).items():
            async for raws in self._read(segment, start, stops[segment]):
                yield b"".join(self._change_lines(raws, through))
        yield _line(_EndOut(_text(through)))

    async def _ends(self) -> dict[Partition, int]:
        """The brokers may report a stale end; the tables may be ahead of it, and of what is known of them."""
        tail, partitions = self._edge.tail, range(self._edge.partitions)
        self._edge.reads.freshness.doubt(partitions)
        applied = await self._edge.store.applied_everywhere(self._edge.partitions)
        ends = await tail.ends(dict.fromkeys(tail.segment(partition) for partition in partitions))
        return {p: max(ends[tail.segment(p)], applied[p].offset) for p in partitions}

    def _by_segment(self, places: Mapping[Partition, P], pick: Callable[[P, P], P]) -> dict[int, P]:
        by_segment: dict[int, P] = {}
        for partition, place in places.items():
            segment = self._edge.tail.segment(partition)
            by_segment[segment] = pick(by_segment.get(segment, place), place)
        return by_segment

    async def _read(self, segment: int, position: Position, stop: int) -> AsyncIterator[list[Raw]]:
        while position.offset < stop:
            raws, position = await self._edge.tail.read_range(segment, position, stop, _EVENTS)
            yield raws
            await asyncio.sleep(0)  # let other tasks run

    def _change_lines(self, raws: list[Raw], through: Mapping[Partition, int]) -> Iterator[bytes]:
        for raw in raws:
            if raw.at.offset < self._since[raw.partition]:
                continue  # an older event of another partition in the same segment
            event = _event(raw)
            if isinstance(event, AccountCreated) or raw.at.offset < through[raw.partition]:
                line = _change(event, f"{raw.partition}:{raw.at.offset}")
                if line is not None:
                    yield _line(line)


def _event(raw: Raw) -> Event:
    try:
        return decoded(raw).event
    except Undecodable as error:
        raise ExportFailed(str(error)) from error


def _change(event: Event, at: str) -> msgspec.Struct | None:
    match event:
        case MessagePosted(message=message) | MessageEdited(message=message) | MessageDeleted(message=message):
            return _message_out(stored(message), at)
        case ReactionAdded(room_id=room_id, seq=seq):
            reacted_at = rfc3339(event.reacted_at)
            return _ReactionOut(str(room_id), seq, event.emoji, str(event.account_id), reacted_at, at)
        case ReactionRemoved(room_id=room_id, seq=seq):
            return _ReactionRemovedOut(str(room_id), seq, event.emoji, str(event.account_id), at)
        case AccountCreated():
            return _AccountOut(str(event.account_id), event.name, at)
        case RoomCreated():
            members = [_MemberOut(str(member.account_id), member.role) for member in event.members]
            return _RoomOut(
                str(event.room_id), event.kind, event.name, event.description, rfc3339(event.created_at), members, at
            )
        case RoomChanged():
            return _RoomChangedOut(str(event.room_id), event.name, event.description, at)
        case RoomDeleted():
            return _RoomDeletedOut(str(event.room_id), at)
        case MemberJoined() | MemberChanged():
            return _MemberChangeOut(str(event.room_id), str(event.account_id), event.role, at)
        case MemberLeft():
            return _MemberLeftOut(str(event.room_id), str(event.account_id), at)
        case _:
            return None  # read marks and tokens are not exported


def _text(offsets: Mapping[Partition, int]) -> str:
    """Like Falcon-Position, but with the offset after the last event instead of the event's own."""
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(offsets.items()))


def _line(line: msgspec.Struct) -> bytes:
    return _encode(line) + b"\n"


# --- rows -------------------------------------------------------------------------------------------------------------


async def _all_accounts(edge: Edge, after: int) -> AsyncIterator[AccountRow]:
    while rows := await edge.store.accounts(after, _ROWS):
        for row in rows:
            yield row
        after = rows[-1].account_id
        await asyncio.sleep(0)  # let other tasks run


async def _all_rooms(edge: Edge, after: int) -> AsyncIterator[RoomRow]:
    while rows := await edge.store.all_rooms(after, _ROWS):
        for row in rows:
            yield row
        after = rows[-1].room_id
        await asyncio.sleep(0)


async def _room_out(edge: Edge, room: RoomRow) -> _RoomOut:
    members: list[_MemberOut] = []
    after = 0
    while rows := await edge.store.members(room.room_id, after, _ROWS):
        members += [_MemberOut(str(row.account_id), row.role) for row in rows]
        after = rows[-1].account_id
    return _RoomOut(str(room.room_id), room.kind, room.name, room.description, room.created_at, members)


async def _message_lines(edge: Edge, room: RoomRow, after: int) -> AsyncIterator[bytes]:
    """All messages up to the room's last seq. Raises ExportFailed where the timeline does not get that far."""
    until = time.monotonic() + _SHORT_SECONDS
    while True:
        rows = (await edge.store.page(room.room_id, after + 1, after + _ROWS)).messages
        if rows:
            async for chunk in _with_reactions(edge, room.room_id, after + 1, rows):
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


async def _with_reactions(edge: Edge, room_id: RoomId, first: Seq, rows: Sequence[bytes]) -> AsyncIterator[bytes]:
    """The lines of consecutive messages, each with its reactions behind it."""
    reactions = await edge.store.shown_reactions(room_id, first, first + len(rows) - 1)
    lines: list[bytes] = []
    for seq, row in enumerate(rows, first):
        lines.append(_line(_message_out(stored_in(row))))
        if seq in reactions.by_seq and not is_deleted(row):
            async for chunk in _reaction_lines(edge, room_id, seq):
                lines.append(chunk)
                yield b"".join(lines)
                lines.clear()
    yield b"".join(lines)


async def _reaction_lines(edge: Edge, room_id: RoomId, seq: Seq) -> AsyncIterator[bytes]:
    after = 0
    while rows := await edge.store.reactions(room_id, seq, None, after, _ROWS):
        yield b"".join(
            _line(_ReactionOut(str(room_id), seq, row.emoji, str(row.account_id), row.reacted_at)) for row in rows
        )
        after = rows[-1].revision


def _message_out(message: StoredMessage, at: str | None = None) -> _MessageOut:
    missing = message.author_id == NOBODY
    return _MessageOut(
        str(message.room_id),
        message.seq,
        "" if missing else str(message.author_id),
        message.text,
        message.posted_at,
        message.edited_at,
        message.deleted,
        message.reply_to,
        [str(account_id) for account_id in message.mentions],
        missing,
        at,
    )
