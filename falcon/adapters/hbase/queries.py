"""The context of each query, and how far the tables show the log."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from falcon.adapters.hbase.client import HBaseClient
from falcon.adapters.hbase.kept_rows import RowsOfRooms, read_rows
from falcon.adapters.hbase.meta import Generations, Meta, applied_key, applied_of
from falcon.adapters.hbase.schema import table_name
from falcon.domain.ids import Partition, RoomId, partition_of
from falcon.read.hbase import RowAbout, RowFound
from falcon.read.store import BeingFilled, Fill, Moves, ReadStoreUnavailable


def live_generation(live: Mapping[str, Generations], prefix: str, projection: str) -> int:
    """Raises BeingFilled, ReadStoreUnavailable."""
    if projection not in live:
        raise ReadStoreUnavailable(f"there are no tables {prefix}_* of {projection}: prepare them first")
    if live[projection].fill is not Fill.SHOWN:
        raise BeingFilled(projection)
    return live[projection].live


class QueryContext(NamedTuple):
    """The tables during one query: its client, the generations that were live a moment ago, and the rows of rooms that
    it need not read again."""

    calls: HBaseClient
    prefix: str
    live: dict[str, Generations]
    rows: RowsOfRooms | None = None

    def rows_about(self, room_id: RoomId, wanted: Sequence[RowAbout]) -> list[RowFound]:
        if self.rows is None:
            return read_rows(self.calls, wanted, shown=0)
        return self.rows.rows(self.calls, room_id, wanted)

    def generation(self, projection: str) -> int:
        return live_generation(self.live, self.prefix, projection)

    def table(self, projection: str, table: str) -> str:
        return table_name(self.prefix, table, self.generation(projection))

    def applied(self, projection: str, identity: int) -> int:
        meta = Meta(self.calls, self.prefix)
        log = meta.log()
        if log is None:
            raise ReadStoreUnavailable(f"the tables {self.prefix}_* name no log: prepare them first")
        partition = partition_of(identity, log.partitions)
        return applied_of(meta.get(applied_key(projection, self.generation(projection), partition))).position.offset


def applied(view: QueryContext, partitions: Collection[Partition]) -> list[Moves]:
    """The positions of all projections in these partitions, one for each projection with its live generation."""
    keys = {
        (name, partition): applied_key(name, generations.live, partition)
        for name, generations in view.live.items()
        for partition in partitions
    }
    found = Meta(view.calls, view.prefix).get_all(list(keys.values()))
    return [
        Moves(
            name,
            generations.live,
            {partition: applied_of(found.get(keys[name, partition])).reached for partition in partitions},
        )
        for name, generations in view.live.items()
    ]


def generations(view: QueryContext) -> None:
    """Looks up which tables are live, if that was not done a moment ago."""
