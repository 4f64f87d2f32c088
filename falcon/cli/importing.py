"""Imports a file of accounts, rooms and messages, batch by batch.

The file names things by refs, which are any strings; the server assigns ids. So accounts go first, then rooms, then
messages with their reactions. The answer to a batch translates the refs of the next.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

import msgspec

from falcon.cli.faults import Fault
from falcon.validation import broken_rule
from falcon_chat import Imported, Problem, Role, RoomKind

NOBODY = 0  # wrote a message that is missing
BATCH_LINES = 1000
BATCH_BYTES = 512 * 1024
_MEMBERS = 5_000  # in one line
FORMAT_VERSIONS = (1, 2)

Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Seq: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class HeaderLine(msgspec.Struct, frozen=True, tag="falcon-export"):
    """Later versions may add fields, so unknown fields are ignored until the version is checked."""

    version: int
    source: str
    accounts: int = 0
    rooms: int = 0
    messages: int = 0
    position: str = ""


class AccountLine(msgspec.Struct, frozen=True, tag="account", forbid_unknown_fields=True):
    """``at``, here and below: the place of the change in the log of the other Falcon."""

    ref: str
    name: str
    at: str | None = None


class MemberRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    account: str
    role: Role = "member"


class RoomLine(msgspec.Struct, frozen=True, tag="room", forbid_unknown_fields=True):
    ref: str
    name: str
    created_at: Time
    kind: RoomKind = "group"
    description: str = ""
    members: tuple[MemberRef, ...] = ()
    at: str | None = None


class MembersLine(msgspec.Struct, frozen=True):
    """Members of a large room that its own line has no place for. No file has such lines."""

    room: str
    members: tuple[MemberRef, ...]


class MessageLine(msgspec.Struct, frozen=True, tag="message", forbid_unknown_fields=True):
    room: str
    seq: Seq
    author: str
    text: str
    posted_at: Time
    edited_at: Time | None = None
    deleted: bool = False
    reply_to: Seq | None = None
    mentions: tuple[str, ...] = ()
    missing: bool = False
    at: str | None = None


class ReactionLine(msgspec.Struct, frozen=True, tag="reaction", forbid_unknown_fields=True):
    room: str
    seq: Seq
    emoji: str
    account: str
    reacted_at: Time
    at: str | None = None


Line: TypeAlias = HeaderLine | AccountLine | RoomLine | MessageLine | ReactionLine
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
_encode = msgspec.json.Encoder().encode


class BadLine(Exception):
    """The rule that a line breaks."""


@dataclass(frozen=True)
class Refs:
    """Translates refs of the file into ids of the server, and counts the messages of each room."""

    source: str
    accounts: dict[str, int] = field(default_factory=dict)
    rooms: dict[str, int] = field(default_factory=dict)
    last_seqs: dict[str, int] = field(default_factory=dict)

    def learn(self, answer: Imported) -> None:
        self.accounts.update(answer.accounts)
        self.rooms.update(answer.rooms)

    def translated(self, line: Line | MembersLine) -> bytes:
        """The line as the server takes it. Raises BadLine."""
        return _encode(self._translated(line)) + b"\n"

    def _translated(self, line: Line | MembersLine) -> dict[str, Any]:
        match line:
            case MessageLine():
                self._check_seq(line)
                return {
                    "type": "message",
                    "room_id": _id_of(line.room, self.rooms, "room"),
                    "seq": line.seq,
                    "author_id": NOBODY if line.missing else _id_of(line.author, self.accounts, "author"),
                    "text": line.text,
                    "posted_at": _utc(line.posted_at),
                    "edited_at": _utc(line.edited_at) if line.edited_at else None,
                    "deleted": line.deleted,
                    "reply_to": line.reply_to,
                    "mentions": [_id_of(ref, self.accounts, "mentions") for ref in line.mentions],
                }
            case ReactionLine():
                return {
                    "type": "reaction",
                    "room_id": _id_of(line.room, self.rooms, "room"),
                    "seq": line.seq,
                    "emoji": line.emoji,
                    "account_id": _id_of(line.account, self.accounts, "account"),
                    "reacted_at": _utc(line.reacted_at),
                }
            case RoomLine():
                return {
                    "type": "room",
                    "source": self.source,
                    "ref": line.ref,
                    "kind": line.kind,
                    "name": line.name,
                    "description": line.description,
                    "created_at": _utc(line.created_at),
                    "members": self._members(line),
                }
            case MembersLine():
                return {
                    "type": "members",
                    "room_id": _id_of(line.room, self.rooms, "room"),
                    "members": self._members(line),
                }
            case AccountLine():
                return {"type": "account", "source": self.source, "ref": line.ref, "name": line.name}
            case HeaderLine():
                raise BadLine("a second header; a file has one, on its first line")

    def _members(self, line: RoomLine | MembersLine) -> list[dict[str, Any]]:
        return [
            {"account_id": _id_of(member.account, self.accounts, "members"), "role": member.role}
            for member in line.members
        ]

    def _check_seq(self, line: MessageLine) -> None:
        """The server refuses this too, but cannot name the line."""
        expected = self.last_seqs.get(line.room, line.seq - 1) + 1
        if line.seq != expected:
            raise BadLine(f"seq: must go on without a gap: expected {expected}, got {line.seq}")
        self.last_seqs[line.room] = line.seq


@dataclass
class Batch:
    """Translated lines of one kind, messages with their reactions, with their numbers in the file."""

    kind: type[Line | MembersLine] | None = None
    lines: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    size: int = 0

    def add(self, line: bytes, number: int) -> None:
        self.lines.append(line)
        self.numbers.append(number)
        self.size += len(line)

    def has_room_for(self, line: bytes) -> bool:
        return not self.lines or (len(self.lines) < BATCH_LINES and self.size + len(line) <= BATCH_BYTES)


@dataclass
class Outcome:
    """The number of lines, of messages that were new to the server, and of those that it had."""

    lines: int = 0
    imported: int = 0
    skipped: int = 0


async def import_lines(
    lines: Iterable[tuple[int, bytes]],
    name: str,
    send: Callable[[bytes], Awaitable[Imported]],
    advance: Callable[[int], None] = lambda _: None,
    check: Callable[[HeaderLine], Awaitable[None]] | None = None,
) -> Outcome:
    """Send the lines of the file called ``name``, each with its number. ``advance`` is called with the lines done.

    ``check`` gets the header before the first request, and raises if the file must not be imported.

    Repeating an import is safe: the server skips what it has. Raises Fault with file, line and rule at the first
    line that is not in order, after sending those before it; and whatever ``send`` raises.
    """
    outcome = Outcome()
    refs: Refs | None = None
    batch = Batch()

    async def flush() -> None:
        nonlocal batch
        if refs is None or not batch.lines:
            return
        full, batch = batch, Batch(batch.kind)
        try:
            answer = await send(b"".join(full.lines))
        except Problem as problem:
            raise _located(problem, name, full) from problem
        refs.learn(answer)
        whole = 0 if full.kind is MembersLine else len(full.lines)  # its room's own line has been counted
        outcome.lines += whole
        outcome.imported += answer.imported
        outcome.skipped += answer.skipped
        advance(whole)

    async def add(line: Line | MembersLine, refs: Refs, number: int) -> None:
        kind = MessageLine if isinstance(line, ReactionLine) else type(line)
        if kind is not batch.kind:
            await flush()
            batch.kind = kind
        translated = refs.translated(line)
        if not batch.has_room_for(translated):
            await flush()
        batch.add(translated, number)

    for number, raw in lines:
        if raw.isspace():
            continue
        try:
            line = _parsed(raw)
            if refs is None:
                header = _header(line)
                if check is not None:
                    await check(header)
                refs = Refs(header.source)
                advance(1)
                continue
            for part in _parts(line):
                await add(part, refs, number)
        except BadLine as rule:
            await flush()
            raise Fault(f"{name}:{number}: {rule}") from rule
    if refs is None:
        raise Fault(f"{name}: empty; an import begins with a header line, see `falcon import --help`")
    await flush()
    return outcome


def _parts(line: Line) -> Iterable[Line | MembersLine]:
    """The lines to send instead, none of which takes long. An admin of a large room comes with its own line."""
    if not isinstance(line, RoomLine) or len(line.members) <= _MEMBERS:
        return (line,)
    members = sorted(line.members, key=lambda member: member.role != "admin")
    return (
        msgspec.structs.replace(line, members=tuple(members[:_MEMBERS])),
        *(
            MembersLine(line.ref, tuple(members[start : start + _MEMBERS]))
            for start in range(_MEMBERS, len(members), _MEMBERS)
        ),
    )


def _parsed(raw: bytes) -> Line:
    try:
        return _decoder.decode(raw)
    except msgspec.ValidationError as fault:
        raise BadLine(str(broken_rule(fault, Line))) from fault
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise BadLine(f"is not valid JSON: {fault}") from fault


def _header(line: Line) -> HeaderLine:
    if not isinstance(line, HeaderLine):
        raise BadLine('the first line must be the header, {"type": "falcon-export", "version": 1, "source": …}')
    if line.version not in FORMAT_VERSIONS:
        raise BadLine(f"version {line.version} of the format; this Falcon reads versions 1 and 2")
    return line


def _id_of(ref: str, known: dict[str, int], what: str) -> int:
    try:
        return known[ref]
    except KeyError:
        kind = "room" if what == "room" else "account"
        raise BadLine(f"{what}: no {kind} with ref {ref!r} comes before this line") from None


def _utc(moment: datetime) -> str:
    """As the API writes times."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


_LINE_OF_REQUEST = re.compile(r"line (\d+)(?:: (.*))?", re.IGNORECASE)


def _located(problem: Problem, name: str, batch: Batch) -> Exception:
    """The problem with the line of the file. The server names the line of the request: ``line 3: text``."""
    if problem.status in (401, 403):
        return problem
    for error in problem.errors:
        found = _LINE_OF_REQUEST.fullmatch(error.field)
        if found and 1 <= int(found[1]) <= len(batch.numbers):
            rule = f"{found[2]}: {error.rule}" if found[2] else error.rule
            return Fault(f"{name}:{batch.numbers[int(found[1]) - 1]}: {rule}")
    return Fault(f"{name}:{batch.numbers[0]}-{batch.numbers[-1]}: {problem.detail}")
