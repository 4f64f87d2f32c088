"""Import histories: one JSON object a line.

Lines that were imported before are skipped, so a client may send a request, or a whole file, again. All lines of a
request are checked before the first is executed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby
from typing import Final, TypeVar

import msgspec

from falcon.domain import names
from falcon.domain.answers import AccountAnswer, ImportAnswer, RoomAnswer
from falcon.domain.commands import (
    Command,
    CreateAccount,
    ImportedReaction,
    ImportMembers,
    ImportMessages,
    ImportReactions,
    ImportRoom,
    Invitation,
)
from falcon.domain.ids import NOBODY, RoomId, Seq
from falcon.domain.message import Message
from falcon.http.api.accounts import require_admin
from falcon.http.api.messages import decided_on_view
from falcon.http.api.reactions import check_emoji, with_reactions
from falcon.http.command_client import CommandResult
from falcon.http.edge import Edge
from falcon.http.problems import Problem, broken, invalid, not_allowed, not_json, wrong_media_type
from falcon.http.requests import AuthedRequest, check_text, from_validation, read_body
from falcon.http.responses import BytesResponse, json_response
from falcon.http.shapes import (
    AccountLineShape,
    Imported,
    ImportLine,
    MembersLineShape,
    MessageLineShape,
    NewMember,
    ReactionLineShape,
    RoomLineShape,
)
from falcon.read.times import parse_rfc3339

_line: Final = msgspec.json.Decoder(ImportLine)
_encode: Final = msgspec.json.Encoder().encode
_pack: Final = msgspec.msgpack.Encoder().encode
_LINES_MAX: Final = 2_000
_CHUNK_MESSAGES: Final = 250  # or reactions, of one room in one command, so that an append stays small
_CHUNK_BYTES: Final = 200_000
_CHUNK_MEMBERS: Final = 1_000
_AT_ONCE: Final = 64  # commands on their way together
_PATIENCE_SECONDS: Final = 10.0

L = TypeVar("L")
M = TypeVar("M", MembersLineShape, MessageLineShape, ReactionLineShape)
T = TypeVar("T")


async def import_lines(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Responds when reads show everything that was imported, since the next request may refer to it."""
    require_admin(request)
    request.headers.pop(b"idempotency-key", None)  # an import needs none, and one key would stand for many commands
    lines = _parse(await _ndjson(edge, request), edge)
    await edge.reads.reach_positions(request)
    await _Check(edge, request).check(lines)
    importing = _Import(edge, request)
    accounts = await importing.accounts([line for line in lines if isinstance(line, AccountLineShape)])
    rooms = await importing.rooms([line for line in lines if isinstance(line, RoomLineShape)])
    await importing.members([line for line in lines if isinstance(line, MembersLineShape)])
    imported, skipped = await importing.messages([line for line in lines if isinstance(line, MessageLineShape)])
    await importing.reactions([line for line in lines if isinstance(line, ReactionLineShape)])
    position = await importing.readable()
    return json_response(200, Imported(accounts, rooms, imported, skipped), *position)


# --- lines ------------------------------------------------------------------------------------------------------------


async def _ndjson(edge: Edge, request: AuthedRequest) -> list[bytes]:
    media_type = request.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if media_type != b"application/x-ndjson":
        raise wrong_media_type("application/x-ndjson")
    body = await read_body(request.receive, request.headers, edge.limits.import_body_max)
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > _LINES_MAX:
        rule = broken("body", f"must have at most {_LINES_MAX:,} lines")
        raise Problem(413, "too_large", f"The request has more than {_LINES_MAX:,} lines.", rule)
    return lines


def _parse(lines: Sequence[bytes], edge: Edge) -> list[ImportLine]:
    parsed: list[ImportLine] = []
    for number, data in enumerate(lines, 1):
        try:
            line = _line.decode(data)
        except msgspec.ValidationError as error:
            raise from_validation(error, ImportLine, f"line {number}: ") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise not_json(f"line {number}", error) from None
        for name in ("created_at", "posted_at", "edited_at", "reacted_at"):
            _check_time(getattr(line, name, None), f"line {number}: {name}")
        if isinstance(line, MessageLineShape):
            check_text(line.text, edge.limits.text_max, f"line {number}: text")
            if not line.deleted and not line.text:
                raise invalid(f"line {number}: text", "must not be empty")
            if not line.deleted and line.author_id == NOBODY:
                raise invalid(f"line {number}: author_id", "must be at least 1")
        if isinstance(line, ReactionLineShape):
            check_emoji(line.emoji, f"line {number}: emoji")
        parsed.append(line)
    return parsed


def _check_time(text: str | None, field: str) -> None:
    if text is not None:
        try:
            parse_rfc3339(text)
        except (ValueError, OverflowError):
            raise invalid(field, "must be a time as in 2026-11-25T09:30:00.123Z") from None


