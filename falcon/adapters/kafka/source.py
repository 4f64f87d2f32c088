"""Reading the log, for callers without an event loop."""

from typing import Final

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.reader import Reader, judge_all
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Position, Recorded

_WAIT_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 0.02


class KafkaSource:
    """EventSource over one consumer, for one thread. ``close`` it when done.

    ``wait_seconds``: how long a read waits where there is nothing new; the brokers answer as soon as there is.
    ``rests``: its reader does between two reads, but for those that gave as much as was asked for.
    """

    def __init__(
        self, cluster: KafkaCluster, loop: LoopThread, wait_seconds: float = _WAIT_SECONDS, *, rests: bool = False
    ) -> None:
        self._cluster = cluster
        self._wait_seconds = wait_seconds
        self._rests = rests
        self._loop = loop
        self._reader = Reader(cluster, cluster.journal)

    @property
    def partitions(self) -> int:
        return self._cluster.partitions

    def read(self, cursor: Cursor, limit: int, *, wait: bool = True) -> tuple[list[Recorded], Cursor]:
        """Waits a moment where there is nothing; only for the brokers' answers without ``wait``."""
        offsets = {partition: position.offset for partition, position in cursor.items()}
        seconds = self._wait_seconds if wait else _ANSWER_SECONDS
        fetched = self._loop.call(self._reader.records(offsets, limit, seconds, rests=self._rests))
        events: list[Recorded] = []
        after = dict(cursor)
        for partition, records in fetched.items():
            valid, position = judge_all(self._cluster.journal, partition, cursor[partition], records)
            try:
                for at, body in valid:
                    events.append(codec.decode(body, partition, at.offset, at.epoch, at.n))
            except Undecodable as error:
                if error.at == valid[0].position:
                    raise
                position = error.at  # what is before it can be read
            after[partition] = position
        return events, after

    def end(self) -> Cursor:
        ends = self._loop.call(self._reader.ends(range(self._cluster.partitions)))
        return {partition: Position(offset) for partition, offset in ends.items()}

    def behind(self, cursor: Cursor) -> int:
        return sum(max(0, self._reader.end_seen(p) - position.offset) for p, position in cursor.items())

    def wait(self, seconds: float) -> None:
        """Nothing to do here: a read waits."""

    def close(self) -> None:
        self._loop.call(self._reader.close())
