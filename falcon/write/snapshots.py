"""States of aggregates as bytes. They are a cache of the log: a change of VERSION discards all stored states.

What a feature keeps of a room has a version of its own. A room that was stored without it has nothing of the feature,
unless its owner has passed over an event: then it, and one that was stored with another version of it, is void.

An aggregate is a head and, if it is large, parts: its members or direct rooms, some in a record of their own.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, assert_never

import msgspec
from immutables import Map

from falcon.domain import limits
from falcon.domain.ids import AccountId, Millis, RoomId, Seq
from falcon.domain.parted_map import IdMap, Part, PartedMap, id_map
from falcon.features.accounts.rules import Account
from falcon.features.catalogue import modules
from falcon.features.rooms.rules import Member, Role, Room
from falcon.journal import codec
from falcon.write.answers import Remembered
from falcon.write.state_version import version_of

Aggregate: TypeAlias = Room | Account
AnswerRow: TypeAlias = tuple[
    AccountId, str, int, int, int, int, Millis
]  # account, key, fingerprint; fields of Remembered
ReadPart: TypeAlias = Callable[[str], bytes]  # the bytes of the part that is stored under this name
_Decoded = TypeVar("_Decoded")


class PartMissing(Exception):
    """The store does not have a part that a head counts on, or has a state that is damaged. The log has all of it."""


class PartitionState(msgspec.Struct, frozen=True):
    """The state of a partition beside its aggregates: how many ids it has given out, and its clock.

    ``window_at``: its WindowTime. ``unknown``: the kinds of events that owners of older versions have passed over, so
    that their states lack what these have changed.
    """

    counter: int = 0
    at: Millis = 0
    window_at: Millis = 0
    unknown: tuple[str, ...] = ()


class StoredParts(msgspec.Struct, frozen=True, array_like=True):
    """The parts that a head counts on. All of them were written in the head's ``epoch``.

    Each part has two names in turn, ``slots`` has which. The other is free for the next head, which is never mixed with
    this one: if a crash comes between parts and head, this head still has its own. An epoch's names are no other
    epoch's, so no deposed owner can change what a head counts on.
    """

    epoch: int
    size: int
    slots: bytes

    def names(self, identity: int) -> list[str]:
        return [f"{parts_of(identity)}{self.epoch:019d}:{place}:{slot}" for place, slot in enumerate(self.slots)]


def head_of(identity: int) -> str:
    return f"aggregate:{identity}"


def parts_of(identity: int, before_epoch: int | None = None) -> str:
    """The beginning of the names of an aggregate's parts; or the name after those of earlier epochs."""
    return f"part:{identity}:" + ("" if before_epoch is None else f"{before_epoch:019d}")


# Maps are written beside the other fields, as lists of their entries; the last mention is not written.
_NOT_IN_ROW: Final = ("members", "tokens", "directs", "last_mention", "features")


def _row_of(aggregate: type[msgspec.Struct]) -> Any:
    """A struct of an aggregate's other fields, in their order, written as an array."""
    fields = [
        (field.name, field.type, msgspec.field(default=field.default))
        for field in msgspec.structs.fields(aggregate)
        if field.name not in _NOT_IN_ROW
    ]
    return msgspec.defstruct(f"{aggregate.__name__}Row", fields, array_like=True, frozen=True)


_RoomRow = _row_of(Room)
_AccountRow = _row_of(Account)
_room_fields = attrgetter(*_RoomRow.__struct_fields__)
_account_fields = attrgetter(*_AccountRow.__struct_fields__)

_MemberRow: TypeAlias = tuple[AccountId, Role, Seq]
_DirectRow: TypeAlias = tuple[AccountId, RoomId]


class _RoomState(msgspec.Struct, frozen=True, tag="room", array_like=True):
    """``members``: none if they are in ``parts``. ``features``: the name, version and state of each that has one.
    ``unknown`` as in PartitionState."""

    row: _RoomRow  # type: ignore[valid-type]
    members: list[_MemberRow]
    parts: StoredParts | None = None
    features: list[tuple[str, int, bytes]] = []
    unknown: tuple[str, ...] = ()


class _AccountState(msgspec.Struct, frozen=True, tag="account", array_like=True):
    """``directs``: none if they are in ``parts``."""

    row: _AccountRow  # type: ignore[valid-type]
    tokens: list[tuple[int, str]]
    directs: list[_DirectRow]
    parts: StoredParts | None = None


# Raise it if the same fields mean something else: recovery then reads the log.
_MEANING: Final = 1
VERSION: Final = version_of(
    (_RoomState, _AccountState, Member, PartitionState, AnswerRow, Remembered),
    _MEANING,
    limits.MEMBERS_IN_PART,
    limits.DIRECTS_IN_PART,
)


class _StoredFeature(NamedTuple):
    version: int
    decoder: "msgspec.msgpack.Decoder[Any]"


_FEATURES: Final = {
    state.name: _StoredFeature(version_of([state.kind], state.meaning), msgspec.msgpack.Decoder(state.kind))
    for state in (rules.STATE for rules in modules("rules") if hasattr(rules, "STATE"))
}

_encoder = msgspec.msgpack.Encoder()
_aggregates = msgspec.msgpack.Decoder(_RoomState | _AccountState)
_members = msgspec.msgpack.Decoder(list[_MemberRow])
_directs = msgspec.msgpack.Decoder(list[_DirectRow])
_states = msgspec.msgpack.Decoder(PartitionState)
_answers = msgspec.msgpack.Decoder(list[AnswerRow])


