"""Kinds of aggregates: how the write side numbers, finds and stores the states that rules decide on."""

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from falcon.domain.ids import DEFAULT_ORGANIZATION

P = TypeVar("P", bound=msgspec.Struct)
S = TypeVar("S", bound=msgspec.Struct)

# Ids of what a text names begin here, far above all that are counted.
_NAMED: Final = 1 << 62


def id_of_text(kind: str, text: str) -> int:
    """The id of the aggregate that a text names. Texts may share one: 62 bits of a hash."""
    digest = hashlib.blake2b(f"{kind}/{DEFAULT_ORGANIZATION}/{text}".encode(), digest_size=8).digest()
    return _NAMED | int.from_bytes(digest) >> 2


def is_counted(identity: int) -> bool:
    """True if a partition has numbered the aggregate. False if a text names it: then it may be there or not."""
    return identity < _NAMED


class AggregateKind(msgspec.Struct, frozen=True, eq=False):
    """A kind of aggregates.

    ``name``: in stored states, for ever. ``state``: its fields are stored, except those named below. ``key``: the field
    of its commands and events that has the aggregate's id. ``absent``: gives the state that a command is decided on
    before the first event, or the refusal. ``first``: the event that begins an aggregate which its partition numbers.

    ``entries``: the field with a map from ids, which is stored in parts of about ``in_part`` if it is larger;
    ``entry``: the type of its values. ``restored``: fields that are not stored, and the field that each begins as.
    """

    name: str
    state: type[msgspec.Struct]
    key: str
    absent: Callable[[Any], Any]
    first: type[Any] | None = None
    entries: str | None = None
    in_part: int = 0
    entry: Any = int
    restored: Mapping[str, str] = MappingProxyType({})


class FeatureState(Generic[P]):
    """A feature's part of the state of a room or account. It is stored with a version of its own, so that it voids no
    other feature's state. ``kind``: its fields all have defaults, those of a room or account in which nothing of the
    feature has happened. ``meaning``: raise it if the same fields mean something else."""

    def __init__(self, name: str, kind: type[P], meaning: int = 1) -> None:
        self.name = name
        self.kind = kind
        self.meaning = meaning
        self._empty = kind()

    def of(self, whole: Any) -> P:
        state: Any = whole.features.get(self.name, self._empty)
        return state  # type: ignore[no-any-return]

    def put(self, whole: S, state: P) -> S:
        features = whole.features.set(self.name, state)  # type: ignore[attr-defined]
        return replace(whole, features=features)
