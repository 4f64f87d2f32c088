"""Reads the log directly, past all of Falcon's processes."""

from collections.abc import Iterator

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.source import KafkaSource
from falcon.journal.envelope import Position, Recorded
from tools.people.audit import events_of


class Journal:
    """Read once, from its beginning on. For one thread at a time; ``close`` it when done."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._loop = LoopThread()
        self._source = KafkaSource(cluster, self._loop)
        self._cursor: dict[int, Position] = {}

    def news(self) -> Iterator[Recorded]:
        """Every valid event since the last time. Raises JournalUnavailable, Undecodable."""
        yield from events_of(self._source, self._cursor)

    def skip(self) -> None:
        """Pass over the events that the log has by now."""
        for _ in self.news():
            pass

    def close(self) -> None:
        self._source.close()
        self._loop.close()
