"""The brokers as lists of records, for tests of what Falcon makes of them; time and faults are the test's."""

import asyncio
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer, Record
from falcon.adapters.kafka.reader import Reader
from falcon.adapters.sqlite.snapshot_cache import LocalSnapshotCache

CLUSTER = KafkaCluster(("nowhere:1",), 8)


class Stored(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None


class Written(NamedTuple):
    offset: int
    timestamp: int


class Brokers:
    """``refused``: partitions that take nothing in. ``silent``: the ones that give nothing out.

    ``held``: the next write to a topic waits for it. ``lost``: so many of the next writes are not acknowledged, and get
    in when the test says so (``late``). ``ends``: of topics that are kept elsewhere.
    """

    def __init__(self) -> None:
        self.topics: dict[tuple[str, int], list[Stored]] = defaultdict(list)
        self.refused: set[tuple[str, int]] = set()
        self.silent: set[tuple[str, int]] = set()
        self.held: dict[str, asyncio.Event] = {}
        self.lost = 0
        self.late: list[tuple[str, int, Sequence[Record]]] = []
        self.ahead = 0.0
        self.ends: dict[str, Callable[[], int]] = {}
        self._good_writes: int | None = None

    def fail_after(self, writes: int | None) -> None:
        """The next write behind so many is lost; None takes that back."""
        self._good_writes = writes

    def loses(self) -> bool:
        """Returns True if the write that is made now is lost."""
        if self._good_writes is not None:
            self._good_writes -= 1
            if self._good_writes < 0:
                self._good_writes = None
                return True
        if self.lost:
            self.lost -= 1
            return True
        return False

    def append(self, topic: str, partition: int, records: Iterable[Record]) -> int:
        stored = self.topics[topic, partition]
        first = stored[-1].offset + 1 if stored else 0
        stored += [Stored(first + i, key, value) for i, (key, value) in enumerate(records)]
        return first

    def compact(self, topic: str, partition: int) -> None:
        """Keep the last record of each key, and no deleted one."""
        stored = self.topics[topic, partition]
        last = {record.key: record for record in stored}
        stored[:] = [r for r in stored if last[r.key] is r and (r.value is not None or r is stored[-1])]

    def end(self, topic: str, partition: int) -> int:
        if topic in self.ends:
            return self.ends[topic]()
        stored = self.topics[topic, partition]
        return stored[-1].offset + 1 if stored else 0

    def producer(self) -> Producer:
        return cast("Producer", _Producer(self))

    def reader(self, cluster: KafkaCluster, topic: str) -> Reader:
        return cast("Reader", _Reader(self, topic))


class _Producer:
    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers

    async def write(self, topic: str, partition: int, records: Sequence[Record]) -> Written:
        brokers = self._brokers
        if (topic, partition) in brokers.refused:
            raise NotWritten(f"{topic}, partition {partition}: too few replicas")
        held = brokers.held.pop(topic, None)
        if brokers.loses():
            brokers.late.append((topic, partition, records))
            raise NotWritten(f"{topic}, partition {partition}: no answer")
        offset = brokers.append(topic, partition, records)
        if held is not None:
            await held.wait()
        return Written(offset, round((time.time() + brokers.ahead) * 1000))

    async def close(self) -> None:
        pass


class _Reader:
    def __init__(self, brokers: Brokers, topic: str) -> None:
        self._brokers = brokers
        self.topic = topic

    async def records(self, offsets: Mapping[int, int], limit: int, seconds: float) -> dict[int, list[Stored]]:
        await asyncio.sleep(0)
        found: dict[int, list[Stored]] = {}
        for partition, offset in offsets.items():
            if (self.topic, partition) in self._brokers.silent:
                await asyncio.sleep(0.01)
                continue
            stored = self._brokers.topics[self.topic, partition]
            start = bisect_left(stored, offset, key=lambda record: record.offset)
            found[partition] = stored[start : start + limit]
        return found

    async def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        return {partition: self._brokers.end(self.topic, partition) for partition in partitions}

    async def close(self) -> None:
        pass


def memory_copy() -> LocalSnapshotCache:
    """The local copy, in a file that is in memory."""
    return LocalSnapshotCache(Path(":memory:"))
