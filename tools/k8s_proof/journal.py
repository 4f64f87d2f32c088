"""Reads the log directly, past all of Falcon's processes."""

from collections.abc import Iterator
from typing import Final

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.source import KafkaSource
from falcon.journal.envelope import Cursor, Position, Recorded

_AT_ONCE: Final = 2_000


class Journal:
    """Read once, from its beginning on. For one thread at a time; ``close`` it when done."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._loop = LoopThread()
        self._source = KafkaSource(cluster, self._loop)
        self._cursor: Cursor = dict.fromkeys(range(cluster.partitions), Position())

    def news(self) -> Iterator[Recorded]:
        """Every valid event since the last time. Raises JournalUnavailable, Undecodable."""
        end = self._source.end()
        while any(self._cursor[partition].offset < end[partition].offset for partition in self._cursor):
            found, self._cursor = self._source.read(self._cursor, _AT_ONCE)
            yield from found

    def skip(self) -> None:
        """Pass over the events that the log has by now."""
        for _ in self.news():
            pass

    def close(self) -> None:
        self._source.close()
        self._loop.close()
