"""Imports a file of accounts, rooms and messages, batch by batch.

The file names things by refs, which are any strings; the server assigns ids. So accounts go first, then rooms, then
messages with what follows them. The answer to a batch translates the refs of the next.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from falcon.base.validation import broken_rule
from falcon.cli.faults import Fault
from falcon.cli.lines import (
    BadLine,
    FollowingLine,
    HeaderLine,
    Line,
    MembersLine,
    MessageLine,
    Refs,
    RoomLine,
)
from falcon_chat import Imported, Problem

BATCH_LINES = 1000  # half of what a request may have
BATCH_BYTES = 512 * 1024  # half of the body that a server takes by default
_MEMBERS = 5_000  # in one line
FORMAT_VERSIONS = (1, 2)  # that this version reads

_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


@dataclass
class Batch:
    """Translated lines of one kind, messages with what follows them, with their numbers in the file."""

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
class ImportOutcome:
    """The number of lines, of messages that were new to the server, and of the ones that it had.

    ``left_out``: by room id, how many members were not added, since members have left the room. ``taken``: by account
    id, the handle, the e-mail or both that other accounts have.
    """

    lines: int = 0
    imported: int = 0
    skipped: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    taken: dict[int, tuple[str, ...]] = field(default_factory=dict)


async def import_lines(
    lines: Iterable[tuple[int, bytes]],
    name: str,
    send: Callable[[bytes], Awaitable[Imported]],
    advance: Callable[[int], None] = lambda _: None,
    check: Callable[[HeaderLine], Awaitable[None]] | None = None,
) -> ImportOutcome:
    """Send the lines of the file called ``name``, each with its number. ``advance`` is called with the lines done.

    ``check`` gets the header before the first request, and raises if the file must not be imported.

    Repeating an import is safe: the server skips what it has. Raises Fault with file, line and rule at the first
    line that is not in order, after sending those before it; and whatever ``send`` raises.
    """
    outcome = ImportOutcome()
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
        outcome.left_out.update(answer.left_out)
        outcome.taken |= {answer.accounts[ref]: texts for ref, texts in answer.taken.items()}
        advance(whole)

    async def add(line: Line | MembersLine, refs: Refs, number: int) -> None:
        kind = MessageLine if isinstance(line, FollowingLine) else type(line)
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


_LINE_OF_REQUEST = re.compile(r"line (\d+)(?:: (.*))?", re.IGNORECASE)


def _located(problem: Problem, name: str, batch: Batch) -> Exception:
    """The problem with the line of the file. The server names the line of the request: ``line 3: text``."""
    for error in problem.errors:
        found = _LINE_OF_REQUEST.fullmatch(error.field)
        if found and 1 <= int(found[1]) <= len(batch.numbers):
            rule = f"{found[2]}: {error.rule}" if found[2] else error.rule
            return Fault(f"{name}:{batch.numbers[int(found[1]) - 1]}: {rule}")
    if problem.status in (401, 403):
        return problem
    return Fault(f"{name}:{batch.numbers[0]}-{batch.numbers[-1]}: {problem.detail}")