def parted(aggregate: Aggregate) -> "PartedMap[Any] | None":
    """The map of a large aggregate; None if it is small."""
    entries: IdMap[Any] = aggregate.members if isinstance(aggregate, Room) else aggregate.directs
    return entries if isinstance(entries, PartedMap) else None


def encode_aggregate(aggregate: Aggregate, parts: StoredParts | None = None, unknown: tuple[str, ...] = ()) -> bytes:
    """The aggregate's head. ``parts`` have its members or direct rooms; without parts the head has these too.
    ``unknown`` as in PartitionState."""
    match aggregate:
        case Account():
            row = _AccountRow(*_account_fields(aggregate))
            directs = list(aggregate.directs.items()) if parts is None else []
            return _encoder.encode(_AccountState(row, list(aggregate.tokens.items()), directs, parts))
        case Room():
            row = _RoomRow(*_room_fields(aggregate))
            members = _member_rows(aggregate.members.items()) if parts is None else []
            features = [
                (name, _FEATURES[name].version, _encoder.encode(state)) for name, state in aggregate.features.items()
            ]
            return _encoder.encode(_RoomState(row, members, parts, features, unknown))
        case _:
            assert_never(aggregate)


def encode_part(aggregate: Aggregate, part: "Part[Any]") -> bytes:
    entries = part.entries.items()
    return _encoder.encode(_member_rows(entries) if isinstance(aggregate, Room) else list(entries))


def decode_part(aggregate: type[Aggregate], data: bytes) -> "Map[int, Any]":
    if aggregate is Room:
        rows = _decoded(_members, data)
        return Map(_entries(rows))
    return Map(_decoded(_directs, data))


def decode_aggregate(data: bytes, read: ReadPart) -> Aggregate:
    """Parts are read when their entries are first needed. Raises PartMissing, as each of these decoders."""
    state = _decoded(_aggregates, data)
    match state:
        case _AccountState(row=row):
            fields = msgspec.structs.asdict(row)
            directs = _parted(state.directs, limits.DIRECTS_IN_PART, state.parts, Account, fields["account_id"], read)
            return Account(**fields, tokens=Map(state.tokens), directs=directs)
        case _RoomState(row=row):
            check_known(state.unknown)
            fields = msgspec.structs.asdict(row)
            members = _parted(
                _entries(state.members), limits.MEMBERS_IN_PART, state.parts, Room, fields["room_id"], read
            )
            features = Map({name: _feature(name, version, data) for name, version, data in state.features})
            return Room(**fields, members=members, last_mention=fields["last_seq"], features=features)
        case _:
            assert_never(state)


def _feature(name: str, version: int, data: bytes) -> msgspec.Struct:
    known = _FEATURES.get(name)
    if known is None or known.version != version:
        raise PartMissing(f"a stored room has {name} as another version of Falcon keeps them")
    state: msgspec.Struct = _decoded(known.decoder, data)
    return state


def check_known(unknown: Iterable[str]) -> None:
    """Raises PartMissing if a state lacks events that this version of Falcon knows."""
    lacking = codec.KINDS.intersection(unknown)
    if lacking:
        raise PartMissing(f"a stored state was made by a Falcon that passed over {', '.join(sorted(lacking))}")


def _parted(
    entries: Iterable[tuple[int, Any]],
    most: int,
    parts: StoredParts | None,
    aggregate: type[Aggregate],
    identity: int,
    read: ReadPart,
) -> "IdMap[Any]":
    if parts is None:
        return id_map(most, entries)

    def stored(name: str) -> "Part[Any]":
        return Part(read=lambda: decode_part(aggregate, read(name)), stored=name)

    return PartedMap(most, tuple(map(stored, parts.names(identity))), parts.size)


def decode_parts(data: bytes) -> StoredParts | None:
    """The places of a head's parts; None if the head has all entries itself."""
    state: _RoomState | _AccountState = _decoded(_aggregates, data)
    return state.parts


def _member_rows(entries: Iterable[tuple[AccountId, Member]]) -> list[_MemberRow]:
    return [(account_id, member.role, member.read_seq) for account_id, member in entries]


def _entries(rows: Iterable[_MemberRow]) -> Iterable[tuple[AccountId, Member]]:
    return ((account_id, Member(role, read_seq)) for account_id, role, read_seq in rows)


def encode_state(state: PartitionState) -> bytes:
    return _encoder.encode(state)


def decode_state(data: bytes) -> PartitionState:
    return _decoded(_states, data)


def encode_answers(answers: list[AnswerRow]) -> bytes:
    return _encoder.encode(answers)


def decode_answers(data: bytes) -> list[AnswerRow]:
    return _decoded(_answers, data)


def decode_identity(data: bytes) -> int:
    """The id of an imported room or account. Raises PartMissing."""
    try:
        return int(data)
    except ValueError as error:
        raise _damaged(error) from error


def _decoded(decoder: "msgspec.msgpack.Decoder[_Decoded]", data: bytes) -> _Decoded:
    try:
        return decoder.decode(data)
    except ValueError as error:  # msgspec's own errors, and of text that is not UTF-8
        raise _damaged(error) from error


def _damaged(error: ValueError) -> PartMissing:
    return PartMissing(f"a stored state is damaged: {error}")
