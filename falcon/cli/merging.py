"""The lines of an export in the order that an import needs, each thing once and in its last state.

An export of version 2 has rows, and then the changes that happened while the rows were written. Here the changes are
read first. They replace few rows. Messages that were posted meanwhile stay in the file until their turn.
"""

import codecs
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import BinaryIO, Final, TypeAlias, cast

import msgspec

from falcon.cli.faults import Fault
from falcon.cli.lines import (
    FOLLOWING,
    AccountLine,
    BookmarkLine,
    Change,
    FollowingLine,
    MemberRef,
    MessageLine,
    RoomLine,
    Row,
    ThreadLine,
    identity_of,
    utc,
)

_CHANGES: Final = b'{"type":"changes"'
_END: Final = b'{"type":"end"'
_MISSING: Final = b'"missing":true'  # no other line has it: quotes in texts and names are escaped
_BUFFER: Final = 1 << 20  # 1 MiB


Numbered: TypeAlias = tuple[int, bytes]
_Place: TypeAlias = tuple[str, int]  # a room, and a seq in it
_Identity: TypeAlias = tuple[str, ...]  # of a line among the ones that follow a message

_change: Final[msgspec.json.Decoder[Change]] = msgspec.json.Decoder(Change)
_row: Final[msgspec.json.Decoder[Row]] = msgspec.json.Decoder(Row)
_room: Final = msgspec.json.Decoder(RoomLine)
_thread: Final = msgspec.json.Decoder(ThreadLine)
_encode: Final = msgspec.json.Encoder().encode


class _Version(msgspec.Struct):
    version: int = 0


def numbered(file: BinaryIO, name: str) -> Iterable[Numbered]:
    """Lines with their numbers. The file must be at its start. Raises Fault for an export that is not complete."""
    header = _first_line(file)
    if not _has_changes(header):
        return chain([(1, header)] if header else [], enumerate(file, 2))
    if not file.seekable():
        file = _spooled(header, file)
    return _merged(file, _read_changes(file, name))


def _first_line(file: BinaryIO) -> bytes:
    """Some programs write a byte order mark before it."""
    return file.readline().removeprefix(codecs.BOM_UTF8)


def _has_changes(header: bytes) -> bool:
    try:
        return msgspec.json.decode(header, type=_Version).version == 2
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False  # the import says which rule it breaks


def _spooled(header: bytes, rest: BinaryIO) -> BinaryIO:
    """A file that can be read twice: the changes come last, and are needed first."""
    file = cast(BinaryIO, tempfile.TemporaryFile(buffering=_BUFFER))  # noqa: SIM115  # it ends with the process
    file.write(header)
    shutil.copyfileobj(rest, file, _BUFFER)
    return file


