"""The directory: people and open rooms by the words of their names.

A row is a key and the words that it stands for. Keys are in the order of what is looked for: the kind, the first
character of another word of the name, the word, the name, the id. So a query of one word reads a range, and one of
several words reads the range of one of them among the names that have another word with the right beginning.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from falcon.domain.ids import AccountId, RoomId
from falcon.domain.words import folded, longest_words, words_of
from falcon.features.accounts.rules import AccountChanged, AccountCreated
from falcon.features.catalogue import Event
from falcon.features.rooms.rules import RoomChanged, RoomCreated, RoomDeleted
from falcon.journal.envelope import Recorded
from falcon.read.write import Write

Kind: TypeAlias = Literal["person", "room", "default"]

_KINDS: Final[dict[Kind, bytes]] = {"person": b"p", "room": b"r", "default": b"d"}
_HANDLE: Final = "\x01"  # in the place of a character: the word is a whole handle
ALL: Final = "\x02"  # all of a kind, by name
_WORDS_MAX: Final = 8  # by which one is found: some hundred rows at the most, and mostly 4 to 9
WORD_CHARS: Final = 32  # of a word that is looked for: of longer ones these, and the rest is compared
_NAME_CHARS: Final = 40  # by which names are ordered
LAST: Final = b"\xff"  # no byte of UTF-8: a key with this beginning is after all others with the same

_encode = msgspec.json.Encoder().encode
decode_words = msgspec.json.Decoder(tuple[str, ...]).decode


class Entry(NamedTuple):
    """``name``: folded, the order of the directory."""

    identity: AccountId | RoomId
    name: str


class DirectoryQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def directory(self, first: bytes, last: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Keys and values from key ``first`` to key ``last``, both included, in their order."""


class PutEntry(NamedTuple):
    identity: AccountId | RoomId
    key: bytes
    value: bytes


class DropEntry(NamedTuple):
    identity: AccountId | RoomId
    key: bytes


class _Change(NamedTuple):
    """The entries of an account or room before an event, as far as these may be, and after it."""

    identity: AccountId | RoomId
    before: dict[bytes, bytes]
    after: dict[bytes, bytes]


TAKES: Final = (AccountCreated, AccountChanged, RoomCreated, RoomChanged, RoomDeleted)


def project(recorded: Recorded) -> tuple[Write, ...]:
    change = _change(recorded.envelope.event)
    return () if change is None else _put(*change)


def _change(event: Event) -> _Change | None:
    match event:
        case AccountCreated(account_id=account_id, name=name, deactivated=False):
            return _Change(account_id, {}, _person(account_id, name, None))
        case AccountChanged(account_id=account_id) as changed:
            was_deactivated = changed.deactivated != ("deactivated" in changed.changed)
            before = {} if was_deactivated else _person(account_id, changed.was_name, changed.was_handle)
            after = {} if changed.deactivated else _person(account_id, changed.name, changed.handle)
            return None if before == after else _Change(account_id, before, after)
        case RoomCreated(room_id=room_id, name=name, open=True) as created:
            return _Change(room_id, {}, _room(room_id, name, default=created.default))
        case RoomChanged(room_id=room_id) as changed if changed.open or changed.was_open:
            before = _room(room_id, changed.was_name, default=True) if changed.was_open else {}
            after = _room(room_id, changed.name, default=changed.default) if changed.open else {}
            return _Change(room_id, before, after)
        case RoomDeleted(room_id=room_id, name=name, open=True):
            return _Change(room_id, _room(room_id, name, default=True), {})
        case _:
            return None


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    change = _change(event)
    if change is None:
        return None
    if isinstance(event, AccountCreated | AccountChanged):
        return f"account {change.identity} is found by its old name and handle, or not found, until they change"
    return f"the directory shows room {change.identity} as it was before"


def _put(identity: int, before: dict[bytes, bytes], after: dict[bytes, bytes]) -> tuple[Write, ...]:
    dropped = tuple(DropEntry(identity, key) for key in before.keys() - after.keys())
    return (*sorted(dropped), *(PutEntry(identity, key, value) for key, value in after.items()))


def _person(account_id: AccountId, name: str, handle: str | None) -> dict[bytes, bytes]:
    words = longest_words((*words_of(name), *(() if handle is None else words_of(handle))))
    entries = dict(_entries("person", account_id, name, words))
    if handle is not None:
        entries[key_of("person", _HANDLE, folded(handle), name, account_id)] = _encode(words)
    return entries


def _room(room_id: RoomId, name: str, *, default: bool) -> dict[bytes, bytes]:
    words = longest_words(words_of(name))
    entries = dict(_entries("room", room_id, name, words))
    entries[key_of("room", ALL, "", name, room_id)] = _encode(words)
    if default:
        entries[key_of("default", ALL, "", name, room_id)] = _encode(words)
    return entries


def _entries(kind: Kind, identity: int, name: str, words: tuple[str, ...]) -> Iterator[tuple[bytes, bytes]]:
    value = _encode(words)
    for word in words[:_WORDS_MAX]:
        for other in ("", *{each[0] for each in words if each != word}):
            yield key_of(kind, other, word, name, identity), value


# --- keys -------------------------------------------------------------------------------------------------------------


def key_of(kind: Kind, other: str, word: str, name: str, identity: int) -> bytes:
    return b"%b\0%b\0%b" % (word_key(kind, other, word), order_of(name).encode(), identity.to_bytes(8, "big"))


def word_key(kind: Kind, other: str, word: str) -> bytes:
    """The beginning of all keys of words that begin so. ``other``: the first character of another word, or none."""
    return b"%b%b\0%b" % (_KINDS[kind], other.encode(), word[:WORD_CHARS].encode())


def handle_key(handle: str) -> bytes:
    """The beginning of the key of the account with this handle."""
    return word_key("person", _HANDLE, folded(handle)) + b"\0"


def all_key(kind: Kind) -> bytes:
    """The beginning of the keys of all rooms of a kind, by name."""
    return word_key(kind, ALL, "") + b"\0"


def entry_of(key: bytes) -> Entry:
    name = key[:-9].rsplit(b"\0", 1)[1]
    return Entry(int.from_bytes(key[-8:], "big"), name.decode())


def order_of(name: str) -> str:
    """The place of a name in the directory."""
    return folded(name)[:_NAME_CHARS].replace("\0", " ")
