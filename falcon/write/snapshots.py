"""Aggregates' states as bytes. A cache of the log, not a record: a new VERSION makes every older one void."""

from typing import Any, TypeAlias

import msgspec
from immutables import Map

from falcon.domain.account import Account
from falcon.domain.commands import Role
from falcon.domain.ids import AccountId, Millis
from falcon.domain.room import Member, Room

# Raise it whenever the shape of Room, Account, PartitionState or the answers changes: recovery then reads the log.
VERSION = 3

Aggregate: TypeAlias = Room | Account
AnswerRow: TypeAlias = tuple[AccountId, str, int, int, int, int, Millis]  # account, key; fields of Remembered


class PartitionState(msgspec.Struct, frozen=True):
    """What a partition keeps beside its aggregates: the last number given to a thing, and its clock.

    ``window_at``: its WindowTime; 0 in what was written before there was one.
    """

    counter: int = 0
    at: Millis = 0
    window_at: Millis = 0


class _RoomState(msgspec.Struct, frozen=True, tag="room", array_like=True):
    fields: tuple[Any, ...]
    members: list[tuple[int, Role, int]]


class _AccountState(msgspec.Struct, frozen=True, tag="account", array_like=True):
    fields: tuple[Any, ...]
    tokens: list[tuple[int, str]]
    directs: list[tuple[int, int]]


_encoder = msgspec.msgpack.Encoder()
_aggregates = msgspec.msgpack.Decoder(_RoomState | _AccountState)
_states = msgspec.msgpack.Decoder(PartitionState)
_answers = msgspec.msgpack.Decoder(list[AnswerRow])


def encode_aggregate(aggregate: Aggregate) -> bytes:
    if isinstance(aggregate, Account):
        fields = (aggregate.account_id, aggregate.name, aggregate.is_admin, aggregate.tokens_issued)
        return _encoder.encode(_AccountState(fields, list(aggregate.tokens.items()), list(aggregate.directs.items())))
    fields_of_room = (
        aggregate.room_id,
        aggregate.kind,
        aggregate.name,
        aggregate.description,
        aggregate.created_at,
        aggregate.last_seq,
        aggregate.revision,
        aggregate.changes,
        aggregate.forgotten,
        aggregate.imported,
        aggregate.deleted,
    )
    members = [(account_id, m.role, m.read_seq) for account_id, m in aggregate.members.items()]
    return _encoder.encode(_RoomState(fields_of_room, members))


def decode_aggregate(data: bytes) -> Aggregate:
    state = _aggregates.decode(data)
    if isinstance(state, _AccountState):
        account_id, name, is_admin, tokens_issued = state.fields
        return Account(account_id, name, is_admin, Map(state.tokens), tokens_issued, Map(state.directs))
    room_id, kind, name, description, created_at, last_seq, revision, changes, forgotten, imported, deleted = (
        state.fields
    )
    members = Map({account_id: Member(role, read_seq) for account_id, role, read_seq in state.members})
    return Room(
        room_id,
        kind,
        name,
        description,
        created_at,
        members,
        last_seq,
        revision,
        tuple((seq, at) for seq, at in changes),
        forgotten,
        imported,
        deleted,
    )


def encode_state(state: PartitionState) -> bytes:
    return _encoder.encode(state)


def decode_state(data: bytes) -> PartitionState:
    return _states.decode(data)


def encode_answers(answers: list[AnswerRow]) -> bytes:
    return _encoder.encode(answers)


def decode_answers(data: bytes) -> list[AnswerRow]:
    return _answers.decode(data)
