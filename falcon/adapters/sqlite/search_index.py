"""Finds messages in the index of one machine (``search_tables``)."""

import heapq
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from falcon.adapters.sqlite.database import MAP_BYTES, cause
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
_RANKED_LOOKED_AT_MAX: Final = 20_000  # hits that are ranked once their room was looked at: some 40 ms
_END: Final = 1 << 62  # beyond every number

T = TypeVar("T")


class SqliteSearchIndex:
    """``SearchIndex`` over read-only connections, for one event loop. The file may not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = Dispatcher("search", threads=_THREADS, queue=_WAITING)
        self._free: list[apsw.Connection] = []

    async def newest(self, wanted: Wanted, below: Key | None, limit: int) -> Hits:
        return await self._charged(wanted, lambda connection: _newest(connection, wanted, below, limit))

    async def best(self, wanted: Wanted, limit: int) -> list[Key]:
        return await self._charged(wanted, lambda connection: _best(connection, wanted, limit))

    async def reached(self) -> Cursor:
        return await self._run(_reached, even_filling=True)

    def close(self) -> None:
        self._pool.close()

    async def _charged(self, wanted: Wanted, search: Callable[[apsw.Connection], T]) -> T:
        """Searching in a thousand rooms takes 50 ms of a thread that contends with all others for the interpreter."""

        def timed(connection: apsw.Connection) -> tuple[T, float]:
            began = time.thread_time()
            return search(connection), time.thread_time() - began

        found, seconds = await self._run(timed)
        wanted.charge(seconds)
        return found

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
        connection.pragma("mmap_size", MAP_BYTES)
        return connection


def _reached(connection: apsw.Connection) -> Cursor:
    return {p: Position(*at) for p, *at in connection.execute("SELECT partition, offset, epoch, n FROM cursors")}


def _newest(connection: apsw.Connection, wanted: Wanted, below: Key | None, limit: int) -> Hits:
    found = _look(connection, wanted, below, limit + 1)
    return found if len(found.keys) <= limit else Hits(found.keys[:limit], found.keys[limit - 1])


def _best(connection: apsw.Connection, wanted: Wanted, limit: int) -> list[Key]:
    """Ranks the newest hits by their numbers, whose order differs from that of time within a day at most.

    In more rooms than terms are made of, a word may be in very many newer messages of other rooms. Then hits that are
    not ranked come after the ones that are.
    """
    are_terms = len(wanted.rooms) <= _RANKED_ROOM_TERMS_MAX
    rooms = frozenset(wanted.rooms)
    rows: Any = connection.execute(
        "SELECT bm25(words, 1, 0), posted_at, room_id, seq, parent FROM words JOIN places ON id = words.rowid"
        " WHERE words MATCH ? AND words.rowid >= ? AND words.rowid < ? AND posted_at > ? AND posted_at < ?"
        " ORDER BY words.rowid DESC LIMIT ?",
        (
            _match(wanted, rooms if are_terms else ()),
            *_bounds(wanted, None),
            -1 if wanted.after is None else wanted.after,
            _END if wanted.before is None else wanted.before,
            RANKED_MAX if are_terms else _RANKED_LOOKED_AT_MAX,
        ),
    )
    hits = ((row[0], n, row) for n, row in enumerate(rows) if row[2] in rooms or row[4] in rooms)
    best = heapq.nsmallest(limit, islice(hits, RANKED_MAX))
    ranked = [Key(*row[1:4]) for _, _, row in best]
    if are_terms or len(ranked) == limit or len(rooms) > _ROOM_TERMS_MAX:
        return ranked
    known = set(ranked)
    others = [key for key in _look(connection, wanted, None, limit).keys if key not in known]
    return [*ranked, *others[: limit - len(ranked)]]


def _look(connection: apsw.Connection, wanted: Wanted, below: Key | None, limit: int) -> Hits:
    """The newest ``limit`` hits.

    Numbers follow the days, and within a day messages are at most so late as the day says. So what follows a hit in the
    order of numbers is no newer than the hit and that.
    """
    are_terms = len(wanted.rooms) <= _ROOM_TERMS_MAX
    match = _match(wanted, wanted.rooms if are_terms else ())
    rooms = wanted.rooms if are_terms else frozenset(wanted.rooms)
    newest = _newest_of(wanted, below)
    kept: list[Key] = []
    day, late = -1, 0
    rows: Any = connection.execute(
        "SELECT id, posted_at, room_id, seq, parent FROM words JOIN places ON id = words.rowid"
        " WHERE words MATCH ? AND words.rowid >= ? AND words.rowid < ? ORDER BY words.rowid DESC",
        (match, *_bounds(wanted, below)),
    )
    for looked_at, (number, posted_at, room_id, seq, parent) in enumerate(rows):
        if number >> DAY_BITS != day:
            day = number >> DAY_BITS
            late = _late(connection, day)
        rest = posted_at + late  # no message that follows is newer
        if len(kept) == limit and kept[0].posted_at > rest:
            break
        if looked_at >= _LOOKED_AT_MAX and not are_terms and (newest is None or rest + 1 < newest):
            complete_to = Key(rest + 1, 0, 0)
            return Hits(sorted((each for each in kept if each >= complete_to), reverse=True), complete_to)
        key = Key(posted_at, room_id, seq)
        if (
            (are_terms or room_id in rooms or parent in rooms)
            and (below is None or key < below)
            and _is_within(posted_at, wanted)
        ):
            if len(kept) == limit:
                heapq.heappushpop(kept, key)
                continue
            kept.append(key)
            if len(kept) == limit:
                heapq.heapify(kept)
    return Hits(sorted(kept, reverse=True), None)


def _newest_of(wanted: Wanted, below: Key | None) -> Millis | None:
    """Hits are not as new; None: they may have any time."""
    return min((at for at in (wanted.before, below and below.posted_at + 1) if at is not None), default=None)


def _bounds(wanted: Wanted, below: Key | None) -> tuple[int, int]:
    """The first number and the one after the last, of the days that may have hits."""
    newest = _newest_of(wanted, below)
    first = 0 if wanted.after is None else wanted.after // DAY_MILLIS << DAY_BITS
    return first, _END if newest is None else newest // DAY_MILLIS + 1 << DAY_BITS


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
