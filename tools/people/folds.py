"""Folds the log into accounts, rooms and messages, and an export into the same, to compare the two."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from falcon.cli.lines import AccountLine, HeaderLine, Line, MessageLine, RoomLine
from falcon.cli.merging import numbered
from falcon.features.accounts.rules import AccountCreated
from falcon.features.catalogue import Event
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.rooms.rules import MemberChanged, MemberJoined, MemberLeft, RoomChanged, RoomCreated, RoomDeleted
from falcon.journal.envelope import Recorded

_TEXT_MAX: Final = 300
_SHOWN: Final = 5

K = TypeVar("K")
V = TypeVar("V")

_line: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)


class Said(NamedTuple):
    """A message, by refs. ``times``: posted and edited; empty where only the log was read."""

    author: str
    text: str
    deleted: bool
    edited: bool
    reply_to: int | None
    mentions: tuple[str, ...]
    missing: bool = False
    times: tuple[str, str] = ("", "")


class Made(NamedTuple):
    """A room, by refs. ``members``: with their roles."""

    kind: str
    name: str
    description: str
    members: frozenset[tuple[str, str]]


@dataclass
class Chat:
    """Rooms and messages by ref. In an export a ref is the id in the Falcon that it comes from."""

    accounts: dict[str, str] = field(default_factory=dict)
    rooms: dict[str, Made] = field(default_factory=dict)
    messages: dict[tuple[str, int], Said] = field(default_factory=dict)

    def differences(self, other: "Chat") -> list[str]:
        """Differences in rooms and messages from another one."""
        return [*_differences("room", self.rooms, other.rooms), *_differences("message", self.messages, other.messages)]

    def differences_from_log(self, log: "Chat", skipped: Collection[tuple[int, int]] = ()) -> list[str]:
        """Differences of an export from the log, which has no times. ``skipped``: rooms and seqs that may be
        missing."""
        for (room, seq), said in self.messages.items():
            if said.missing and (int(room), seq) in skipped:
                self.messages[room, seq] = log.messages[room, seq]
            else:
                self.messages[room, seq] = said._replace(times=("", ""))
        return self.differences(log)

    def renamed(self, accounts: Mapping[str, int], rooms: Mapping[str, int]) -> "Chat":
        """With the refs of the import. Raises KeyError for anything that was not imported."""
        to = {ref: str(number) for ref, number in accounts.items()}
        renamed = Chat({to[ref]: name for ref, name in self.accounts.items()})
        for ref, room in self.rooms.items():
            members = frozenset((to[account], role) for account, role in room.members)
            renamed.rooms[str(rooms[ref])] = room._replace(members=members)
        for (ref, seq), said in self.messages.items():
            mentions = tuple(to[account] for account in said.mentions)
            author = to[said.author] if said.author else ""
            renamed.messages[str(rooms[ref]), seq] = said._replace(author=author, mentions=mentions)
        return renamed


def fold(log: Iterable[Recorded]) -> Chat:
    """Fold events, in the log's order."""
    chat = Chat()
    for recorded in log:
        _take(chat, recorded.envelope.event)
    return chat


def _take(chat: Chat, event: Event) -> None:
    match event:
        case AccountCreated():
            chat.accounts[str(event.account_id)] = event.name
        case RoomCreated(kind="thread"):
            pass  # an export has a line of its own for it; its messages are compared
        case RoomCreated():
            members = frozenset((str(each.account_id), str(each.role)) for each in event.members)
            chat.rooms[str(event.room_id)] = Made(event.kind, event.name, event.description, members)
        case RoomChanged():
            room = chat.rooms[str(event.room_id)]
            chat.rooms[str(event.room_id)] = room._replace(name=event.name, description=event.description)
        case RoomDeleted():
            chat.rooms.pop(str(event.room_id), None)
            chat.messages = {place: said for place, said in chat.messages.items() if place[0] != str(event.room_id)}
        case MemberJoined() | MemberChanged():
            _put_member(chat, str(event.room_id), str(event.account_id), event.role)
        case MemberLeft():
            _put_member(chat, str(event.room_id), str(event.account_id), None)
        case MessagePosted() | MessageEdited() | MessageDeleted():
            chat.messages[str(event.message.room_id), event.message.seq] = _said(event.message)


def _put_member(chat: Chat, room: str, account: str, role: str | None) -> None:
    others = {each for each in chat.rooms[room].members if each[0] != account}
    members = others if role is None else {*others, (account, role)}
    chat.rooms[room] = chat.rooms[room]._replace(members=frozenset(members))


def _said(message: Message) -> Said:
    return Said(
        str(message.author_id),
        message.text,
        message.deleted,
        message.edited_at is not None,
        message.reply_to,
        tuple(map(str, message.mentions)),
    )


def as_exported(path: Path, log: Iterable[Recorded]) -> tuple[Chat, Chat]:
    """The contents of an export, and of the log up to the position in its last line."""
    *_, last = path.read_bytes().splitlines()
    places = (place.split(":") for place in msgspec.json.decode(last)["position"].split(","))
    through = {int(partition): int(offset) for partition, offset in places}
    with path.open("rb") as lines:
        held = exported(numbered(lines, path.name))
    return held, fold(each for each in log if each.offset < through[each.envelope.partition])


def exported(lines: Iterable[tuple[int, bytes]]) -> Chat:
    """Reads the lines of an export. Raises msgspec.DecodeError, and ValueError for a line that comes twice."""
    chat = Chat()
    for number, raw in lines:
        match _line.decode(raw):
            case HeaderLine():
                pass
            case AccountLine(ref=ref, name=name):
                _once(chat.accounts, ref, name, number)
            case RoomLine() as room:
                members = frozenset((member.account, str(member.role)) for member in room.members)
                _once(chat.rooms, room.ref, Made(room.kind, room.name, room.description, members), number)
            case MessageLine() as line:
                _once(chat.messages, (line.room, line.seq), _exported(line), number)
    return chat


def _exported(line: MessageLine) -> Said:
    return Said(
        line.author,
        line.text,
        line.deleted,
        line.edited_at is not None,
        line.reply_to,
        line.mentions,
        line.missing,
        (str(line.posted_at), str(line.edited_at)),
    )


def _once(known: dict[K, V], key: K, value: V, number: int) -> None:
    if key in known:
        raise ValueError(f"line {number} has {key!r} again")
    known[key] = value


def _differences(what: str, one: Mapping[K, V], other: Mapping[K, V]) -> list[str]:
    return [
        f"{what} {key}: {one.get(key)} instead of {other.get(key)}"
        for key in [*one, *(key for key in other if key not in one)]
        if one.get(key) != other.get(key)
    ]


def judge_export(path: Path, log: Iterable[Recorded], skipped: Collection[tuple[int, int]]) -> list[str]:
    """The faults of an export: it must hold what the log said at its position, except skipped messages."""
    held, then = as_exported(path, log)
    wrong = held.differences_from_log(then, skipped)
    return [f"export {path.name}: {each[:_TEXT_MAX]}" for each in wrong[:_SHOWN]]