class _Check:
    """The rules that need the tables: accounts and rooms exist, and messages follow without a gap."""

    def __init__(self, edge: Edge, request: AuthedRequest) -> None:
        self._edge = edge
        self._request = request
        self._store = edge.store
        self._accounts: dict[int, bool] = {}
        self._last_seqs: dict[RoomId, int] = {}

    async def check(self, lines: Sequence[ImportLine]) -> None:
        """Raises Problem 404 or 422, naming the line."""
        for number, line in enumerate(lines, 1):
            if isinstance(line, RoomLineShape):
                await self._room(line, f"line {number}: ")
            elif isinstance(line, MembersLineShape):
                await self._members(line, f"line {number}: ")
            elif isinstance(line, MessageLineShape):
                await self._message(line, f"line {number}: ")
            elif isinstance(line, ReactionLineShape):
                await self._reaction(line, f"line {number}: ")

    async def _room(self, line: RoomLineShape, at: str) -> None:
        await self._accounts_of(line, at)
        if line.kind == "group" and not any(member.role == "admin" for member in line.members):
            raise invalid(f"{at}members", "a group room needs at least one admin")
        if line.kind == "direct":
            await self._pair(sorted({member.account_id for member in line.members}), at)

    async def _members(self, line: MembersLineShape, at: str) -> None:
        await self._last_seq(line.room_id, 0, at)
        await self._accounts_of(line, at)

    async def _accounts_of(self, line: RoomLineShape | MembersLineShape, at: str) -> None:
        for index, member in enumerate(line.members):
            await self._account(member.account_id, f"{at}members[{index}].account_id")

    async def _pair(self, accounts: list[int], at: str) -> None:
        if len(accounts) != 2:
            raise invalid(f"{at}members", "a direct room has exactly two members")
        room = await self._store.direct_room(*accounts)
        if room is not None and not room.imported:
            raise not_allowed(f"{at}members", f"accounts {accounts[0]} and {accounts[1]} have a direct room already")

    async def _message(self, line: MessageLineShape, at: str) -> None:
        last_seq = await self._last_seq(line.room_id, line.seq, at)
        if line.seq > last_seq + 1:
            raise invalid(f"{at}seq", f"must go on without a gap: expected {last_seq + 1}, got {line.seq}")
        self._last_seqs[line.room_id] = max(last_seq, line.seq)
        if line.author_id != NOBODY:
            await self._account(line.author_id, f"{at}author_id")
        for account_id in line.mentions:
            await self._account(account_id, f"{at}mentions")
        if line.reply_to is not None and line.reply_to >= line.seq:
            raise invalid(f"{at}reply_to", "must be a message before this one")

    async def _reaction(self, line: ReactionLineShape, at: str) -> None:
        if line.seq > await self._last_seq(line.room_id, line.seq, at):
            raise invalid(f"{at}seq", f"there is no message {line.seq} before this line")
        await self._account(line.account_id, f"{at}account_id")

    async def _last_seq(self, room_id: RoomId, seq: Seq, at: str) -> Seq:
        """The newest message of the room, with those of the lines before this one, of which ``seq`` is the next."""
        if room_id not in self._last_seqs:
            room = await self._store.room(room_id)
            if room is None or seq > room.last_seq + 1:
                room = await self._edge.reads.newest(self._request, room_id, self._store.room, room_id)
            if room is None:
                rule = f"there is no room {room_id}"
                raise Problem(404, "room_not_found", f"{at}{rule}", broken(f"{at}room_id", rule))
            if not room.imported:
                raise not_allowed(f"{at}room_id", f"room {room_id} was not imported")
            self._last_seqs[room_id] = room.last_seq
        return self._last_seqs[room_id]

    async def _account(self, account_id: int, field: str) -> None:
        if account_id not in self._accounts:
            self._accounts[account_id] = await self._edge.reads.account(self._request, account_id) is not None
        if not self._accounts[account_id]:
            raise invalid(field, f"there is no account {account_id}")


# --- execution --------------------------------------------------------------------------------------------------------


