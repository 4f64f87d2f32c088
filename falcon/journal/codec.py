"""Encodes and decodes records of the log. ``shapes`` fixes for ever how each event is written."""

from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from typing import Any, Final, Generic, TypeVar

import msgspec

from falcon.domain.events import PassedOver
from falcon.domain.ids import NOBODY, AccountId, Millis, Partition
from falcon.domain.rejections import Rejection
from falcon.features.catalogue import Answer, Event, modules
from falcon.journal.envelope import CommandRef, Envelope, Position, Recorded, UnknownAnswer, aggregate_of
from falcon.journal.record import Record
from falcon.journal.shapes import answers, refusals
from falcon.journal.shapes.shape import Shape

E = TypeVar("E")

_NO_ANSWER: Final = msgspec.Raw()


class Undecodable(Exception):
    """The bytes are no event that this version of Falcon knows. The message says which one, and what to do.

    ``at``: the position of a reader before it. ``aggregate_id``: what it is about, if the log tells it beside the
    bytes; 0 otherwise.
    """

    def __init__(self, message: str, partition: Partition, at: Position, aggregate_id: int = 0) -> None:
        super().__init__(f"partition {partition}, offset {at.offset}: {message}")
        self.partition = partition
        self.at = at
        self.aggregate_id = aggregate_id


class _Command(msgspec.Struct, frozen=True, gc=False):
    account_id: int
    key: str
    fingerprint: int


class _Data(msgspec.Struct, Generic[E], frozen=True, omit_defaults=True):
    """An event of any shape with its circumstances. These belong to the format: they do not change with a version."""

    at: Millis
    by: AccountId
    event: E
    command: _Command | None = None
    answer: msgspec.Raw = _NO_ANSWER  # only this very object is left out of the bytes
    trace: str | None = None


class _Named(msgspec.Struct, frozen=True):
    type: str


class _Authored(msgspec.Struct, frozen=True):
    author_id: AccountId = NOBODY


class _AccountOfEvent(msgspec.Struct, frozen=True):
    account_id: AccountId = NOBODY
    message: _Authored = _Authored()


class _AboutAccount(msgspec.Struct, frozen=True):
    event: _AccountOfEvent


class _Reading(msgspec.Struct, frozen=True):
    decode: Callable[[bytes], _Data[Any]]
    restore: Callable[[Any], Event]


def _newest(shapes: Iterable[Shape[Any, Any]]) -> dict[type[Any], Shape[Any, Any]]:
    return {shape.value: shape for shape in shapes}


_LOGS: Final = modules("log")
_EVENTS: Final[list[Shape[Any, Any]]] = [shape for log in _LOGS for shape in log.EVENTS]
_ANSWERS: Final[list[Shape[Any, Any]]] = [
    *(shape for log in _LOGS for shape in log.ANSWERS),
    *answers.ANSWERS,
    *refusals.REFUSALS,
]

_WRITTEN: Final = _newest(_EVENTS)
_READ: Final = {
    (shape.name, shape.version): _Reading(
        msgspec.json.Decoder(_Data[shape.stored]).decode,  # type: ignore[name-defined]
        shape.restore,
    )
    for shape in _EVENTS
}
KINDS: Final = frozenset(f"{name}.v{version}" for name, version in _READ)  # of events that this Falcon knows
_ANSWERS_WRITTEN: Final = _newest(_ANSWERS)
_ANSWERS_READ: Final[dict[type[Any], Callable[[Any], Answer | Rejection]]] = {
    shape.stored: shape.restore for shape in _ANSWERS
}

_ANSWER_NAMES: Final = {f"{shape.name}.v{shape.version}": shape for shape in _ANSWERS}

_encode: Final = msgspec.json.Encoder().encode
_decode_any: Final = msgspec.json.Decoder(_Data[msgspec.Raw]).decode
_decode_account: Final = msgspec.json.Decoder(_AboutAccount).decode
_decode_name: Final = msgspec.json.Decoder(_Named).decode
_decode_answer: Final = msgspec.json.Decoder(reduce(or_, _ANSWERS_READ)).decode


def encode(envelope: Envelope) -> Record:
    """The envelope without its partition, epoch and n, which the log itself keeps."""
    event, command = envelope.event, envelope.command
    shape = _WRITTEN[type(event)]
    data = _encode(
        _Data(
            envelope.at,
            envelope.by,
            shape.store(event),
            None if command is None else _Command(command.account_id, command.key, command.fingerprint),
            _NO_ANSWER
            if envelope.answer is None
            else msgspec.Raw(_encode(_ANSWERS_WRITTEN[type(envelope.answer)].store(envelope.answer))),
            envelope.trace,
        )
    )
    return Record(shape.name, shape.version, shape.critical, aggregate_of(event), data)


def decode(record: Record, partition: Partition, offset: int, epoch: int, n: int) -> Recorded:
    """Raises Undecodable."""
    reading = _READ.get((record.type, record.version))
    if reading is None:
        if record.critical or not record.type:
            raise Undecodable(_unknown(record), partition, Position(offset, epoch, n), record.key)
        reading = _Reading(_decode_any, lambda _: PassedOver(record.type, record.version))
    try:
        data = reading.decode(record.data)
        answer = _answer(data.answer) if data.answer else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = f"the record does not decode: {error}"
        raise Undecodable(why, partition, Position(offset, epoch, n), record.key) from error
    command = data.command
    reference = None if command is None else CommandRef(command.account_id, command.key, command.fingerprint)
    event = reading.restore(data.event)
    return Recorded(offset, Envelope(partition, epoch, n, data.at, event, reference, answer, data.trace, data.by))


def account_of(record: Record) -> AccountId:
    """The ``account_id`` of the event, or the author of its message; NOBODY if it has neither. Nothing else is
    decoded."""
    try:
        event = _decode_account(record.data).event
        return event.account_id or event.message.author_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOBODY


def _answer(data: msgspec.Raw) -> Answer | Rejection | UnknownAnswer:
    name = _decode_name(data).type
    if name not in _ANSWER_NAMES:
        return UnknownAnswer(name)
    stored = _decode_answer(data)
    return _ANSWERS_READ[type(stored)](stored)


def _unknown(record: Record) -> str:
    if not record.type:
        return "the record does not decode: it does not say what it is"
    return (
        f"event {record.type}, version {record.version}, is unknown to this Falcon; "
        "it was written by a newer Falcon, so run that"
    )


def name_of(event: Event) -> str:
    """The event's name in the log."""
    if isinstance(event, PassedOver):
        return event.name
    return _WRITTEN[type(event)].name


def names_of(*events: type[Event]) -> frozenset[str]:
    """The names of these kinds of events in the log."""
    return frozenset(_WRITTEN[event].name for event in events)


def names() -> dict[str, int]:
    """The name of every event and its newest version."""
    return {shape.name: shape.version for shape in _WRITTEN.values()}
