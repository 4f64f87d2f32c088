"""The messages of a room, each as the JSON that goes out, and how often the room's messages were changed.

Both are in one projection, so that a revision that is read never runs ahead of the messages: an edit is decided on the
message as its sender saw it at a revision, and a page's ETag rests on it.
"""

from typing import NamedTuple

from falcon.domain.events import Event, MessageDeleted, MessageEdited, MessagePosted
from falcon.domain.ids import RoomId, Seq
from falcon.domain.message import Message
from falcon.journal.envelope import Envelope
from falcon.read.timeline.messages import missing_message, row_of
from falcon.read.write import Write


class UpsertMessage(NamedTuple):
    """``message`` is the JSON that goes out."""

    room_id: RoomId
    seq: Seq
    message: bytes


class SetRevision(NamedTuple):
    """How many edits and deletions the room's messages have seen."""

    room_id: RoomId
    revision: int


def project(envelope: Envelope) -> tuple[Write, ...]:
    match envelope.event:
        case MessagePosted(message=message):
            return (UpsertMessage(message.room_id, message.seq, row_of(message)),)
        case MessageEdited(message=message, revision=revision) | MessageDeleted(message=message, revision=revision):
            put = UpsertMessage(message.room_id, message.seq, row_of(message))
            return (put, SetRevision(message.room_id, revision))
        case _:
            return ()


def passed_over(envelope: Envelope) -> tuple[Write, ...]:
    """Instead of ``project`` for an event that is skipped: its message is shown as one that is missing, so that pages
    have no hole, and no text stays that was edited or deleted. The revision moves on, or no edit could be decided."""
    match envelope.event:
        case MessagePosted(message=message):
            return (_missing(message),)
        case MessageEdited(message=message, revision=revision) | MessageDeleted(message=message, revision=revision):
            return (_missing(message), SetRevision(message.room_id, revision))
        case _:
            return ()


def _missing(message: Message) -> UpsertMessage:
    return UpsertMessage(message.room_id, message.seq, missing_message(message.room_id, message.seq, message.posted_at))


def loss(event: Event) -> str | None:
    """What is missing, or stays, when the event is passed over, in one line; None where it is not used."""
    match event:
        case MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return f"message {m.seq} of room {m.room_id} is shown as missing until it is edited or deleted"
        case _:
            return None
