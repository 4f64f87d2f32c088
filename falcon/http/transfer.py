"""Moving whole histories in and out, a JSON object a line."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
from starlette.responses import StreamingResponse

from falcon.domain.answers import AccountAnswer, ImportAnswer, RoomAnswer
from falcon.domain.commands import Command, CreateAccount, ImportMessages, ImportRoom, Invitation
from falcon.domain.message import Message
from falcon.domain.times import parse_rfc3339, rfc3339
from falcon.http.accounts import require_admin
from falcon.http.edge import Call, Edge
from falcon.http.problems import Problem, invalid
from falcon.http.shapes import AccountLine, ExportQuery, Imported, ImportLine, MessageLine, RoomLine
from falcon.http.wire import Answer, check_text, decode_query, from_validation, identity, json_value, read_body
from falcon.read.models import AccountRow, RoomRow

_line: Final = msgspec.json.Decoder(ImportLine)
_message: Final = msgspec.json.Decoder(Message)
_encode: Final = msgspec.json.Encoder().encode
_LINES_MAX: Final = 2_000
_CHUNK_MESSAGES: Final = 250  # of one room in one command, so that an append stays small
_CHUNK_BYTES: Final = 200_000
_EXPORT_ROWS: Final = 200


# --- import -----------------------------------------------------------------------------------------------------------


async def import_lines(edge: Edge, call: Call) -> Answer:
    """All of the lines are checked before the first is executed; what a retry finds done, it passes over."""
    require_admin(call)
    call.headers.pop(b"idempotency-key", None)  # not needed, and one key would stand for many commands
    lines = _parse(await _ndjson(edge, call), edge)
    accounts = await _accounts(edge, call, [line for line in lines if isinstance(line, AccountLine)])
    rooms = await _rooms(edge, call, [line for line in lines if isinstance(line, RoomLine)])
    messages = [line for line in lines if isinstance(line, MessageLine)]
    by_room: dict[int, list[MessageLine]] = {}
    for line in messages:
        by_room.setdefault(line.room_id, []).append(line)
    counts = await asyncio.gather(*(_messages(edge, call, of_room) for of_room in by_room.values()))
    imported, skipped = sum(c[0] for c in counts), sum(c[1] for c in counts)
    return json_value(200, Imported(accounts, rooms, imported, skipped))


async def _ndjson(edge: Edge, call: Call) -> list[bytes]:
    media_type = call.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if media_type != b"application/x-ndjson":
        raise Problem(415, "unsupported_media_type", "Send the body as Content-Type: application/x-ndjson.")
    body = await read_body(call.request, call.headers, edge.bounds.import_body_max)
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > _LINES_MAX:
        raise Problem(413, "too_large", f"At most {_LINES_MAX} lines a request.")
    return lines


def _parse(lines: Sequence[bytes], edge: Edge) -> list[ImportLine]:
    parsed: list[ImportLine] = []
    for number, data in enumerate(lines, 1):
        try:
            line = _line.decode(data)
        except msgspec.ValidationError as error:
            raise from_validation(error, f"line {number}: ") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(400, "malformed", f"Line {number} is not JSON: {error}.") from None
        for name in ("created_at", "posted_at", "edited_at"):
            _check_time(getattr(line, name, None), f"line {number}: {name}")
        if isinstance(line, MessageLine):
            check_text(line.text, edge.bounds.text_max, f"line {number}: text")
            if not line.deleted and not line.text:
                raise invalid(f"line {number}: text", "must be at least 1 byte")
        parsed.append(line)
    return parsed


def _check_time(text: str | None, field: str) -> None:
    if text is not None:
        try:
            parse_rfc3339(text)
        except ValueError:
            raise invalid(field, "must be a time as in 2026-11-25T09:30:00.123Z") from None


async def _accounts(edge: Edge, call: Call, lines: Sequence[AccountLine]) -> dict[str, int]:
    commands = [CreateAccount(line.name, imported_as=f"account/{line.source}/{line.ref}") for line in lines]
    ids: dict[str, int] = {}
    for line, answer in zip(lines, await _tell_all(edge, call, commands), strict=True):
        assert isinstance(answer, AccountAnswer)
        ids[line.ref] = answer.account_id
    return ids


async def _rooms(edge: Edge, call: Call, lines: Sequence[RoomLine]) -> dict[str, int]:
    commands = [
        ImportRoom(
            imported_as=f"room/{line.source}/{line.ref}",
            kind=line.kind,
            name=line.name,
            description=line.description,
            created_at=rfc3339(parse_rfc3339(line.created_at)),
            members=tuple(Invitation(member.account_id, member.role) for member in line.members),
        )
        for line in lines
    ]
    ids: dict[str, int] = {}
    for line, answer in zip(lines, await _tell_all(edge, call, commands), strict=True):
        assert isinstance(answer, RoomAnswer)
        ids[line.ref] = answer.room_id
    return ids


async def _messages(edge: Edge, call: Call, lines: Sequence[MessageLine]) -> tuple[int, int]:
    """The messages of one room, in order, some hundred a command."""
    imported = skipped = 0
    for chunk in _chunks(lines):
        told = await edge.tell(call, ImportMessages(chunk[0].room_id, tuple(map(_as_message, chunk))))
        assert isinstance(told.answer, ImportAnswer)
        imported += told.answer.imported
        skipped += told.answer.skipped
    return imported, skipped


def _chunks(lines: Sequence[MessageLine]) -> list[list[MessageLine]]:
    chunks: list[list[MessageLine]] = []
    size = 0
    for line in lines:
        if not chunks or len(chunks[-1]) >= _CHUNK_MESSAGES or size + len(line.text) > _CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(line)
        size += len(line.text)
    return chunks


def _as_message(line: MessageLine) -> Message:
    return Message(
        line.room_id,
        line.seq,
        line.author_id,
        "" if line.deleted else line.text,
        rfc3339(parse_rfc3339(line.posted_at)),
        None if line.edited_at is None else rfc3339(parse_rfc3339(line.edited_at)),
        line.deleted,
        line.reply_to,
        tuple(dict.fromkeys(line.mentions)),
    )


async def _tell_all(edge: Edge, call: Call, commands: Sequence[Command]) -> list[object]:
    return [told.answer for told in await asyncio.gather(*(edge.tell(call, command) for command in commands))]


# --- export -----------------------------------------------------------------------------------------------------------


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
    while rows := await edge.store.accounts(after, _EXPORT_ROWS):
        for row in rows:
            yield row
        after = rows[-1].account_id
        await asyncio.sleep(0)  # others get their turn


async def _all_rooms(edge: Edge, after: int) -> AsyncIterator[RoomRow]:
    while rows := await edge.store.all_rooms(after, _EXPORT_ROWS):
        for row in rows:
            yield row
        after = rows[-1].room_id
        await asyncio.sleep(0)


async def _room_out(edge: Edge, room: RoomRow) -> _RoomOut:
    members: list[_MemberOut] = []
    after = 0
    while rows := await edge.store.members(room.room_id, after, _EXPORT_ROWS):
        members += [_MemberOut(str(row.account_id), row.role) for row in rows]
        after = rows[-1].account_id
    return _RoomOut(str(room.room_id), room.kind, room.name, room.description, room.created_at, members)


async def _message_lines(edge: Edge, room: RoomRow, after: int) -> AsyncIterator[bytes]:
    while rows := await edge.store.page(room.room_id, after + 1, after + _EXPORT_ROWS):
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
