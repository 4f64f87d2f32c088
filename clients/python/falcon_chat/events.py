"""The events of a stream. The ``id`` of each is the token to resume after it."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

import msgspec

from falcon_chat.models import Message, ReadState, Role, Room, RoomSummary

_Itself = TypeVar(
    "_Itself",
    bound="Hello | CaughtUp | CatchUp | MemberJoined | MemberChanged | MemberLeft | ReadMoved | Typing | Presence"
    " | AccountShown | Bye | ReactionAdded | ReactionRemoved | PinAdded | PinRemoved | BookmarkSet | BookmarkRemoved"
    " | ThreadStarted | ThreadChanged | Receipts",
)
_OfMessage = TypeVar("_OfMessage", bound="MessagePosted | MessageEdited | MessageDeleted")
_OfRoom = TypeVar("_OfRoom", bound="RoomCreated | RoomChanged | RoomDeleted")


class Hello(msgspec.Struct, frozen=True):
    """First, without a token: the state that the events after it continue. ``truncated``: there are more rooms.
    ``without_receipts``: rooms that the stream names, with too many members for Receipts."""

    account_id: int
    rooms: tuple[RoomSummary, ...]
    truncated: bool = False
    unread_threads: int = 0
    without_receipts: tuple[int, ...] = ()
    id: str = ""


class Restarted(msgspec.Struct, frozen=True):
    """The server no longer has the history of this stream, because it was restored from a copy. Hello comes next.

    Messages that you have seen may be gone, and others may have their ``seq``: read again what you keep. The client
    makes this event itself; it has no id.
    """

    id: str = ""


class CaughtUp(msgspec.Struct, frozen=True):
    """Once after each reconnection: all missed events have come; from here on they are live."""

    id: str = ""


class RoomReach(msgspec.Struct, frozen=True):
    room_id: int
    last_seq: int


class CatchUp(msgspec.Struct, frozen=True):
    """You missed too many events: read each room's messages by page, until its ``last_seq`` appears."""

    rooms: tuple[RoomReach, ...]
    id: str = ""


class MessagePosted(msgspec.Struct, frozen=True):
    """The message as it was posted. If it has been deleted since, it has no text, and ``deleted`` is true."""

    message: Message
    id: str = ""


class MessageEdited(msgspec.Struct, frozen=True):
    message: Message
    id: str = ""


class MessageDeleted(msgspec.Struct, frozen=True):
    message: Message
    id: str = ""


class ReactionAdded(msgspec.Struct, frozen=True):
    """``count``: how many accounts have reacted to the message with this emoji now."""

    room_id: int
    seq: int
    account_id: int
    emoji: str
    count: int
    id: str = ""


class ReactionRemoved(msgspec.Struct, frozen=True):
    """Like ReactionAdded."""

    room_id: int
    seq: int
    account_id: int
    emoji: str
    count: int
    id: str = ""


class PinAdded(msgspec.Struct, frozen=True):
    """``account_id``: who has pinned the message."""

    room_id: int
    seq: int
    account_id: int
    id: str = ""


class PinRemoved(msgspec.Struct, frozen=True):
    """``account_id``: who has unpinned the message, or deleted it."""

    room_id: int
    seq: int
    account_id: int
    id: str = ""


class BookmarkSet(msgspec.Struct, frozen=True):
    """Your own, maybe on another device."""

    room_id: int
    seq: int
    note: str
    id: str = ""


class BookmarkRemoved(msgspec.Struct, frozen=True):
    """Your own, maybe on another device."""

    room_id: int
    seq: int
    id: str = ""


class ThreadStarted(msgspec.Struct, frozen=True):
    """``room_id``, ``seq``: the message that the thread belongs to."""

    room_id: int
    seq: int
    thread_id: int
    id: str = ""


class ThreadChanged(msgspec.Struct, frozen=True):
    """A thread that the account does not follow has a further message, ``last_seq``, by ``account_id``."""

    room_id: int
    seq: int
    thread_id: int
    last_seq: int
    last_at: datetime
    account_id: int
    id: str = ""


class RoomCreated(msgspec.Struct, frozen=True):
    room: Room
    id: str = ""


class RoomChanged(msgspec.Struct, frozen=True):
    room: Room
    id: str = ""


class RoomDeleted(msgspec.Struct, frozen=True):
    room: Room
    id: str = ""


