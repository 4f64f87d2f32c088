"""States of aggregates as bytes. They are a cache of the log: a new VERSION makes all older ones void."""

from operator import attrgetter
from typing import Any, Final, TypeAlias, assert_never

import msgspec
from immutables import Map

from falcon.domain.account import Account
from falcon.domain.commands import Role
from falcon.domain.ids import AccountId, Millis, RoomId, Seq
from falcon.domain.room import Member, Room

# Raise it whenever the fields of Room, Account, PartitionState or the answers change: recovery then reads the log.
VERSION: Final = 4

Aggregate: TypeAlias = Room | Account
AnswerRow: TypeAlias = tuple[
    AccountId, str, int, int, int, int, Millis
]  # account, key, fingerprint; fields of Remembered


class PartitionState(msgspec.Struct, frozen=True):
    """The state of a partition beside its aggregates: how many ids it has given out, and its clock.

    ``window_at``: its WindowTime; 0 in what was written before there was one.
    """

    counter: int = 0
    at: Millis = 0
    window_at: Millis = 0


# Written beside the other fields, as lists of their entries.
_MAPS: Final = ("members", "tokens", "directs")


def _row_of(aggregate: type[msgspec.Struct]) -> Any:
    """A struct of an aggregate's fields that are no Map, in their order, written as an array."""
    fields = [
        (field.name, field.type, msgspec.field(default=field.default))
        for field in msgspec.structs.fields(aggregate)
        if field.name not in _MAPS
    ]
    return msgspec.defstruct(f"{aggregate.__name__}Row", fields, array_like=True, frozen=True)


_RoomRow = _row_of(Room)
_AccountRow = _row_of(Account)
_room_fields = attrgetter(*_RoomRow.__struct_fields__)
_account_fields = attrgetter(*_AccountRow.__struct_fields__)


class _RoomState(msgspec.Struct, frozen=True, tag="room", array_like=True):
    row: _RoomRow  # type: ignore[valid-type]
    members: list[tuple[AccountId, Role, Seq]]


class _AccountState(msgspec.Struct, frozen=True, tag="account", array_like=True):
    row: _AccountRow  # type: ignore[valid-type]
    tokens: list[tuple[int, str]]
    directs: list[tuple[AccountId, RoomId]]


_encoder = msgspec.msgpack.Encoder()
_aggregates = msgspec.msgpack.Decoder(_RoomState | _AccountState)
_states = msgspec.msgpack.Decoder(PartitionState)
_answers = msgspec.msgpack.Decoder(list[AnswerRow])


def encode_aggregate(aggregate: Aggregate) -> bytes:
    match aggregate:
        case Account():
            row = _AccountRow(*_account_fields(aggregate))
            state = _AccountState(row, list(aggregate.tokens.items()), list(aggregate.directs.items()))
            return _encoder.encode(state)
        case Room():
            row = _RoomRow(*_room_fields(aggregate))
            members = [(account_id, m.role, m.read_seq) for account_id, m in aggregate.members.items()]
            return _encoder.encode(_RoomState(row, members))
        case _:
            assert_never(aggregate)


def decode_aggregate(data: bytes) -> Aggregate:
    state = _aggregates.decode(data)
    match state:
        case _AccountState(row=row):
            return Account(**msgspec.structs.asdict(row), tokens=Map(state.tokens), directs=Map(state.directs))
        case _RoomState(row=row):
            members = Map({account_id: Member(role, read_seq) for account_id, role, read_seq in state.members})
            return Room(**msgspec.structs.asdict(row), members=members)
        case _:
            assert_never(state)


def encode_state(state: PartitionState) -> bytes:
    return _encoder.encode(state)


def decode_state(data: bytes) -> PartitionState:
    return _states.decode(data)


def encode_answers(answers: list[AnswerRow]) -> bytes:
    return _encoder.encode(answers)


def decode_answers(data: bytes) -> list[AnswerRow]:
    return _answers.decode(data)
