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
from falcon.journal.envelope import CommandRef, Envelope, Position, Recorded, aggregate_of
from falcon.journal.record import Record


class Undecodable(Exception):
    """The bytes are no event that this version of Falcon knows; the message says which and what to do.

    ``at``: where a reader stands before it. ``aggregate_id``: what it is about, as far as the log tells it beside the
    bytes; 0 where it does not.
    """

    def __init__(self, message: str, partition: Partition, at: Position, aggregate_id: int = 0) -> None:
        super().__init__(f"partition {partition}, offset {at.offset}: {message}")
        self.partition = partition
        self.at = at
        self.aggregate_id = aggregate_id


class _Data(msgspec.Struct, frozen=True, omit_defaults=True):
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
_data = msgspec.json.Decoder(_Data)


def encode(envelope: Envelope) -> Record:
    """The envelope but for its partition, epoch and n, which the log itself keeps."""
    event = envelope.event
    name, version = _NAMES[type(event)]
    body = msgspec.Raw(_encoder.encode(event))
    data = _encoder.encode(_Data(envelope.at, body, envelope.command, envelope.answer, envelope.trace))
    return Record(name, version, True, aggregate_of(event), data)


def decode(record: Record, partition: Partition, offset: int, epoch: int, n: int) -> Recorded:
    """Raises Undecodable."""
    known = _DECODERS.get((record.type, record.version))
    if known is None:
        raise Undecodable(_unknown(record), partition, Position(offset, epoch, n), record.key)
    try:
        data = _data.decode(record.data)
        event = known(data.event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = f"the record does not decode: {error}"
        raise Undecodable(why, partition, Position(offset, epoch, n), record.key) from error
    return Recorded(offset, Envelope(partition, epoch, n, data.at, event, data.command, data.answer, data.trace))


def _unknown(record: Record) -> str:
    if not record.type:
        return "the record does not decode: it does not say what it is"
    return (
        f"event {record.type}, version {record.version}, is unknown to this Falcon; "
        "it was written by a newer Falcon, so run that"
    )


def name_of(event: Event) -> str:
    """The event's name on the wire."""
    return _NAMES[type(event)][0]


def names_of(*events: type[Event]) -> frozenset[str]:
    """The names on the wire of these kinds of events."""
    return frozenset(_NAMES[event][0] for event in events)


def names() -> dict[str, int]:
    """Every event's name and its newest version."""
    return dict(_NAMES.values())
