"""Looks in the directory for names whose words begin as the ones that are asked for."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from falcon.domain.ids import AccountId, RoomId
from falcon.domain.words import begin_words, longest_words, words_of
from falcon.features.people.table import (
    LAST,
    WORD_CHARS,
    DirectoryQueries,
    Entry,
    Kind,
    all_key,
    decode_words,
    entry_of,
    handle_key,
    word_key,
)
from falcon.features.read_marks.table import MembershipQueries

# Rows of one word that are read, in the order of the words: some milliseconds on HBase. A person who has more names to
# choose from types on.
MATCHES_MAX: Final = 500
_ALL_MAX: Final = 200  # default rooms: more than a person would want to begin with
_NEAR_MAX: Final = 1_000  # rooms of a guest, and members of each that it may know of


class Found(NamedTuple):
    """``whole``: no further entries match."""

    entries: dict[AccountId | RoomId, Entry]
    whole: bool


async def find(store: DirectoryQueries, kind: Kind, text: str) -> Found:
    """The people or rooms that have a word that begins so, for each word of the text. Raises ReadStoreUnavailable."""
    wanted = longest_words(words_of(text))
    if not wanted:
        return Found({}, whole=True)
    found: dict[AccountId | RoomId, Entry] = {}
    for word in sorted(wanted, key=len, reverse=True):
        other = next((each[0] for each in sorted(wanted, key=len, reverse=True) if each != word), "")
        first = word_key(kind, other, word)
        rows = await store.directory(first, first + LAST, MATCHES_MAX)
        if len(wanted) == 1 and len(word) <= WORD_CHARS:
            keys = [key for key, _ in rows]
        else:
            keys = [key for key, value in rows if begin_words(wanted, decode_words(value))]
        found |= {entry.identity: entry for entry in map(entry_of, keys)}
        if len(rows) < MATCHES_MAX:
            return Found(found, whole=True)
    return Found(found, whole=False)


async def with_handle(store: DirectoryQueries, text: str) -> AccountId | None:
    """The account whose handle the text is. Raises ReadStoreUnavailable."""
    first = handle_key(text.strip().removeprefix("@"))
    rows = await store.directory(first, first + LAST, 1)
    return entry_of(rows[0][0]).identity if rows else None


async def all_by_name(store: DirectoryQueries, kind: Kind, after: bytes, limit: int) -> Sequence[tuple[bytes, Entry]]:
    """All rooms of a kind by name, from key ``after`` (excluded) on, each with its key. Raises ReadStoreUnavailable."""
    first = max(all_key(kind), after)
    rows = await store.directory(first, all_key(kind) + LAST, limit + 1)
    return [(key, entry_of(key)) for key, _ in rows if key != after][:limit]


async def default_rooms(store: DirectoryQueries) -> list[RoomId]:
    """The rooms that new accounts join. Raises ReadStoreUnavailable."""
    return [entry.identity for _, entry in await all_by_name(store, "default", b"", _ALL_MAX)]


def by_name(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.name, entry.identity))


async def people_near(store: MembershipQueries, account_id: AccountId) -> set[AccountId]:
    """The members of the account's rooms, itself among them: the people that a guest may know of. The first ones in
    very large rooms. Raises ReadStoreUnavailable."""
    people = {account_id}
    for room_id in await store.roles_of(account_id, _NEAR_MAX):
        people |= {row.account_id for row in await store.members(room_id, 0, _NEAR_MAX)}
    return people
