"""The starts of a cluster's log: each takeover of a partition is one, and its marker has the number.

An owner that writes after the brokers went back to an older copy has taken the partition over first. So no other record
is needed, and a takeover takes no longer for it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from falcon.adapters.kafka import fence
from falcon.adapters.kafka.reader import EndsBefore
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.streams.starts import NO_START, KnownStarts, Start
from falcon.streams.tail import WrongPlace

_FOUND_MAX: Final = 10_000  # places that were looked for; 64 partitions after 150 moves of each


class KafkaStarts:
    """Starts of the partitions. It knows the markers that the tail has read, and looks for others in the log."""

    def __init__(
        self,
        partitions: int,
        position: Callable[[int, int], Awaitable[Position]],
        marker: Callable[[int, int], Awaitable[bytes]],
    ) -> None:
        """``position``: as Tail.position. ``marker``: reads the record at an offset of a partition."""
        self._position = position
        self._marker = marker
        self._known = defaultdict[int, KnownStarts](lambda: KnownStarts({}))
        self._read: dict[int, range] = {}  # by partition: places whose markers are all known, since they were read
        self._found: set[tuple[int, int]] = set()
        self._looking = [asyncio.Lock() for _ in range(partitions)]

    async def know(self, places: Mapping[int, int]) -> None:
        """A place after the end that the leader states counts as one of the newest start that is known. The end may
        be stale, then a takeover that this process has not seen costs a client a ``hello``. Raises WrongPlace,
        JournalUnavailable."""
        if wrong := places.keys() - range(len(self._looking)):
            raise WrongPlace(f"there is no partition {min(wrong)}")
        unknown = [(segment, offset) for segment, offset in places.items() if not self._is_known(segment, offset)]
        if unknown:
            await asyncio.gather(*(self._find(segment, offset) for segment, offset in unknown))

    def _is_known(self, segment: int, offset: int) -> bool:
        return offset in self._read.get(segment, ()) or (segment, offset) in self._found

    async def _find(self, segment: int, offset: int) -> None:
        async with self._looking[segment]:  # after a change of servers many clients ask for the same places
            if self._is_known(segment, offset):
                return
            try:
                position = await self._position(segment, offset)
            except EndsBefore:  # most probably it is of a history that was lost: the newest start refuses its token
                return
            await self._learn(segment, position)
            if len(self._found) >= _FOUND_MAX:
                self._found.clear()
            self._found.add((segment, offset))

    async def _learn(self, segment: int, position: Position) -> None:
        """Know the marker of the position's epoch. Raises JournalUnavailable."""
        marker = position.epoch - 1
        if marker >= 0:
            known = self._known[segment].before(marker + 1)
            if known is None or known.begin != marker:
                self.add(segment, marker, await self._marker(segment, marker))

    def add(self, segment: int, offset: int, marker: bytes) -> None:
        self._known[segment].add(Start(offset, fence.number_of(marker)))

    async def begin(self, cursor: Mapping[int, Position]) -> None:
        """The tail is about to read from there on. Raises JournalUnavailable."""
        begun = {s: at for s, at in cursor.items() if s not in self._read or at.offset != self._read[s].stop - 1}
        if begun:
            await asyncio.gather(*(self._learn(segment, position) for segment, position in begun.items()))
            self._read |= {segment: range(at.epoch, at.offset + 1) for segment, at in begun.items()}

    def read_up_to(self, cursor: Mapping[int, Position]) -> None:
        """The tail has read up to there from where it began."""
        for segment, position in cursor.items():
            self._read[segment] = range(self._read[segment].start, position.offset + 1)

    def number(self, segment: int, offset: int) -> int:
        start = self._known[segment].before(offset)
        return NO_START if start is None else start.number

    def newest(self, partition: Partition) -> int | None:
        """A partition is a segment."""
        read = self._read.get(partition)
        return None if read is None else self.number(partition, read.stop)
