"""The messages of a room, each as the JSON that goes out."""

import msgspec

from falcon.domain.events import MessageDeleted, MessageEdited, MessagePosted
from falcon.journal.envelope import Envelope
from falcon.read.store import PutMessage, Write

_encode = msgspec.json.Encoder().encode


def project(envelope: Envelope) -> tuple[Write, ...]:
    match envelope.event:
        case MessagePosted(message=message) | MessageEdited(message=message) | MessageDeleted(message=message):
            return (PutMessage(message.room_id, message.seq, _encode(message)),)
        case _:
            return ()
