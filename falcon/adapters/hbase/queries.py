"""What all queries use, and how far the tables show the log."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from falcon.adapters.hbase.client import HBaseClient
from falcon.adapters.hbase.meta import Generations, Meta, applied_key, applied_of
from falcon.adapters.hbase.schema import table_name
from falcon.domain.ids import Partition, partition_of
from falcon.journal.envelope import Position
from falcon.read.store import BeingFilled, Fill, ReadStoreUnavailable, shown_by


class QueryContext(NamedTuple):
    """The tables during one query: its client, and the generations that were live a moment ago."""

    calls: HBaseClient
    prefix: str
    live: dict[str, Generations]

    def generation(self, projection: str) -> int:
        if projection not in self.live:
            raise ReadStoreUnavailable(f"there are no tables {self.prefix}_* of {projection}: prepare them first")
        generations = self.live[projection]
        if generations.fill is not Fill.SHOWN:
            raise BeingFilled(projection)
        return generations.live

    def table(self, projection: str, table: str) -> str:
        return table_name(self.prefix, table, self.generation(projection))

    def applied(self, projection: str, identity: int) -> int:
        meta = Meta(self.calls, self.prefix)
        log = meta.log()
        if log is None:
            raise ReadStoreUnavailable(f"the tables {self.prefix}_* name no log: prepare them first")
        partition = partition_of(identity, log.partitions)
        return applied_of(meta.get(applied_key(projection, self.generation(projection), partition))).position.offset


def applied(view: QueryContext, partition: Partition) -> int:
    return applied_in(view, [partition])[partition]


def applied_in(view: QueryContext, partitions: Collection[Partition]) -> dict[Partition, int]:
    return {partition: position.offset for partition, position in _shown(view, partitions, _counted(view)).items()}


def applied_everywhere(
    view: QueryContext, partitions: int, projections: Sequence[str] | None = None
) -> dict[Partition, Position]:
    """The least of the positions of these projections, by partition."""
    if projections is None:
        return _shown(view, range(partitions), _counted(view))
    for name in projections:
        view.generation(name)  # raises if it is being filled
    return _shown(view, range(partitions), projections)


def _counted(view: QueryContext) -> list[str]:
    return [name for name, generations in view.live.items() if generations.fill is not Fill.FILLING]


def _shown(
    view: QueryContext, partitions: Collection[Partition], projections: Collection[str]
) -> dict[Partition, Position]:
    keys = {
        (name, partition): applied_key(name, generations.live, partition)
        for name, generations in view.live.items()
        for partition in partitions
    }
    found = Meta(view.calls, view.prefix).get_all(list(keys.values()))
    shown: dict[Partition, Position] = {}
    for partition in partitions:
        reached = {name: applied_of(found.get(keys[name, partition])).reached for name in view.live}
        shown[partition] = min((shown_by(name, reached) for name in projections if name in reached), default=Position())
    return shown
