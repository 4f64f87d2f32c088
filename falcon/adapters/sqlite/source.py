"""Reading the journal and the snapshots."""

import time
from functools import cached_property
from typing import Any

import apsw

from falcon.domain.ids import Millis, Partition
from falcon.journal import codec
from falcon.journal.envelope import Envelope, Position
from falcon.journal.ports import Checkpointed, JournalUnavailable

_POLL_SECONDS = 0.002


class SqliteSource:
    """EventSource and SnapshotStore over one connection, for one thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    @cached_property
    def partitions(self) -> int:
        (count,) = self._row("SELECT value FROM meta WHERE key = 'partitions'")
        return int(count)

    @cached_property
    def instance(self) -> str:
        """A name for this log, made with it."""
        (name,) = self._row("SELECT value FROM meta WHERE key = 'instance'")
        return str(name)

    def read(self, partition: Partition, position: Position, limit: int) -> list[Envelope]:
        try:
            rows: list[Any] = self._connection.execute(
                "SELECT offset, epoch, n, data FROM journal WHERE partition = ? AND offset >= ?"
                " ORDER BY offset LIMIT ?",
                (partition, position.offset, limit),
            ).fetchall()
        except apsw.Error as error:
            raise JournalUnavailable(f"cannot read partition {partition}: {error}") from error
        return [codec.decode(data, partition, offset, epoch, n) for offset, epoch, n, data in rows]

    def ends(self) -> list[int]:
        return [self._end(partition) for partition in range(self.partitions)]

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        before = self._data_version()
        while self._data_version() == before and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)

    def _data_version(self) -> Any:
        """Another number whenever some other connection has committed."""
        return self._row("PRAGMA data_version")

    def _end(self, partition: Partition) -> int:
        (last,) = self._row("SELECT max(offset) FROM journal WHERE partition = ?", partition)
        return 0 if last is None else last + 1

    def checkpoint(self, partition: Partition, version: int) -> Checkpointed | None:
        row = self._maybe(
            "SELECT offset, epoch, n, state FROM checkpoints WHERE partition = ? AND version = ?", partition, version
        )
        return None if row is None else Checkpointed(Position(*row[:3]), row[3])

    def load(self, partition: Partition, key: str, version: int) -> bytes | None:
        row = self._maybe(
            "SELECT data FROM snapshots WHERE partition = ? AND key = ? AND version = ?", partition, key, version
        )
        return None if row is None else row[0]

    def answers(self, partition: Partition, version: int, since: Millis) -> list[bytes]:
        try:
            rows: list[Any] = self._connection.execute(
                "SELECT data FROM answers WHERE partition = ? AND at >= ? AND version = ? ORDER BY at, offset",
                (partition, since, version),
            ).fetchall()
        except apsw.Error as error:
            raise JournalUnavailable(f"cannot read partition {partition}: {error}") from error
        return [data for (data,) in rows]

    def _row(self, sql: str, *bindings: int | str) -> tuple[Any, ...]:
        row = self._maybe(sql, *bindings)
        assert row is not None
        return row

    def _maybe(self, sql: str, *bindings: int | str) -> tuple[Any, ...] | None:
        try:
            return self._connection.execute(sql, bindings).fetchone()
        except apsw.Error as error:
            raise JournalUnavailable(f"cannot read the journal: {error}") from error
