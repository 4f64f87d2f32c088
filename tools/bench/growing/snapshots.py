"""The snapshots of a partition as an owner has them, over a topic that counts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from falcon.adapters.kafka.snapshots import KafkaSnapshots
from falcon.adapters.sqlite.snapshot_cache import LocalSnapshotCache
from tools.bench.growing.kafka import CountingCluster, Topic

PARTITION: Final = 0
EPOCH: Final = 7
_PARTITIONS: Final = 64


class CountingCopy:
    """The local file. ``given``: the records that it was asked for and gave."""

    def __init__(self, copy: Any) -> None:
        self._copy = copy
        self.given = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        asked = getattr(self._copy, name)

        def counted(*arguments: Any) -> Any:
            found = asked(*arguments)
            self.given += len(found) if isinstance(found, list | dict) else found is not None
            return found

        return counted


class Counted(NamedTuple):
    """``store``: with the local file ``copy``."""

    store: KafkaSnapshots
    copy: CountingCopy


@contextmanager
def counted(topic: Topic) -> Iterator[Counted]:
    """The local file is in a folder that is deleted at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="falcon-growth-") as folder:
        copy = CountingCopy(LocalSnapshotCache(Path(folder) / "snapshots.db"))
        cluster = CountingCluster(brokers=("counted:1",), partitions=_PARTITIONS, topic=topic)
        producer: Any = topic
        yield Counted(KafkaSnapshots(cluster, producer, copy), copy)


async def take_over(counted: Counted) -> None:
    """Restore the partition, and open the epoch in which it is saved."""
    await counted.store.restore(PARTITION, "growth")
    counted.store.open(PARTITION, EPOCH)
