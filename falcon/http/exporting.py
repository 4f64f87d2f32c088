"""Everything there is, a JSON object a line: accounts, rooms, messages."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from starlette.responses import StreamingResponse

from falcon.domain.message import Message
from falcon.http.accounts import require_admin
from falcon.http.edge import Call, Edge
from falcon.http.problems import Problem, invalid
from falcon.http.shapes import ExportQuery
from falcon.http.wire import decode_query, identity
from falcon.read.models import AccountRow, RoomRow

_message: Final = msgspec.json.Decoder(Message)
_encode: Final = msgspec.json.Encoder().encode
_ROWS: Final = 200


class _HeaderLine(msgspec.Struct, frozen=True, tag_field="type", tag="falcon-export"):
    version: int
    source: str
    accounts: int
    rooms: int
    messages: int


class _AccountOut(msgspec.Struct, frozen=True, tag_field="type", tag="account"):
    ref: str
    name: str


class _MemberOut(msgspec.Struct, frozen=True):
    account: str
    role: str


class _RoomOut(msgspec.Struct, frozen=True, tag_field="type", tag="room"):
    ref: str
    kind: str
    name: str
    description: str
    created_at: str
    members: list[_MemberOut]


class _MessageOut(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    room: str
    seq: int
    author: str
    text: str
    posted_at: str
    edited_at: str | None
    deleted: bool
    reply_to: int | None
    mentions: list[str]


class _From(msgspec.Struct, frozen=True):
    """Behind which account, room, or message an export goes on; ``section`` 0 to 2."""

    section: int = 0
    identity: int = 0
    seq: int = 0


async def export_lines(edge: Edge, call: Call) -> StreamingResponse:
    """Accounts, then rooms with their members, then messages, each by id; as they stand when they are read."""
    require_admin(call)
    query = decode_query(call.request, ExportQuery)
    start = None if query.resume is None else _resume(query.resume)
    return StreamingResponse(_lines(edge, start), media_type="application/x-ndjson")


def _resume(text: str) -> _From:
    section, *numbers = text.split(":")
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
    return invalid("resume", "must be account:REF, room:REF or message:ROOM:SEQ, from the last line that is there")


async def _lines(edge: Edge, start: _From | None) -> AsyncIterator[bytes]:
    if start is None:
        start = _From()
        accounts, rooms, messages = await edge.store.totals()
        yield _encode(_HeaderLine(1, edge.instance, accounts, rooms, messages)) + b"\n"
    if start.section == 0:
        async for account in _all_accounts(edge, start.identity):
            yield _encode(_AccountOut(str(account.account_id), account.name)) + b"\n"
    if start.section <= 1:
        async for room in _all_rooms(edge, start.identity if start.section == 1 else 0):
            yield _encode(await _room_out(edge, room)) + b"\n"
    if start.section == 2:
        room_row = await edge.store.room(start.identity)
        if room_row is not None:
            async for chunk in _message_lines(edge, room_row, start.seq):
                yield chunk
    async for room in _all_rooms(edge, start.identity if start.section == 2 else 0):
        async for chunk in _message_lines(edge, room, 0):
            yield chunk


async def _all_accounts(edge: Edge, after: int) -> AsyncIterator[AccountRow]:
    while rows := await edge.store.accounts(after, _ROWS):
        for row in rows:
            yield row
        after = rows[-1].account_id
        await asyncio.sleep(0)  # others get their turn


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
    while rows := await edge.store.page(room.room_id, after + 1, after + _ROWS):
        yield b"".join(_encode(_message_out(_message.decode(row))) + b"\n" for row in rows)
        after += len(rows)
        await asyncio.sleep(0)


def _message_out(message: Message) -> _MessageOut:
    return _MessageOut(
        str(message.room_id),
        message.seq,
        str(message.author_id),
        message.text,
        message.posted_at,
        message.edited_at,
        message.deleted,
        message.reply_to,
        [str(account_id) for account_id in message.mentions],
    )
