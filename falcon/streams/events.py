"""The events of the stream that come from the log: when each is sent, and its data.

An event that all members of its room see in the same way is declared here alone: ``TO_THE_ROOM`` says what it is made
of. ``delivery`` knows the others by their type.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from falcon.domain.commands import Role, RoomKind
from falcon.domain.events import (
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
)
from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.domain.reactions import ReactionAdded, ReactionRemoved


class StreamEvent(msgspec.Struct, frozen=True):
    """``sent``: when it is sent. ``data``: the type of its data. ``signal``: asked for by name, best effort."""

    name: str
    sent: str
    data: Any
    signal: bool = False


# --- messages ---------------------------------------------------------------------------------------------------------


class StreamedMessage(msgspec.Struct, frozen=True, gc=False):
    room_id: RoomId
    seq: Seq
    author_id: AccountId
    text: str
    posted_at: str
    edited_at: str | None
    deleted: bool
    reply_to: Seq | None
    mentions: tuple[AccountId, ...]


MESSAGES: Final = {
    MessagePosted: StreamEvent("message.posted", "A message is posted.", StreamedMessage),
    MessageEdited: StreamEvent(
        "message.edited", "Its author edits a message. The data are the message as it is now.", StreamedMessage
    ),
    MessageDeleted: StreamEvent(
        "message.deleted", "A message is deleted. The data are the message without text.", StreamedMessage
    ),
}


# --- reactions --------------------------------------------------------------------------------------------------------


class StreamedReaction(msgspec.Struct, frozen=True):
    """``count``: how many accounts have reacted with the emoji now."""

    room_id: RoomId
    seq: Seq
    account_id: AccountId
    emoji: str
    count: int


def _reaction(event: ReactionAdded | ReactionRemoved) -> StreamedReaction:
    return StreamedReaction(event.room_id, event.seq, event.account_id, event.emoji, event.count)


_REACTION_ADDED: Final = StreamEvent("reaction.added", "A member reacts to a message.", StreamedReaction)
_REACTION_REMOVED: Final = StreamEvent("reaction.removed", "A reaction to a message is removed.", StreamedReaction)


# --- rooms ------------------------------------------------------------------------------------------------------------


class StreamedRoom(msgspec.Struct, frozen=True):
    """A room as one member sees it. ``role`` is this member's."""

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    role: Role
    last_seq: Seq
    created_at: str


ROOM_CREATED: Final = StreamEvent(
    "room.created", "A room of yours is created, or another account opens a direct room with you.", StreamedRoom
)
ROOM_CHANGED: Final = StreamEvent("room.changed", "The name or the description of a room changes.", StreamedRoom)
ROOM_DELETED: Final = StreamEvent("room.deleted", "A room is deleted. No event of this room follows.", StreamedRoom)


# --- members ----------------------------------------------------------------------------------------------------------


class StreamedMember(msgspec.Struct, frozen=True):
    room_id: RoomId
    account_id: AccountId
    role: Role | None


def _member(event: MemberJoined | MemberChanged | MemberLeft) -> StreamedMember:
    return StreamedMember(event.room_id, event.account_id, event.role)


_MEMBER_JOINED: Final = StreamEvent(
    "member.joined", "An account joins a room. If it is you, read the room.", StreamedMember
)
_MEMBER_CHANGED: Final = StreamEvent("member.changed", "The role of a member changes.", StreamedMember)
_MEMBER_LEFT: Final = StreamEvent(
    "member.left",
    "An account leaves a room or is removed. If it is you, no event of this room follows.",
    StreamedMember,
)


# --- read marks -------------------------------------------------------------------------------------------------------


class StreamedReadMark(msgspec.Struct, frozen=True):
    room_id: RoomId
    read_seq: Seq
    unread: int
    mentions: int


READ_MOVED: Final = StreamEvent("read.moved", "Your own read mark moves, maybe on another device.", StreamedReadMark)


# --- all --------------------------------------------------------------------------------------------------------------


class InARoom(Protocol):
    @property
    def room_id(self) -> RoomId: ...


class ToTheRoom(msgspec.Struct, frozen=True):
    """``data``: what the stream shows of the event; the same for everybody in the room."""

    event: StreamEvent
    data: Callable[[Any], msgspec.Struct]


TO_THE_ROOM: Final[Mapping[type[InARoom], ToTheRoom]] = {
    ReactionAdded: ToTheRoom(_REACTION_ADDED, _reaction),
    ReactionRemoved: ToTheRoom(_REACTION_REMOVED, _reaction),
    MemberJoined: ToTheRoom(_MEMBER_JOINED, _member),
    MemberChanged: ToTheRoom(_MEMBER_CHANGED, _member),
    MemberLeft: ToTheRoom(_MEMBER_LEFT, _member),
}
# In the order in which the documents show them.
LOGGED_EVENTS: Final = (
    *MESSAGES.values(),
    _REACTION_ADDED,
    _REACTION_REMOVED,
    ROOM_CREATED,
    ROOM_CHANGED,
    ROOM_DELETED,
    _MEMBER_JOINED,
    _MEMBER_CHANGED,
    _MEMBER_LEFT,
    READ_MOVED,
)
