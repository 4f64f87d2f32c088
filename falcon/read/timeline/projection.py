"""The messages of a room, each as the JSON that goes out, and how often the room's messages were changed.

Both are in one projection, so that a revision that is read never runs ahead of the messages: an edit is decided on the
message as its sender saw it at a revision, and a page's ETag rests on it.
"""

from falcon.domain.events import MessageDeleted, MessageEdited, MessagePosted
from falcon.domain.message import Message
from falcon.journal.envelope import Envelope
from falcon.read.store import PutMessage, SetRevision, Write
from falcon.read.timeline.messages import missing_message, row_of


def project(envelope: Envelope) -> tuple[Write, ...]:
    match envelope.event:
        case MessagePosted(message=message):
            return (PutMessage(message.room_id, message.seq, row_of(message)),)
        case MessageEdited(message=message, revision=revision) | MessageDeleted(message=message, revision=revision):
            put = PutMessage(message.room_id, message.seq, row_of(message))
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


def _missing(message: Message) -> PutMessage:
    return PutMessage(message.room_id, message.seq, missing_message(message.room_id, message.seq, message.posted_at))
