"""An index of messages in memory: it looks at the tokens of every message."""

from collections.abc import Iterable
from typing import NamedTuple

from falcon.domain.ids import RoomId, Seq
from falcon.features.search.index import RANKED_MAX, ForgetMessage, ForgetRoom, Hits, IndexMessage, Key, Wanted, mark_of
from falcon.features.search.terms import Term, tokens_of_term
from falcon.journal.envelope import Cursor
from falcon.read.write import Write


class _Kept(NamedTuple):
    key: Key
    marks: frozenset[str]
    tokens: list[str]


class MemoryIndex:
    """``SearchIndex``, and what is written to it."""

    def __init__(self) -> None:
        self._messages: dict[tuple[RoomId, Seq], _Kept] = {}
        self._last: tuple[Wanted, list[Key]] | None = None  # found since the last write

    def write(self, writes: Iterable[Write]) -> None:
        self._last = None
        for write in writes:
            match write:
                case IndexMessage():
                    key = Key(write.posted_at, write.room_id, write.seq)
                    kept = _Kept(key, frozenset(write.marks.split()), write.tokens.split())
                    self._messages[write.room_id, write.seq] = kept
                case ForgetMessage():
                    self._messages.pop((write.room_id, write.seq), None)
                case ForgetRoom():
                    self._messages = {at: each for at, each in self._messages.items() if at[0] != write.room_id}

    async def newest(self, wanted: Wanted, below: Key | None, limit: int) -> Hits:
        keys = [key for key in self._found(wanted) if below is None or key < below]
        return Hits(keys[:limit], keys[limit - 1] if len(keys) > limit else None)

    async def best(self, wanted: Wanted, limit: int) -> list[Key]:
        keys = self._found(wanted)[:RANKED_MAX]
        return sorted(keys, key=lambda key: self._weight(key, wanted), reverse=True)[:limit]

    async def reached(self) -> Cursor:
        return {}

    def _found(self, wanted: Wanted) -> list[Key]:
        if self._last is None or self._last[0] != wanted:
            found = sorted((kept.key for kept in self._messages.values() if _is_wanted(kept, wanted)), reverse=True)
            self._last = wanted, found
        return self._last[1]

    def _weight(self, key: Key, wanted: Wanted) -> float:
        """How much of the message is what is wanted."""
        tokens = self._messages[key.room_id, key.seq].tokens
        return sum(_count(term, tokens) for term in wanted.terms if not term.excluded) / len(tokens)


def _is_wanted(kept: _Kept, wanted: Wanted) -> bool:
    return (
        any(mark_of("room", room_id) in kept.marks for room_id in wanted.rooms)
        and kept.marks.issuperset(wanted.marks)
        and (wanted.after is None or kept.key.posted_at > wanted.after)
        and (wanted.before is None or kept.key.posted_at < wanted.before)
        and all(bool(_count(term, kept.tokens)) != term.excluded for term in wanted.terms)
    )


def _count(term: Term, tokens: list[str]) -> int:
    *first, last = tokens_of_term(term)
    size = len(first) + 1
    return sum(
        tokens[at : at + size - 1] == first
        and (tokens[at + size - 1].startswith(last) if term.prefix else tokens[at + size - 1] == last)
        for at in range(len(tokens) - size + 1)
    )
