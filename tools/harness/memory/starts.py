"""Starts of a log in memory."""

from collections import defaultdict
from collections.abc import Mapping

from falcon.domain.ids import Partition
from falcon.streams.starts import NO_START, KnownStarts, Start


class MemoryStarts:
    """The numbers of a log's starts by segment. None has begun until one is added."""

    def __init__(self) -> None:
        self._of = defaultdict[int, KnownStarts](lambda: KnownStarts({}))

    def add(self, segment: int, start: Start) -> None:
        self._of[segment].add(start)

    async def know(self, places: Mapping[int, int]) -> None:
        """Does nothing: all are known."""

    def number(self, segment: int, offset: int) -> int:
        start = self._of[segment].before(offset)
        return NO_START if start is None else start.number

    def newest(self, partition: Partition) -> int:
        """Each partition is a segment."""
        return self.number(partition, 1 << 62)
