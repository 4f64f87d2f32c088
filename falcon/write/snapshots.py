"""States of aggregates as bytes. They are a cache of the log: a change of VERSION discards all stored states.

What a feature keeps of a room or account has a version of its own. One that was stored without it has nothing of the
feature, unless its owner has passed over an event: then it is void, as is one with another version of the feature.

An aggregate is a head and, if it is large, parts: its entries (members or direct rooms), some in a record of their own.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from operator import attrgetter, or_
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec
from immutables import Map

from falcon.domain.aggregates import AggregateKind
from falcon.domain.ids import AccountId, Millis
from falcon.domain.parted_map import IdMap, Part, PartedMap, id_map
from falcon.features.catalogue import AGGREGATES, modules
from falcon.journal import codec
from falcon.write.answers import Remembered
from falcon.write.state_version import version_of

Aggregate: TypeAlias = msgspec.Struct  # a state of one of the kinds in AGGREGATES
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


class _Kind:
    """How aggregates of a kind are stored: the fields of a state as one array, in their order, and its map of entries
    as a list beside it. ``head``: what has both."""

    def __init__(self, kind: AggregateKind) -> None:
        self.kind = kind
        fields = msgspec.structs.fields(kind.state)
        beside = {"features", kind.entries, *kind.restored}
        self.row = msgspec.defstruct(
            f"{kind.state.__name__}Row",
            [(field.name, field.type) for field in fields if field.name not in beside],
            array_like=True,
            frozen=True,
        )
        names = self.row.__struct_fields__
        self.fields_of: Callable[[Any], Any] = (
            attrgetter(*names) if len(names) > 1 else lambda state: (getattr(state, names[0]),)
        )
        self.has_features = any(field.name == "features" for field in fields)
        self.entries = list[tuple[int, kind.entry]]  # type: ignore[name-defined]
        self.decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(self.entries)
        self.head: Any = msgspec.defstruct(
            f"{kind.state.__name__}State",
            [
                ("row", self.row),
                ("entries", self.entries),
                ("parts", StoredParts | None),
                ("features", list[tuple[str, int, bytes]]),
                ("unknown", tuple[str, ...]),
            ],
            array_like=True,
            frozen=True,
            tag=kind.name,
        )


_KINDS: Final = {kind.state: _Kind(kind) for kind, _, _ in AGGREGATES}
_KIND_OF_HEAD: Final = {each.head: each for each in _KINDS.values()}

# Raise it if the same fields mean something else: recovery then reads the log.
_MEANING: Final = 1
VERSION: Final = version_of(
    (*_KIND_OF_HEAD, PartitionState, AnswerRow, Remembered),
    _MEANING,
    *(each.kind.in_part for each in _KINDS.values()),
)


class _StoredFeature(NamedTuple):
    version: int
    decoder: "msgspec.msgpack.Decoder[Any]"


_FEATURES: Final = {
    state.name: _StoredFeature(version_of([state.kind], state.meaning), msgspec.msgpack.Decoder(state.kind))
    for state in (rules.STATE for rules in modules("rules") if hasattr(rules, "STATE"))
}

_encoder = msgspec.msgpack.Encoder()
_heads: "msgspec.msgpack.Decoder[Any]" = msgspec.msgpack.Decoder(reduce(or_, _KIND_OF_HEAD))
_states = msgspec.msgpack.Decoder(PartitionState)
_answers = msgspec.msgpack.Decoder(list[AnswerRow])


def parted(aggregate: Aggregate) -> "PartedMap[Any] | None":
    """The map of a large aggregate; None if it is small."""
    field = _KINDS[type(aggregate)].kind.entries
    entries: IdMap[Any] | None = None if field is None else getattr(aggregate, field)
    return entries if isinstance(entries, PartedMap) else None


def encode_aggregate(aggregate: Aggregate, parts: StoredParts | None = None, unknown: tuple[str, ...] = ()) -> bytes:
    """The aggregate's head. ``parts`` have its entries; without parts the head has these too. ``unknown`` as in
    PartitionState."""
    stored = _KINDS[type(aggregate)]
    field = stored.kind.entries
    entries = [] if field is None or parts is not None else list(getattr(aggregate, field).items())
    kept: Map[str, msgspec.Struct] = getattr(aggregate, "features", Map())
    features = [(name, _FEATURES[name].version, _encoder.encode(state)) for name, state in kept.items()]
    return _encoder.encode(stored.head(stored.row(*stored.fields_of(aggregate)), entries, parts, features, unknown))


def encode_part(part: "Part[Any]") -> bytes:
    return _encoder.encode(list(part.entries.items()))


def decode_part(aggregate: type[Aggregate], data: bytes) -> "Map[int, Any]":
    return Map(_decoded(_KINDS[aggregate].decoder, data))


def decode_aggregate(data: bytes, read: ReadPart) -> Aggregate:
    """Parts are read when their entries are first needed. Raises PartMissing, as each of these decoders."""
    head = _decoded(_heads, data)
    check_known(head.unknown)
    stored = _KIND_OF_HEAD[type(head)]
    kind, fields = stored.kind, msgspec.structs.asdict(head.row)
    if kind.entries is not None:
        fields[kind.entries] = _parted(head, kind, fields[kind.key], read)
    if stored.has_features:
        fields["features"] = Map({name: _feature(name, version, data) for name, version, data in head.features})
    return kind.state(**fields, **{field: fields[other] for field, other in kind.restored.items()})


def _feature(name: str, version: int, data: bytes) -> msgspec.Struct:
    known = _FEATURES.get(name)
    if known is None or known.version != version:
        raise PartMissing(f"a stored state has {name} as another version of Falcon keeps them")
    state: msgspec.Struct = _decoded(known.decoder, data)
    return state


def check_known(unknown: Iterable[str]) -> None:
    """Raises PartMissing if a state lacks events that this version of Falcon knows."""
    lacking = codec.KINDS.intersection(unknown)
    if lacking:
        raise PartMissing(f"a stored state was made by a Falcon that passed over {', '.join(sorted(lacking))}")


def _parted(head: Any, kind: AggregateKind, identity: int, read: ReadPart) -> "IdMap[Any]":
    parts: StoredParts | None = head.parts
    if parts is None:
        return id_map(kind.in_part, head.entries)

    def stored(name: str) -> "Part[Any]":
        return Part(read=lambda: decode_part(kind.state, read(name)), stored=name)

    return PartedMap(kind.in_part, tuple(map(stored, parts.names(identity))), parts.size)


def decode_parts(data: bytes) -> StoredParts | None:
    """The places of a head's parts; None if the head has all entries itself."""
    parts: StoredParts | None = _decoded(_heads, data).parts
    return parts


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
