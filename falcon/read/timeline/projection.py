"""The messages of a room, each as the JSON for clients, and the number of changes to the room's messages.

One projection writes both, so that a revision never runs ahead of the messages: an edit is decided on the message as
its sender saw it at a revision, and a page's ETag rests on it.
"""

from typing import NamedTuple

from falcon.domain.catalogue import Event
from falcon.domain.events import MessageDeleted, MessageEdited, MessagePosted
from falcon.domain.ids import RoomId, Seq
from falcon.domain.message import Message
from falcon.journal.envelope import Envelope
from falcon.read.timeline.messages import missing_message, row_of
from falcon.read.write import Write


class UpsertMessage(NamedTuple):
    """``message`` is the JSON for clients."""

    room_id: RoomId
    seq: Seq
    message: bytes


class SetRevision(NamedTuple):
    """The number of edits and deletions in the room so far."""

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
    """The writes for a skipped event. Its message is shown as missing, so that pages have no hole, and no text stays
    that was edited or deleted. The revision moves on, since no edit could be decided otherwise."""
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
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return f"message {m.seq} of room {m.room_id} is shown as missing until it is edited or deleted"
        case _:
            return None