class _Import:
    """The commands of one request, dispatched some at a time, and their positions."""

    def __init__(self, edge: Edge, request: AuthedRequest) -> None:
        self._edge = edge
        self._request = request
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._until = time.monotonic() + _PATIENCE_SECONDS
        self._positions: dict[int, int] = {}

    async def accounts(self, lines: Sequence[AccountLineShape]) -> dict[str, int]:
        return await self._each(lines, self._account)

    async def rooms(self, lines: Sequence[RoomLineShape]) -> dict[str, int]:
        return await self._each(lines, self._room)

    async def members(self, lines: Sequence[MembersLineShape]) -> None:
        await _all(self._of_members(of_room) for of_room in _by_room(lines).values())

    async def messages(self, lines: Sequence[MessageLineShape]) -> tuple[int, int]:
        """How many were imported, and how many were skipped."""
        counts = await _all(self._of_room(of_room) for of_room in _by_room(lines).values())
        return sum(imported for imported, _ in counts), sum(skipped for _, skipped in counts)

    async def reactions(self, lines: Sequence[ReactionLineShape]) -> None:
        await _all(self._reactions_in_room(of_room) for of_room in _by_room(lines).values())

    async def readable(self) -> tuple[tuple[bytes, bytes], ...]:
        """Wait until reads show everything; gives the Falcon-Position header."""
        for partition, offset in self._positions.items():
            await self._edge.reads.reach(partition, offset, max(0.0, self._until - time.monotonic()))
        position = b",".join(b"%d:%d" % place for place in sorted(self._positions.items()))
        return ((b"falcon-position", position),) if position else ()

    @staticmethod
    async def _each(lines: Sequence[L], make: "Callable[[L], Awaitable[tuple[str, int]]]") -> dict[str, int]:
        return dict(await _all(make(line) for line in lines))

    async def _account(self, line: AccountLineShape) -> tuple[str, int]:
        command = CreateAccount(names.cleaned(line.name), imported_as=_reference("account", line))
        answer = (await self._dispatch(command)).answer
        assert isinstance(answer, AccountAnswer)
        return line.ref, answer.account_id

    async def _room(self, line: RoomLineShape) -> tuple[str, int]:
        command = ImportRoom(
            imported_as=_reference("room", line),
            kind=line.kind,
            name=names.cleaned(line.name),
            description=line.description,
            created_at=parse_rfc3339(line.created_at),
            members=tuple(map(_invitation, line.members)),
        )
        answer = (await self._dispatch(command)).answer
        assert isinstance(answer, RoomAnswer)
        return line.ref, answer.room_id

    async def _of_members(self, lines: Sequence[MembersLineShape]) -> None:
        members = [_invitation(member) for line in lines for member in line.members]
        for start in range(0, len(members), _CHUNK_MEMBERS):
            chunk = tuple(members[start : start + _CHUNK_MEMBERS])
            await self._dispatch(ImportMembers(lines[0].room_id, chunk))

    async def _of_room(self, lines: Sequence[MessageLineShape]) -> tuple[int, int]:
        """Import the messages of one room, in order, some hundreds a command."""
        imported = skipped = 0
        for chunk in _chunks(lines):
            answer = (await self._dispatch(ImportMessages(chunk[0].room_id, tuple(map(_as_message, chunk))))).answer
            assert isinstance(answer, ImportAnswer)
            imported += answer.imported
            skipped += answer.skipped
        return imported, skipped

    async def _reactions_in_room(self, lines: Sequence[ReactionLineShape]) -> None:
        """In their order, which is that in which they are shown."""
        for (room_id, seq, emoji), run in groupby(lines, lambda line: (line.room_id, line.seq, line.emoji)):
            imported = tuple(ImportedReaction(line.account_id, parse_rfc3339(line.reacted_at)) for line in run)
            for start in range(0, len(imported), _CHUNK_MESSAGES):
                chunk = imported[start : start + _CHUNK_MESSAGES]
                await self._import_reactions(ImportReactions(room_id, seq, emoji, chunk))

    async def _import_reactions(self, command: ImportReactions) -> None:
        accounts = [each.account_id for each in command.imported]
        await decided_on_view(self._edge, lambda: with_reactions(self._edge, command, accounts), self._dispatch)

    async def _dispatch(self, command: Command) -> CommandResult:
        """Retries for some seconds where the mailbox is full: an import can wait."""
        size = len(_pack(command))  # one request makes many commands
        while True:
            try:
                async with self._free:
                    result = await self._edge.commands.dispatch(self._request, command, size)
            except Problem as problem:
                if problem.code != "overloaded" or time.monotonic() > self._until:
                    raise
                await asyncio.sleep(0.05)
            else:
                self._positions[result.partition] = max(result.offset, self._positions.get(result.partition, 0))
                return result


async def _all(tasks: "Iterable[Awaitable[T]]") -> list[T]:
    return list(await asyncio.gather(*tasks))


def _invitation(member: NewMember) -> Invitation:
    return Invitation(member.account_id, member.role)


def _reference(kind: str, line: AccountLineShape | RoomLineShape) -> str:
    """A text that is unique for the kind, source and ref, whatever characters these contain."""
    return _encode((kind, line.source, line.ref)).decode()


def _by_room(lines: Sequence[M]) -> dict[RoomId, list[M]]:
    by_room: dict[RoomId, list[M]] = {}
    for line in lines:
        by_room.setdefault(line.room_id, []).append(line)
    return by_room


def _chunks(lines: Sequence[MessageLineShape]) -> list[list[MessageLineShape]]:
    chunks: list[list[MessageLineShape]] = []
    size = 0
    for line in lines:
        if not chunks or len(chunks[-1]) >= _CHUNK_MESSAGES or size + len(line.text) > _CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(line)
        size += len(line.text)
    return chunks


def _as_message(line: MessageLineShape) -> Message:
    """A deleted message keeps neither its text nor its mentions."""
    return Message(
        line.room_id,
        line.seq,
        line.author_id,
        "" if line.deleted else line.text,
        parse_rfc3339(line.posted_at),
        None if line.edited_at is None else parse_rfc3339(line.edited_at),
        line.deleted,
        line.reply_to,
        () if line.deleted else tuple(dict.fromkeys(line.mentions)),
    )
