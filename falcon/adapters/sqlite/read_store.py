"""The read store over a file, or over several. The queries are in the folders of the read models, and run on the
caller's thread."""

import time
from collections.abc import Collection, Sequence
from typing import Any, Final

import apsw

from falcon.adapters.sqlite.database import AT_END
from falcon.domain.ids import AccountId, Partition, RoomId, partition_of
from falcon.features.read_marks.table import Access, Newest
from falcon.journal.envelope import Position
from falcon.read.catalogue import READ_MODELS, ReadStore, SqliteFilesQueries, SqliteQueries
from falcon.read.sqlite import SqliteQueryContext, query
from falcon.read.store import BeingFilled, Fill

_GENERATION_SECONDS: Final = 1.0  # a rebuild is rare: its tables show this much later
_KEPT_MAX: Final = 10_000  # answers of ``access``: 2 MB


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
        f"SELECT iif(min(applied) = {AT_END}, (SELECT next FROM log), coalesce(min(applied), 0)) FROM projections"
        f" WHERE filling < ? AND name IN ({names})",
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


class LoneReadStore(SqliteReadStore):
    """The store of the only process that writes its file. It keeps who may read what until :meth:`forget`, which the
    process calls after each commit and before its answer. A rebuild is another process's, and shows a second later."""

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__(connection)
        self._kept: dict[tuple[RoomId, AccountId], Access] = {}
        self._kept_until = 0.0
        self.forget = self._kept.clear

    async def access(self, room_id: RoomId, account_id: AccountId, newest: Newest | None = None) -> Access | None:
        now = time.monotonic()
        if now >= self._kept_until or len(self._kept) >= _KEPT_MAX:
            self.forget()
            self._kept_until = now + _GENERATION_SECONDS
        access = self._kept.get((room_id, account_id))
        if access is None:
            access = await super().access(room_id, account_id)
            if access is not None:
                self._kept[room_id, account_id] = access
        return access

    async def applied(self, partition: Partition) -> int:
        """The caller waits for a commit, perhaps of the thread that catches up, which this one has not heard of yet."""
        self.forget()
        return await super().applied(partition)


class SqliteFilesReadStore(SqliteFilesQueries):
    """ReadStore over the files of a data folder of several, for one thread. ``files``: the store of each, in order."""

    def __init__(self, files: Sequence[SqliteReadStore], partitions: int) -> None:
        self.files = files
        self._partitions = partitions

    def file_of(self, identity: int) -> SqliteReadStore:
        return self._file(partition_of(identity, self._partitions))

    def _file(self, partition: Partition) -> SqliteReadStore:
        return self.files[partition % len(self.files)]

    async def applied(self, partition: Partition) -> int:
        return await self._file(partition).applied(partition)

    async def applied_in(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        found: dict[Partition, int] = {}
        for place, file in enumerate(self.files):
            if of_file := [partition for partition in partitions if partition % len(self.files) == place]:
                found |= await file.applied_in(of_file)
        return found

    async def applied_everywhere(
        self, partitions: int, projections: Sequence[str] | None = None
    ) -> dict[Partition, Position]:
        of_files = [await file.applied_everywhere(partitions, projections) for file in self.files]
        return {partition: of_files[partition % len(self.files)][partition] for partition in range(partitions)}


def read_store(connections: Sequence[apsw.Connection], partitions: int) -> ReadStore:
    """Returns a store over read-only connections to the files of a data folder, in order."""
    stores = [SqliteReadStore(connection) for connection in connections]
    return stores[0] if len(stores) == 1 else SqliteFilesReadStore(stores, partitions)
