"""The snapshots of a partition as an owner has them, over a topic that counts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from falcon.adapters.kafka.snapshots import KafkaSnapshots, pack, unpack
from falcon.adapters.sqlite.snapshot_cache import LocalSnapshotCache
from tools.bench.growing.kafka import CountingCluster, Topic

PARTITION: Final = 0
EPOCH: Final = 7
_PARTITIONS: Final = 64


class Counted(NamedTuple):
    """``store``: with the local file ``copy``. ``unpacked``: the bytes of each record of it that was looked at."""

    store: KafkaSnapshots
    copy: LocalSnapshotCache[Any]
    unpacked: list[int]


@contextmanager
def counted(topic: Topic) -> Iterator[Counted]:
    """The local file is in a folder that is deleted at the end of the block."""
    unpacked: list[int] = []

    def unpack_counting(data: bytes) -> Any:
        unpacked.append(len(data))
        return unpack(data)

    with tempfile.TemporaryDirectory(prefix="falcon-growth-") as folder:
        copy = LocalSnapshotCache(Path(folder) / "snapshots.db", pack, unpack_counting)
        cluster = CountingCluster(brokers=("counted:1",), partitions=_PARTITIONS, topic=topic)
        yield Counted(KafkaSnapshots(cluster, topic, copy), copy, unpacked)  # type: ignore[arg-type]


async def take_over(counted: Counted) -> None:
    """Restore the partition, and open the epoch in which it is saved."""
    await counted.store.restore(PARTITION, "growth")
    counted.store.open(PARTITION, EPOCH)