@dataclass
class _Changes:
    """``line``: the number of the first. ``missing``: messages that the rows lack. ``messages``: the ones that were
    edited or deleted, or are missing. ``emptied``: the ones that were deleted. ``following``: lines after a message;
    None for one that was removed.
    ``bookmarks``: likewise, by account and message."""

    line: int = 0
    accounts: dict[str, Numbered] = field(default_factory=dict)
    rooms: dict[str, tuple[int, RoomLine]] = field(default_factory=dict)
    threads: dict[str, tuple[int, ThreadLine]] = field(default_factory=dict)
    of_room: dict[str, list[RoomLine | Change]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    missing: set[_Place] = field(default_factory=set)
    messages: dict[_Place, bytes] = field(default_factory=dict)
    emptied: set[_Place] = field(default_factory=set)
    following: dict[_Place, dict[_Identity, Numbered | None]] = field(default_factory=dict)
    bookmarks: dict[tuple[str, _Place], Numbered | None] = field(default_factory=dict)

    def apply(self, change: Change, number: int, raw: bytes) -> None:
        """Raises msgspec.DecodeError."""
        place = (change.room, change.seq)
        if change.type.removesuffix("-removed") in FOLLOWING:
            of_message, identity = self.following.setdefault(place, {}), identity_of(change)
            of_message.pop(identity, None)  # one that comes again is the newest
            of_message[identity] = None if change.type.endswith("-removed") else (number, raw)
        elif change.type in ("bookmark", "bookmark-removed"):
            self.bookmarks[change.account, place] = (number, raw) if change.type == "bookmark" else None
        elif change.type == "account":
            self.accounts[change.ref] = (number, raw)
        elif change.type == "room":
            room = _room.decode(raw)
            self.rooms[change.ref] = (number, room)
            self.of_room.setdefault(change.ref, []).append(room)
        elif change.type == "thread":
            self.threads[change.ref] = (number, _thread.decode(raw))
        elif change.type == "message":
            if change.deleted:
                self.emptied.add(place)
            if change.edited_at is not None or change.deleted or place in self.missing:
                self.messages[place] = raw
        elif change.type == "room-deleted":
            self.deleted.add(change.room)
        elif change.type in ("room-changed", "member", "member-left", "thread-followed", "thread-unfollowed"):
            self.of_room.setdefault(change.room, []).append(change)

    def lines_after(self, place: _Place, rows: dict[_Identity, Numbered]) -> Iterator[Numbered]:
        """The lines after a message: the rows that no change removed or replaced, then the new lines. A deleted
        message has none."""
        if place in self.emptied:
            return
        changed = self.following.get(place, {})
        yield from (row for identity, row in rows.items() if identity not in changed)
        yield from (line for line in changed.values() if line is not None)

    def bookmarks_made(self) -> Iterator[Numbered]:
        """The bookmarks that were set while the export was written, or have another note."""
        for (_, (room, _)), line in self.bookmarks.items():
            if line is not None and room not in self.deleted:
                yield line

    def applied_to(self, room: RoomLine) -> RoomLine:
        """The row with the changes: they set, and never add."""
        members = {member.account: member for member in room.members}
        for change in self.of_room.get(room.ref, ()):
            if isinstance(change, RoomLine):
                members |= {member.account: member for member in change.members}
            elif change.type == "member":
                members[change.account] = MemberRef(change.account, change.role)
            elif change.type == "member-left":
                members.pop(change.account, None)
            if isinstance(change, RoomLine) or change.type == "room-changed":
                fields = {name: getattr(change, name) for name in ("name", "description", "open", "default")}
                room = msgspec.structs.replace(room, **fields)
        return msgspec.structs.replace(room, members=tuple(members.values()))

    def applied_to_thread(self, thread: ThreadLine) -> ThreadLine:
        followers = dict.fromkeys(thread.followers)
        for change in self.of_room.get(thread.ref, ()):
            if isinstance(change, Change) and change.type == "thread-followed":
                followers[change.account] = None
            elif isinstance(change, Change) and change.type == "thread-unfollowed":
                followers.pop(change.account, None)
        return msgspec.structs.replace(thread, followers=tuple(followers))

    def has_gone(self, thread: ThreadLine) -> bool:
        """True if the room of the thread was deleted, and the thread with it."""
        if thread.room in self.deleted:
            self.deleted.add(thread.ref)
        return thread.ref in self.deleted


def _read_changes(file: BinaryIO, name: str) -> _Changes:
    """All changes of the file. An export that was continued has several parts."""
    changes = _Changes()
    file.seek(0)
    number, ended = 0, False
    for number, raw in enumerate(file, 1):
        if changes.line or raw.startswith(_CHANGES):
            if not changes.line:
                changes.line = number
            try:
                changes.apply(_change.decode(raw), number, raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as fault:
                raise Fault(f"{name}:{number}: {fault}") from fault
        elif _MISSING in raw and isinstance(hole := _decoded_row(raw), MessageLine):
            changes.missing.add((hole.room, hole.seq))
        ended = raw.startswith(_END)
    if not ended:
        raise Fault(f"{name}: it ends at line {number}, before its last line; let `falcon export` finish it first")
    return changes


def _merged(file: BinaryIO, changes: _Changes) -> Iterator[Numbered]:
    file.seek(0)
    yield 1, _first_line(file)
    yield from changes.accounts.values()
    rooms_due = threads_due = True
    last_seqs: dict[str, int] = {}
    place: _Place = ("", 0)
    following: dict[_Identity, Numbered] = {}  # the rows after the message at this place
    for number, raw in enumerate(file, 2):
        line = _decoded_row(raw)
        if line is None:
            if number < changes.line:
                yield number, raw  # the import says which rule it breaks
            continue
        if rooms_due and not (isinstance(line, AccountLine) and number < changes.line):
            rooms_due = False
            yield from _rooms_made(changes)
        if threads_due and isinstance(line, MessageLine):
            threads_due = False
            yield from _threads_made(changes)
        if isinstance(line, FollowingLine):
            if number < changes.line and (line.room, line.seq) == place:
                following[identity_of(line)] = (number, raw)
            continue
        yield from changes.lines_after(place, following)
        place, following = ("", 0), {}
        match line:
            case AccountLine():
                if line.ref not in changes.accounts:
                    yield number, raw
            case RoomLine():
                if line.ref not in changes.rooms and line.ref not in changes.deleted:
                    yield number, _written(changes.applied_to(line)) if line.ref in changes.of_room else raw
            case ThreadLine():
                if line.ref not in changes.threads and not changes.has_gone(line):
                    yield number, _written(changes.applied_to_thread(line)) if line.ref in changes.of_room else raw
            case MessageLine():
                if line.room not in changes.deleted and line.seq > last_seqs.get(line.room, 0):
                    place = (line.room, line.seq)
                    last_seqs[line.room] = line.seq
                    yield number, changes.messages.get((line.room, line.seq), raw)
            case BookmarkLine():
                is_row = number < changes.line and (line.account, (line.room, line.seq)) not in changes.bookmarks
                if is_row and line.room not in changes.deleted:
                    yield number, raw
    yield from changes.lines_after(place, following)
    if rooms_due:
        yield from _rooms_made(changes)
    if threads_due:
        yield from _threads_made(changes)
    yield from changes.bookmarks_made()


def _rooms_made(changes: _Changes) -> Iterator[Numbered]:
    """While the export was written: all that ever happened to them is among the changes."""
    for number, room in changes.rooms.values():
        if room.ref not in changes.deleted:
            yield number, _written(changes.applied_to(room))


def _threads_made(changes: _Changes) -> Iterator[Numbered]:
    """Like :func:`_rooms_made`, after all rooms."""
    for number, thread in changes.threads.values():
        if not changes.has_gone(thread):
            yield number, _written(changes.applied_to_thread(thread))


def _written(room: RoomLine | ThreadLine) -> bytes:
    """The line as an export writes it. msgspec alone would write the time in microseconds."""
    return _encode(msgspec.to_builtins(room) | {"created_at": utc(room.created_at)})


def _decoded_row(raw: bytes) -> Row | None:
    try:
        return _row.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
