"""Every event of the stream in one table, with the type that it is sent from: the AsyncAPI document is made from it."""

from typing import Any, Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.http.shapes import RoomSummary
from falcon.streams import frames, signals


class Hello(msgspec.Struct, frozen=True):
    """The state that the events after it continue. ``truncated``: there are more rooms; read them by page."""

    account_id: AccountId
    rooms: list[RoomSummary]
    truncated: bool


class CaughtUp(msgspec.Struct, frozen=True):
    """No fields."""


class RoomReach(msgspec.Struct, frozen=True):
    """How far the history of a room goes."""

    room_id: RoomId
    last_seq: Seq


class CatchUp(msgspec.Struct, frozen=True):
    rooms: list[RoomReach]


class StreamEvent(msgspec.Struct, frozen=True):
    """``sent``: when it is sent. ``data``: the type of its data. ``signal``: asked for by name, best effort."""

    name: str
    sent: str
    data: Any
    signal: bool = False


STREAM_EVENTS: Final = (
    StreamEvent("hello", "First, on a stream that does not resume.", Hello),
    StreamEvent("caught_up", "All missed events have been sent; from here on events are live.", CaughtUp),
    StreamEvent("catch_up", "You missed too much. Read each room by page, until its last_seq has come.", CatchUp),
    StreamEvent("message.posted", "A message is posted.", frames.StreamedMessage),
    StreamEvent(
        "message.edited", "Its author edits a message. The data are the message as it is now.", frames.StreamedMessage
    ),
    StreamEvent(
        "message.deleted", "A message is deleted. The data are the message without text.", frames.StreamedMessage
    ),
    StreamEvent("reaction.added", "A member reacts to a message.", frames.StreamedReaction),
    StreamEvent("reaction.removed", "A reaction to a message is removed.", frames.StreamedReaction),
    StreamEvent(
        "room.created",
        "A room of yours is created, or another account opens a direct room with you.",
        frames.StreamedRoom,
    ),
    StreamEvent("room.changed", "The name or the description of a room changes.", frames.StreamedRoom),
    StreamEvent("room.deleted", "A room is deleted. No event of this room follows.", frames.StreamedRoom),
    StreamEvent("member.joined", "An account joins a room. If it is you, read the room.", frames.StreamedMember),
    StreamEvent("member.changed", "The role of a member changes.", frames.StreamedMember),
    StreamEvent(
        "member.left",
        "An account leaves a room or is removed. If it is you, no event of this room follows.",
        frames.StreamedMember,
    ),
    StreamEvent("read.moved", "Your own read mark moves, maybe on another device.", frames.StreamedReadMark),
    StreamEvent("typing", "A member is typing. Forget it after six seconds.", signals.TypingShown, signal=True),
    StreamEvent(
        "presence",
        "An account that the stream watches comes online or goes offline.",
        signals.PresenceShown,
        signal=True,
    ),
    StreamEvent(
        "bye", "The server closes this stream. Reconnect with the last id after retry_after_ms.", frames.StreamEnd
    ),
)