class MemberJoined(msgspec.Struct, frozen=True):
    room_id: int
    account_id: int
    role: Role | None = None
    id: str = ""


class MemberChanged(msgspec.Struct, frozen=True):
    room_id: int
    account_id: int
    role: Role | None = None
    id: str = ""


class MemberLeft(msgspec.Struct, frozen=True):
    """If it is your account, no event of this room follows."""

    room_id: int
    account_id: int
    role: Role | None = None
    id: str = ""


class ReadMoved(ReadState, frozen=True):
    """The account's own read mark."""

    id: str = ""


class Typing(msgspec.Struct, frozen=True):
    """An account is typing now. It comes again every few seconds while that lasts, and may be lost."""

    room_id: int
    account_id: int
    id: str = ""


class Presence(msgspec.Struct, frozen=True):
    """An account that the stream watches comes online or goes offline. It may be late."""

    account_id: int
    online: bool
    id: str = ""


class AccountShown(msgspec.Struct, frozen=True):
    """The name, handle or title of an account that the stream watches has changed, or it was deactivated."""

    account_id: int
    name: str
    handle: str | None
    title: str
    deactivated: bool
    id: str = ""


class Receipts(msgspec.Struct, frozen=True):
    """How far an account has read a room. A signal: it may be lost."""

    room_id: int
    account_id: int
    read_seq: int
    id: str = ""


class Bye(msgspec.Struct, frozen=True):
    """The server closes the connection. There is nothing to do: the stream reconnects by itself."""

    reason: str
    retry_after_ms: int = 0
    id: str = ""


Event: TypeAlias = (
    Hello
    | Restarted
    | CaughtUp
    | CatchUp
    | MessagePosted
    | MessageEdited
    | MessageDeleted
    | ReactionAdded
    | ReactionRemoved
    | PinAdded
    | PinRemoved
    | BookmarkSet
    | BookmarkRemoved
    | ThreadStarted
    | ThreadChanged
    | RoomCreated
    | RoomChanged
    | RoomDeleted
    | MemberJoined
    | MemberChanged
    | MemberLeft
    | ReadMoved
    | Typing
    | Presence
    | AccountShown
    | Receipts
    | Bye
)


def read_event(name: str, data: bytes, id: str) -> Event | None:
    """None for a name that only a newer server knows. Raises msgspec.DecodeError."""
    read = _READERS.get(name)
    return None if read is None else read(data, id)


_Reader: TypeAlias = Callable[[bytes, str], Event]


def _itself(kind: type[_Itself]) -> _Reader:
    decode = msgspec.json.Decoder(kind).decode
    return lambda data, id: msgspec.structs.replace(decode(data), id=id)


def _of_message(kind: type[_OfMessage]) -> _Reader:
    decode = msgspec.json.Decoder(Message).decode
    return lambda data, id: kind(decode(data), id)


def _of_room(kind: type[_OfRoom]) -> _Reader:
    decode = msgspec.json.Decoder(Room).decode
    return lambda data, id: kind(decode(data), id)


_READERS: Final[dict[str, _Reader]] = {
    "hello": _itself(Hello),
    "caught_up": _itself(CaughtUp),
    "catch_up": _itself(CatchUp),
    "message.posted": _of_message(MessagePosted),
    "message.edited": _of_message(MessageEdited),
    "message.deleted": _of_message(MessageDeleted),
    "reaction.added": _itself(ReactionAdded),
    "reaction.removed": _itself(ReactionRemoved),
    "pin.added": _itself(PinAdded),
    "pin.removed": _itself(PinRemoved),
    "bookmark.set": _itself(BookmarkSet),
    "bookmark.removed": _itself(BookmarkRemoved),
    "thread.started": _itself(ThreadStarted),
    "thread.changed": _itself(ThreadChanged),
    "room.created": _of_room(RoomCreated),
    "room.changed": _of_room(RoomChanged),
    "room.deleted": _of_room(RoomDeleted),
    "member.joined": _itself(MemberJoined),
    "member.changed": _itself(MemberChanged),
    "member.left": _itself(MemberLeft),
    "read.moved": _itself(ReadMoved),
    "typing": _itself(Typing),
    "presence": _itself(Presence),
    "account": _itself(AccountShown),
    "receipts": _itself(Receipts),
    "bye": _itself(Bye),
}
