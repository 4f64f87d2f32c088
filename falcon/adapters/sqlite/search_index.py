"""Finds messages in the index of one machine (``search_tables``)."""

import heapq
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import apsw

from falcon.adapters.sqlite.database import cause
from falcon.adapters.sqlite.search_tables import DAY_BITS, DAY_MILLIS
from falcon.domain.ids import Millis, RoomId
from falcon.features.search.index import RANKED_MAX, Hits, Key, Wanted, mark_of
from falcon.features.search.terms import Term, tokens_of_term
from falcon.journal.envelope import Cursor, Position
from falcon.read.store import BeingFilled, Fill, ReadStoreUnavailable
from falcon.telemetry.dispatchers import Dispatcher, Saturated

_THREADS: Final = 2  # a search in very many rooms does not hold up the next one
_WAITING: Final = 32  # at 20 ms each the last one waits for a third of a second
# A room is a term of the index up to here: one of 1,000 takes 0.02 ms. Beyond it each hit's room is looked at.
_ROOM_TERMS_MAX: Final = 500
_LOOKED_AT_MAX: Final = 10_000  # hits whose room is looked at for one page: some 15 ms
_RANKED_ROOM_TERMS_MAX: Final = 20  # FTS5's ranking counts the messages of each
_END: Final = 1 << 62  # beyond every number

T = TypeVar("T")


class _Found(NamedTuple):
    """``complete_to``: all hits from this one on are among the keys; None: all there are."""

    keys: list[tuple[Key, int]]
    complete_to: Key | None


