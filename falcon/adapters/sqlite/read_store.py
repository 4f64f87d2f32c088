"""The read store. Its queries are in the folders of the read models, and run on the caller's thread."""

import time
from collections.abc import Collection, Sequence
from typing import Any, Final

import apsw

from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.read.catalogue import READ_MODELS, SqliteQueries
from falcon.read.sqlite import SqliteQueryContext, query
from falcon.read.store import BeingFilled, Fill

_GENERATION_SECONDS: Final = 1.0


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


class SqliteReadStore(SqliteQueries):
    """ReadStore over one read-only connection, for one thread."""

    faults = apsw.Error

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.execute = connection.execute
        self._generations: dict[str, int] = {}
        self._look_again_at = 0.0
        # True: nothing is being filled. A read model starts to be filled before a process opens the file, and never
        # again.
        self.shows_all = False

    applied = query(applied)
    applied_everywhere = query(applied_everywhere)

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
        if self.shows_all:
            return
        rows: Any = self.execute("SELECT name FROM projections WHERE filling > ?", (Fill.SHOWN,))
        filling = {name for (name,) in rows}
        self.shows_all = not filling
        for name in read_models:
            if name in filling:
                raise BeingFilled(name)
