"""Queries on the read tables.

Every method runs on the caller's thread: a page of a warm database takes some tens of microseconds, less than handing
it to another thread and back. docs/decisions says when that is right.
"""

import functools
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Final, ParamSpec, TypeVar

import apsw
import msgspec

from falcon.domain.commands import Role
from falcon.domain.ids import AccountId, Partition, RoomId, Seq
from falcon.journal.envelope import Position
from falcon.read.messages import missing_message
from falcon.read.models import (
    Access,
    AccountRow,
    MemberRow,
    RoomCursor,
    RoomRow,
    RoomSummaryRow,
    Standing,
    TokenRow,
    room_summary,
)
from falcon.read.store import ManyRooms, ReadStoreUnavailable
from falcon.telemetry import metrics

_ROOM: Final = (
    "r.room_id, r.kind, r.name, r.description, r.created_at, r.last_seq, r.updated_at, r.imported, r.smaller, r.larger"
)

_SEQ_MAX: Final = 2**32 - 1
_REVISION_BITS: Final = 40
_GENERATION_SECONDS: Final = 1.0

P = ParamSpec("P")
T = TypeVar("T")


def _query(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    seconds = metrics.read_seconds.labels(method.__name__)
    failures = metrics.read_failures.labels(method.__name__)

    @functools.wraps(method)
    async def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        began = time.monotonic()
        try:
            found = await method(*args, **kwargs)
            seconds.observe(time.monotonic() - began)
            return found
        except apsw.Error as error:
            failures.inc()
            raise ReadStoreUnavailable(f"cannot read the tables: {error}") from error

    return asked


def _json(ids: Collection[int]) -> str:
    return msgspec.json.encode(list(ids)).decode()


def _room(row: Any) -> RoomRow:
    *fields, imported, smaller, larger = row
    peers = None if smaller is None else (smaller, larger)
    return RoomRow(*fields, bool(imported), peers)  # type: ignore[call-arg]  # the columns of _ROOM are its fields


class SqliteReadStore:
    """ReadStore over one read-only connection, for one thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._known_generation = 0
        self._look_again_at = 0.0

    @_query
    async def applied(self, partition: Partition) -> int:
        row: Any = self._execute(
            "SELECT min(applied) FROM projections WHERE name NOT LIKE '%\\_rebuilding' ESCAPE '\\'"
        ).fetchone()
        return int(row[0])

    async def applied_in(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(partitions, await self.applied(0))

    @_query
    async def applied_everywhere(
        self, partitions: int, projections: Sequence[str] | None = None
    ) -> dict[Partition, Position]:
        if projections is None:
            return dict.fromkeys(range(partitions), Position(await self.applied(0)))
        names = ", ".join("?" * len(projections))
        row: Any = self._execute(
            f"SELECT min(applied) FROM projections WHERE name IN ({names})", tuple(projections)
        ).fetchone()
        return dict.fromkeys(range(partitions), Position(int(row[0])))

    @_query
    async def access(self, room_id: RoomId, account_id: AccountId) -> Access | None:
        row: Any = self._execute(
            "SELECT m.role, m.read_seq, r.last_seq, coalesce(v.revision, 0) FROM memberships m"
            " JOIN rooms r USING (room_id) LEFT JOIN revisions v USING (room_id)"
            " WHERE m.room_id = ? AND m.account_id = ?",
            (room_id, account_id),
        ).fetchone()
        if row is None:
            return None
        role, read_seq, last_seq, revision = row
        return Access(role, read_seq, last_seq, self._generation() << _REVISION_BITS | revision)

    @_query
    async def page(self, room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
        first, last = max(first, 1), min(last, _SEQ_MAX)
        if first > last:
            return []
        rows: Any = self._execute(
            "SELECT message FROM timeline WHERE place BETWEEN ?1 << 32 | ?2 AND ?1 << 32 | ?3 ORDER BY place",
            (room_id, first, last),
        )
        messages = [message for (message,) in rows]
        return messages if len(messages) == last - first + 1 else self._with_missing(room_id, first, last)

    @_query
    async def message(self, room_id: RoomId, seq: Seq) -> bytes | None:
        return self._message(room_id, seq)

    @_query
    async def message_at(self, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
        # The revision first: what is read after it is at least as new.
        row: Any = self._execute("SELECT revision FROM revisions WHERE room_id = ?", (room_id,)).fetchone()
        return self._message(room_id, seq), 0 if row is None else row[0]

    @_query
    async def newest(self, room_id: RoomId, through: Seq) -> Seq:
        return self._newest(room_id, through)

    @_query
    async def room(self, room_id: RoomId) -> RoomRow | None:
        row = self._execute(f"SELECT {_ROOM} FROM rooms r WHERE room_id = ?", (room_id,)).fetchone()
        return None if row is None else _room(row)

    @_query
    async def direct_room(self, smaller: AccountId, larger: AccountId) -> RoomRow | None:
        row = self._execute(
            f"SELECT {_ROOM} FROM rooms r WHERE smaller = ? AND larger = ?", (smaller, larger)
        ).fetchone()
        return None if row is None else _room(row)

    @_query
    async def rooms_of(
        self, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
    ) -> list[RoomSummaryRow]:
        if most is not None and self._is_in_more_than(account_id, most):
            raise ManyRooms
        if cursor is None:
            return self._summaries("WHERE m.account_id = ?", (account_id,), limit)
        where = "WHERE m.account_id = ? AND (r.updated_at, r.room_id) < (?, ?)"
        return self._summaries(where, (account_id, cursor.updated_at, cursor.room_id), limit)

    @_query
    async def room_of(self, account_id: AccountId, room_id: RoomId) -> RoomSummaryRow | None:
        found = self._summaries("WHERE m.room_id = ? AND m.account_id = ?", (room_id, account_id), 1)
        return found[0] if found else None

    @_query
    async def roles_of(self, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
        rows: Any = self._execute(
            "SELECT room_id, role FROM memberships WHERE account_id = ? AND room_id > ? ORDER BY room_id LIMIT ?",
            (account_id, after, limit),
        )
        return dict(rows)

    @_query
    async def standings_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> dict[RoomId, Standing]:
        rows: Any = self._execute(
            "SELECT m.room_id, m.role, r.updated_at, r.last_seq FROM json_each(?) e"
            " JOIN memberships m ON m.room_id = e.value AND m.account_id = ? JOIN rooms r ON r.room_id = e.value",
            (_json(room_ids), account_id),
        )
        return {room_id: Standing(*standing) for room_id, *standing in rows}

    @_query
    async def summaries_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
        where = "WHERE m.account_id = ? AND m.room_id IN (SELECT value FROM json_each(?))"
        return self._summaries(where, (account_id, _json(room_ids)), len(room_ids))

    @_query
    async def members(self, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
        rows: Any = self._execute(
            "SELECT m.account_id, coalesce(a.name, ''), m.role, m.read_seq FROM memberships m"
            " LEFT JOIN accounts a USING (account_id)"
            " WHERE m.room_id = ? AND m.account_id > ? ORDER BY m.account_id LIMIT ?",
            (room_id, after, limit),
        )
        return [MemberRow(*row) for row in rows]

    @_query
    async def mentions(self, account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> int:
        row: Any = self._execute(
            "SELECT count(*) FROM mentions WHERE account_id = ? AND room_id = ? AND seq > ? AND seq <= ?",
            (account_id, room_id, after, through),
        ).fetchone()
        return int(row[0])

    @_query
    async def account(self, account_id: AccountId) -> AccountRow | None:
        row = self._execute(
            "SELECT account_id, name, is_admin, created_at FROM accounts WHERE account_id = ?", (account_id,)
        ).fetchone()
        return None if row is None else _account(row)

    @_query
    async def accounts(self, after: AccountId, limit: int) -> list[AccountRow]:
        rows = self._execute(
            "SELECT account_id, name, is_admin, created_at FROM accounts WHERE account_id > ?"
            " ORDER BY account_id LIMIT ?",
            (after, limit),
        )
        return [_account(row) for row in rows]

    @_query
    async def bearer(self, account_id: AccountId, token_hash: str) -> AccountRow | None:
        row = self._execute(
            "SELECT a.account_id, a.name, a.is_admin, a.created_at FROM tokens t JOIN accounts a USING (account_id)"
            " WHERE t.account_id = ? AND t.token_hash = ?",
            (account_id, token_hash),
        ).fetchone()
        return None if row is None else _account(row)

    @_query
    async def tokens(self, account_id: AccountId) -> list[TokenRow]:
        rows: Any = self._execute(
            "SELECT token_id, created_at FROM tokens WHERE account_id = ? ORDER BY token_id", (account_id,)
        )
        return [TokenRow(*row) for row in rows]

    @_query
    async def all_rooms(self, after: RoomId, limit: int) -> list[RoomRow]:
        rows = self._execute(f"SELECT {_ROOM} FROM rooms r WHERE room_id > ? ORDER BY room_id LIMIT ?", (after, limit))
        return [_room(row) for row in rows]

    @_query
    async def totals(self) -> tuple[int, int, int]:
        row: Any = self._execute(
            "SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM rooms), (SELECT sum(last_seq) FROM rooms)"
        ).fetchone()
        return row[0], row[1], row[2] or 0

    def _is_in_more_than(self, account_id: AccountId, most: int) -> bool:
        row: Any = self._execute(
            "SELECT count(*) FROM (SELECT 1 FROM memberships WHERE account_id = ? LIMIT ?)", (account_id, most + 1)
        ).fetchone()
        return int(row[0]) > most

    def _generation(self) -> int:
        """Of the timeline. Looked at once a second: a rebuild is rare, and corrects what stood for long."""
        now = time.monotonic()
        if now >= self._look_again_at:
            row: Any = self._execute("SELECT generation FROM projections WHERE name = 'timeline'").fetchone()
            self._known_generation = int(row[0])
            self._look_again_at = now + _GENERATION_SECONDS
        return self._known_generation

    def _message(self, room_id: RoomId, seq: Seq) -> bytes | None:
        if not 1 <= seq <= _SEQ_MAX:  # its upper bits would name a place in another room
            return None
        row: Any = self._execute("SELECT message FROM timeline WHERE place = ? << 32 | ?", (room_id, seq)).fetchone()
        return row[0] if row is not None else next(iter(self._with_missing(room_id, seq, seq)), None)

    def _newest(self, room_id: RoomId, through: Seq) -> Seq:
        row: Any = self._execute(
            "SELECT coalesce(max(place), 0) & 0xffffffff FROM timeline WHERE place BETWEEN ?1 << 32 AND ?1 << 32 | ?2",
            (room_id, min(through, _SEQ_MAX)),
        ).fetchone()
        return int(row[0])

    def _with_missing(self, room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
        """A page with a hole in it. The timeline is written in the order of the log, a transaction a batch, so a hole
        before its newest message will not be filled by what is still to come."""
        last = min(last, self._newest(room_id, _SEQ_MAX))
        rows: Any = self._execute(
            "SELECT place & 0xffffffff, message FROM timeline WHERE place BETWEEN ?1 << 32 | ?2 AND ?1 << 32 | ?3",
            (room_id, first, last),
        )
        found = dict(rows)
        return [found[seq] if seq in found else missing_message(room_id, seq) for seq in range(first, last + 1)]

    def _summaries(self, where: str, bindings: tuple[Any, ...], limit: int) -> list[RoomSummaryRow]:
        """The newest activity first. One statement, so that all of it is of one moment: the inner query picks the
        rooms, the outer one looks up what only the picked ones need."""
        rows: Any = self._execute(
            "SELECT p.*, (SELECT count(*) FROM mentions x WHERE x.account_id = p.account_id AND x.room_id = p.room_id"
            "   AND x.seq > p.read_seq AND x.seq <= t.place & 0xffffffff), t.place & 0xffffffff, t.message FROM ("
            f" SELECT {_ROOM}, m.account_id, m.role, m.read_seq FROM memberships m JOIN rooms r USING (room_id)"
            f"  {where} ORDER BY r.updated_at DESC, r.room_id DESC LIMIT ?) p"
            " LEFT JOIN timeline t ON t.place = (SELECT max(place) FROM timeline"
            "   WHERE place BETWEEN p.room_id << 32 AND p.room_id << 32 | p.last_seq)"
            " ORDER BY p.updated_at DESC, p.room_id DESC",
            (*bindings, limit),
        )
        return [
            room_summary(_room(room), role, read_seq, mentions, None if message is None else (seq, message))
            for *room, _, role, read_seq, mentions, seq, message in rows
        ]


def _account(row: Any) -> AccountRow:
    account_id, name, is_admin, created_at = row
    return AccountRow(account_id, name, bool(is_admin), created_at)