class SqliteSearchIndex:
    """``SearchIndex`` over read-only connections, for one event loop. The file may not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = Dispatcher("search", threads=_THREADS, queue=_WAITING)
        self._free: list[apsw.Connection] = []

    async def newest(self, wanted: Wanted, below: Key | None, limit: int) -> Hits:
        return await self._run(lambda connection: _newest(connection, wanted, below, limit))

    async def best(self, wanted: Wanted, limit: int) -> list[Key]:
        return await self._run(lambda connection: _best(connection, wanted, limit))

    async def reached(self) -> Cursor:
        return await self._run(_reached, even_filling=True)

    def close(self) -> None:
        self._pool.close()

    async def _run(self, ask: Callable[[apsw.Connection], T], *, even_filling: bool = False) -> T:
        try:
            return await self._pool.run(self._ask, ask, even_filling)
        except Saturated as error:
            raise ReadStoreUnavailable(str(error)) from error

    def _ask(self, ask: Callable[[apsw.Connection], T], even_filling: bool) -> T:
        with self._connected() as connection:
            connection.execute("BEGIN")  # one state of the index
            ((fill,),) = connection.execute("SELECT value FROM meta WHERE key = 'fill'").fetchall()
            if fill != Fill.SHOWN and not even_filling:
                raise BeingFilled("search")
            return ask(connection)

    @contextmanager
    def _connected(self) -> Iterator[apsw.Connection]:
        try:
            try:
                connection = self._free.pop()
            except IndexError:
                connection = self._open()
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")
                self._free.append(connection)
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"The index of messages cannot be read: {cause(error)}") from error

    def _open(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.pragma("mmap_size", 256 << 20)
        return connection


def _reached(connection: apsw.Connection) -> Cursor:
    return {p: Position(*at) for p, *at in connection.execute("SELECT partition, offset, epoch, n FROM cursors")}


def _newest(connection: apsw.Connection, wanted: Wanted, below: Key | None, limit: int) -> Hits:
    found, complete_to = _look(connection, wanted, below, limit + 1)
    keys = [key for key, _ in found]
    return Hits(keys[:limit], keys[limit - 1] if len(keys) > limit else complete_to)


def _best(connection: apsw.Connection, wanted: Wanted, limit: int) -> list[Key]:
    """A hit that is not among the scored ones comes after them: in more rooms than terms are made of, a word may be in
    very many newer messages of other rooms."""
    found = _look(connection, wanted, None, RANKED_MAX).keys
    if not found:
        return []
    rooms = wanted.rooms if len(wanted.rooms) <= _RANKED_ROOM_TERMS_MAX else ()
    numbers = [number for _, number in found]
    rows: Any = connection.execute(
        "SELECT rowid, bm25(words, 1, 0) FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ?"
        " ORDER BY rowid DESC LIMIT ?",
        (_match(wanted, rooms), min(numbers), max(numbers), 2 * RANKED_MAX),
    )
    scores: dict[int, float] = dict(rows)
    ranked = heapq.nsmallest(limit, ((scores.get(number, 0.0), n, key) for n, (key, number) in enumerate(found)))
    return [key for _, _, key in ranked]


def _look(connection: apsw.Connection, wanted: Wanted, below: Key | None, limit: int) -> _Found:
    """The newest ``limit`` hits.

    Numbers follow the days, and within a day messages are at most so late as the day says. So what follows a hit in the
    order of numbers is no newer than the hit and that.
    """
    are_terms = len(wanted.rooms) <= _ROOM_TERMS_MAX
    match = _match(wanted, wanted.rooms if are_terms else ())
    rooms = wanted.rooms if are_terms else frozenset(wanted.rooms)
    newest = min((at for at in (wanted.before, below and below.posted_at + 1) if at is not None), default=None)
    first = 0 if wanted.after is None else wanted.after // DAY_MILLIS << DAY_BITS
    last = _END if newest is None else newest // DAY_MILLIS + 1 << DAY_BITS
    kept: list[tuple[Key, int]] = []
    day, late = -1, 0
    rows: Any = connection.execute(
        "SELECT id, posted_at, room_id, seq, parent FROM words JOIN places ON id = words.rowid"
        " WHERE words MATCH ? AND words.rowid >= ? AND words.rowid < ? ORDER BY words.rowid DESC",
        (match, first, last),
    )
    for looked_at, (number, posted_at, room_id, seq, parent) in enumerate(rows):
        if number >> DAY_BITS != day:
            day = number >> DAY_BITS
            late = _late(connection, day)
        rest = posted_at + late  # no message that follows is newer
        if len(kept) == limit and kept[0][0].posted_at > rest:
            break
        if looked_at >= _LOOKED_AT_MAX and not are_terms and (newest is None or rest + 1 < newest):
            complete_to = Key(rest + 1, 0, 0)
            return _Found(sorted((each for each in kept if each[0] >= complete_to), reverse=True), complete_to)
        key = Key(posted_at, room_id, seq)
        if (
            (are_terms or room_id in rooms or parent in rooms)
            and (below is None or key < below)
            and _is_within(posted_at, wanted)
        ):
            if len(kept) == limit:
                heapq.heappushpop(kept, (key, number))
                continue
            kept.append((key, number))
            if len(kept) == limit:
                heapq.heapify(kept)
    return _Found(sorted(kept, reverse=True), None)


def _is_within(posted_at: Millis, wanted: Wanted) -> bool:
    return (wanted.after is None or posted_at > wanted.after) and (wanted.before is None or posted_at < wanted.before)


def _late(connection: apsw.Connection, day: int) -> int:
    row: Any = connection.execute("SELECT late FROM days WHERE day = ?", (day,)).fetchone()
    return int(row[0])


# --- queries of FTS5 --------------------------------------------------------------------------------------------------


def _match(wanted: Wanted, rooms: Collection[RoomId]) -> str:
    """``rooms``: none if they are no terms of this query. No token has a quote."""
    texts = " AND ".join(_phrase(term) for term in wanted.terms if not term.excluded)
    match = f"{{tokens}} : ({texts})"
    for mark in wanted.marks:
        match += f' AND "{mark}"'
    if rooms:
        of_rooms = " OR ".join(f'"{mark_of("room", room_id)}"' for room_id in rooms)
        match += f" AND ({of_rooms})"
    excluded = " OR ".join(_phrase(term) for term in wanted.terms if term.excluded)
    return f"({match}) NOT ({{tokens}} : ({excluded}))" if excluded else match


def _phrase(term: Term) -> str:
    return f'"{" ".join(tokens_of_term(term))}"{"*" if term.prefix else ""}'
