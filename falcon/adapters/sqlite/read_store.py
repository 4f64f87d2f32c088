"""The read store. Its queries are in the folders of the read models, and run on the caller's thread."""

import functools
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import apsw

from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.read.accounts import sqlite as accounts_queries
from falcon.read.catalogue import READ_MODELS
from falcon.read.memberships import sqlite as memberships_queries
from falcon.read.reactions import sqlite as reactions_queries
from falcon.read.rooms import sqlite as rooms_queries
from falcon.read.sqlite import SqliteQueryContext
from falcon.read.store import BeingFilled, Fill, ReadStoreUnavailable
from falcon.read.timeline import sqlite as timeline_queries
from falcon.telemetry import metrics

_GENERATION_SECONDS: Final = 1.0

P = ParamSpec("P")
T = TypeVar("T")


def _query(
    query: Callable[Concatenate[SqliteQueryContext, P], T], *read_models: str
) -> Callable[Concatenate["SqliteReadStore", P], Coroutine[Any, Any, T]]:
    """Makes a method that runs a query of these read models."""
    seconds = metrics.read_seconds.labels(query.__name__)
    failures = metrics.read_failures.labels(query.__name__)

    @functools.wraps(query)
    async def asked(self: "SqliteReadStore", /, *args: P.args, **kwargs: P.kwargs) -> T:
        began = time.monotonic()
        try:
            if not self._shows_all:
                self.check_shown(read_models)
            found = query(self, *args, **kwargs)
            seconds.observe(time.monotonic() - began)
            return found
        except apsw.Error as error:
            failures.inc()
            raise ReadStoreUnavailable(f"cannot read the tables: {error}") from error

    return asked


def applied(view: SqliteQueryContext, partition: Partition) -> int:
    return _shown(view, tuple(READ_MODELS))


def applied_everywhere(
    view: SqliteQueryContext, partitions: int, projections: Sequence[str] | None = None
) -> dict[Partition, Position]:
    if projections is None:
        projections = tuple(READ_MODELS)
    else:
        view.check_shown(projections)
    return dict.fromkeys(range(partitions), Position(_shown(view, projections)))


def _shown(view: SqliteQueryContext, projections: Sequence[str]) -> int:
    """The least position of all projections that are not being filled."""
    names = ", ".join("?" * len(projections))
    row: Any = view.execute(
        f"SELECT coalesce(min(applied), 0) FROM projections WHERE filling < ? AND name IN ({names})",
        (Fill.FILLING, *projections),
    ).fetchone()
    return int(row[0])


class SqliteReadStore:
    """ReadStore over one read-only connection, for one thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.execute = connection.execute
        self._generations: dict[str, int] = {}
        self._look_again_at = 0.0
        # True: nothing is being filled. A read model starts to be filled before a process opens the file, and never
        # again.
        self._shows_all = False

    applied = _query(applied)
    applied_everywhere = _query(applied_everywhere)
    page = _query(timeline_queries.page, "timeline")
    message = _query(timeline_queries.message, "timeline")
    message_at = _query(timeline_queries.message_at, "timeline")
    newest = _query(timeline_queries.newest, "timeline")
    room = _query(rooms_queries.room, "rooms")
    direct_room = _query(rooms_queries.direct_room, "rooms")
    all_rooms = _query(rooms_queries.all_rooms, "rooms")
    totals = _query(rooms_queries.totals, "rooms", "accounts")
    access = _query(memberships_queries.access, "memberships", "rooms", "timeline")
    rooms_of = _query(memberships_queries.rooms_of, "memberships", "rooms", "timeline")
    room_of = _query(memberships_queries.room_of, "memberships", "rooms", "timeline")
    roles_of = _query(memberships_queries.roles_of, "memberships")
    member_rooms = _query(memberships_queries.member_rooms, "memberships", "rooms")
    member_rooms_among = _query(memberships_queries.member_rooms_among, "memberships", "rooms")
    summaries = _query(memberships_queries.summaries, "memberships", "timeline")
    summaries_of = _query(memberships_queries.summaries_of, "memberships", "rooms", "timeline")
    members = _query(memberships_queries.members, "memberships", "accounts")
    mentions = _query(memberships_queries.mentions, "memberships")
    account = _query(accounts_queries.account, "accounts")
    accounts = _query(accounts_queries.accounts, "accounts")
    names_of = _query(accounts_queries.names_of, "accounts")
    bearer = _query(accounts_queries.bearer, "accounts")
    tokens = _query(accounts_queries.tokens, "accounts")
    shown_reactions = _query(reactions_queries.shown_reactions, "reactions")
    reactions = _query(reactions_queries.reactions, "reactions")
    known_reactions = _query(reactions_queries.known_reactions, "reactions")

    async def applied_in(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(partitions, await self.applied(0))

    def generation(self, projection: str) -> int:
        """Looked up once a second: a rebuild is rare, and corrects what was wrong for long."""
        now = time.monotonic()
        if now >= self._look_again_at:
            self._generations = dict(self.execute("SELECT name, generation FROM projections"))
            self._look_again_at = now + _GENERATION_SECONDS
        return self._generations[projection]

    def check_shown(self, read_models: Sequence[str]) -> None:
        if self._shows_all:
            return
        rows: Any = self.execute("SELECT name FROM projections WHERE filling > ?", (Fill.SHOWN,))
        filling = {name for (name,) in rows}
        self._shows_all = not filling
        for name in read_models:
            if name in filling:
                raise BeingFilled(name)
