"""Events as bytes, for ever.

The names and versions on the wire are written here and nowhere else. To change an event's shape: give it the next
version below, keep the old shape as a private struct with an upcaster, and add a sample of it to ``tests/history``;
the samples that are there must decode for ever.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from falcon.domain import events
from falcon.domain.answers import Answer
from falcon.domain.events import Event
from falcon.domain.ids import Millis, Partition
from falcon.domain.rejections import Rejection
from falcon.journal.envelope import CommandRef, Envelope, Position, Recorded


class Undecodable(Exception):
    """The bytes are no event that this version of Falcon knows; the message says which and what to do.

    ``at``: where a reader stands before it. ``aggregate_id``: what it is about, as far as the log tells it beside the
    bytes; 0 where it does not.
    """

    def __init__(self, message: str, partition: Partition, at: Position) -> None:
        super().__init__(f"partition {partition}, offset {at.offset}: {message}")
        self.partition = partition
        self.at = at
        self.aggregate_id = 0


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    version: int
    at: Millis
    event: msgspec.Raw
    command: CommandRef | None = None
    answer: Answer | Rejection | None = None
    trace: str | None = None


_NAMES: Final[dict[type[Any], tuple[str, int]]] = {
    events.RoomCreated: ("room-created", 1),
    events.RoomChanged: ("room-changed", 1),
    events.RoomDeleted: ("room-deleted", 1),
    events.MemberJoined: ("member-joined", 1),
    events.MemberChanged: ("member-changed", 1),
    events.MemberLeft: ("member-left", 1),
    events.MessagePosted: ("message-posted", 1),
    events.MessageEdited: ("message-edited", 1),
    events.MessageDeleted: ("message-deleted", 1),
    events.ReadMoved: ("read-moved", 1),
    events.AccountCreated: ("account-created", 1),
    events.TokenIssued: ("token-issued", 1),
    events.TokenRevoked: ("token-revoked", 1),
    events.DirectRoomOpened: ("direct-room-opened", 1),
    events.CommandAnswered: ("command-answered", 1),
}

_DECODERS: Final[dict[tuple[str, int], Callable[[msgspec.Raw], Event]]] = {
    name: msgspec.json.Decoder(event_type).decode for event_type, name in _NAMES.items()
}
# An older version's entry is its own decoder followed by its upcaster:
#   _DECODERS["message-posted", 1] = lambda raw: _from_v1(msgspec.json.decode(raw, type=_MessagePostedV1))

_encoder = msgspec.json.Encoder()
_records = msgspec.json.Decoder(_Record)


def encode(envelope: Envelope) -> bytes:
    """The envelope but for its partition, epoch and n, which the log itself keeps."""
    name, version = _NAMES[type(envelope.event)]
    body = msgspec.Raw(_encoder.encode(envelope.event))
    return _encoder.encode(_Record(name, version, envelope.at, body, envelope.command, envelope.answer, envelope.trace))


def decode(data: bytes, partition: Partition, offset: int, epoch: int, n: int) -> Recorded:
    """Raises Undecodable."""
    try:
        record = _records.decode(data)
        event = _DECODERS[record.type, record.version](record.event)
    except KeyError as unknown:
        raise Undecodable(
            f"event {unknown} is unknown to this version of Falcon; it was written by a newer one, so run that",
            partition,
            Position(offset, epoch, n),
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"the record does not decode: {error}", partition, Position(offset, epoch, n)) from error
    return Recorded(
        offset, Envelope(partition, epoch, n, record.at, event, record.command, record.answer, record.trace)
    )


def name_of(event: Event) -> str:
    """The event's name on the wire."""
    return _NAMES[type(event)][0]


def names() -> dict[str, int]:
    """Every event's name and its newest version."""
    return dict(_NAMES.values())
