"""Reads the log once for several consumers of a process, which mostly stand at about the same place.

What one of them reads is kept for a while, and the others take it from there. So the brokers are asked once and each
event is decoded once, however many projections there are. A consumer that needs more than that, since its tables
are slow or it is new, reads by itself until it has caught up. Each has its own cursor, pace and faults, as if it read
alone.
"""

import sys
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from falcon.domain.ids import Partition
from falcon.features.messages.rules import MessageEdited, MessagePosted
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Position, Recorded
from falcon.journal.ports import CheckingSource

# of all partitions; older chunks are dropped, and lagging consumers read them by themselves
_KEPT_BYTES: Final = 16 << 20
_KEPT_SECONDS: Final = 10.0  # consumers that start together have begun to read by then
_EVENT_BYTES: Final = 1_000  # an event's overhead in memory, about
_FRESH_SECONDS: Final = 0.01  # consumers that come together share a read
_WAIT_SECONDS: Final = 1.0  # a consumer that is to end notices it this soon
_HOLD_SECONDS: Final = 0.25  # a read waits at most so long for slower consumers; these then read by themselves


class Source(CheckingSource, Protocol):
    def read(self, cursor: Cursor, limit: int, *, wait: bool = True) -> tuple[list[Recorded], Cursor]:
        """Like EventSource.read. Without ``wait`` it returns what is there now."""

    def close(self) -> None: ...


class _Chunk(NamedTuple):
    """The events that one read gave of a partition, between two positions. ``at``: when, on the reader's clock."""

    before: Position
    events: list[Recorded]
    after: Position
    bytes: int
    at: float


class _Window:
    """The chunks that are kept of a partition. ``begin``, ``end``: the positions before and after all of them."""

    def __init__(self, partition: Partition, begin: Position) -> None:
        self.partition = partition
        self.begin = begin
        self.end = begin
        self._chunks: deque[_Chunk] = deque()
        self._bytes = 0

    def add(self, events: list[Recorded], after: Position, at: float) -> int:
        """Add a chunk. Returns its size in bytes."""
        chunk = _Chunk(self.end, events, after, sum(map(_size, events)), at)
        self._chunks.append(chunk)
        self._bytes += chunk.bytes
        self.end = after
        return chunk.bytes

    @property
    def oldest(self) -> _Chunk:
        return self._chunks[0]

    def drop_oldest(self) -> int:
        """Drop the oldest chunk. Returns its size in bytes."""
        chunk = self._chunks.popleft()
        self._bytes -= chunk.bytes
        self.begin = chunk.after
        return chunk.bytes

    def bytes_after(self, position: Position) -> float:
        """Estimates how many bytes of what is kept follow a position; 0 for a position before all that is kept."""
        if not self.begin.offset <= position.offset < self.end.offset:
            return 0.0
        return self._bytes * (self.end.offset - position.offset) / (self.end.offset - self.begin.offset)

    def chunk_after(self, position: Position) -> tuple[list[Recorded], Position]:
        """The events from a position to the end of its chunk. Nothing if that is not kept, or not any more: the other
        consumers may have moved on since the position was looked up."""
        if not self.begin.offset <= position.offset < self.end.offset:
            return [], position
        chunk = self._chunks[bisect_right(self._chunks, position.offset, key=lambda each: each.before.offset) - 1]
        return [event for event in chunk.events if event.offset >= position.offset], chunk.after


class SharedLogReader:
    """``source``: reads the log for all. Any thread may call any method."""

    def __init__(self, source: Source, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._windows: dict[Partition, _Window] = {}
        self._order: deque[_Window] = deque()  # the window of each chunk that is kept
        self._bytes = 0
        self._undecodable: set[Partition] = set()  # partitions whose next event does not decode
        self._cursors: dict[object, Cursor] = {}  # each consumer's cursor at its last call
        self._reading = False
        self._read_at = -_FRESH_SECONDS

    def close(self) -> None:
        self._source.close()

    # --- called by ProjectionSource -----------------------------------------------------------------------------------

    @property
    def log(self) -> Source:
        return self._source

    def lagging_partitions(self, consumer: object, cursor: Cursor) -> dict[Partition, Position | None]:
        """The partitions that the consumer has to read by itself, each with the position up to which. None: up to an
        event that does not decode, which the consumer has to meet itself."""
        with self._changed:
            self._cursors[consumer] = dict(cursor)
            if not self._would_outrun_one():
                self._changed.notify_all()
            wanted = {partition for each in self._cursors.values() for partition in each}
            for partition in self._windows.keys() - wanted:
                del self._windows[partition]
                self._undecodable.discard(partition)
            alone: dict[Partition, Position | None] = {}
            for partition, position in cursor.items():
                window = self._windows.get(partition)
                if window is None or position.offset > window.end.offset:  # the others follow the foremost consumer
                    self._windows[partition] = _Window(partition, position)
                    self._undecodable.discard(partition)
                elif position.offset < window.begin.offset:
                    alone[partition] = window.begin
                elif partition in self._undecodable and position.offset >= window.end.offset:
                    alone[partition] = None
            self._drop_read()
            return alone

    def _drop_read(self) -> None:
        """Drop the old chunks that all consumers have read: else a burst of large texts would stay for days."""
        latest = self._monotonic() - _KEPT_SECONDS
        while self._order:
            window = self._order[0]
            oldest, partition = window.oldest, window.partition
            unread = any(
                oldest.after.offset > each[partition].offset for each in self._cursors.values() if partition in each
            )
            if unread or oldest.at > latest:
                return
            self._bytes -= self._order.popleft().drop_oldest()

    def forget(self, consumer: object) -> None:
        """The consumer reads no more."""
        with self._changed:
            self._cursors.pop(consumer, None)

    def read_after(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], dict[Partition, Position]]:
        """The kept events after the cursor, with partitions in turn, so that none waits for another's backlog."""
        events: list[Recorded] = []
        after = dict(cursor)
        with self._changed:
            going = {partition for partition in cursor if partition in self._windows}
            while going and len(events) < limit:
                for partition in list(going):
                    found, reached = self._windows[partition].chunk_after(after[partition])
                    if reached == after[partition]:
                        going.remove(partition)
                    events += found
                    after[partition] = reached
        return events, after

    def read_on(self, cursor: Cursor, limit: int, *, wait: bool) -> None:
        """Read more of the log. Does not read if another consumer has just read or is waiting for events, or if a
        slower one would lose its place here. With ``wait`` it waits for that.

        Raises JournalUnavailable.
        """
        with self._changed:
            has_more = self._has_more(cursor)
            wait = wait and not has_more
            if self._must_wait():
                if wait:
                    seconds = _WAIT_SECONDS if self._reading else _HOLD_SECONDS
                    self._changed.wait_for(lambda: self._has_more(cursor) or not self._must_wait(), seconds)
                return
            ends = {p: window.end for p, window in self._windows.items() if p not in self._undecodable}
            if not ends or (has_more and self._monotonic() - self._read_at < _FRESH_SECONDS):
                return
            self._reading = True
        try:
            events, after = self._source.read(ends, limit, wait=wait)
        except Undecodable as error:
            with self._changed:
                self._undecodable.add(error.partition)
        else:
            self._keep(ends, events, after)
        finally:
            with self._changed:
                self._reading = False
                self._read_at = self._monotonic()
                self._changed.notify_all()

    def _has_more(self, cursor: Cursor) -> bool:
        return any(self._windows[p].end.offset > at.offset for p, at in cursor.items() if p in self._windows)

    def _must_wait(self) -> bool:
        return self._reading or self._would_outrun_one()

    def _would_outrun_one(self) -> bool:
        """True if a consumer would soon lose events that it may still take in time. So with a backlog all go as fast as
        the slowest, which would otherwise have everything fetched and decoded once more. No consumer waits for long,
        since the tables of another may be slow, or away."""
        if self._monotonic() - self._read_at > _HOLD_SECONDS:
            return False
        return any(
            sum(self._windows[p].bytes_after(position) for p, position in cursor.items() if p in self._windows)
            > _KEPT_BYTES // 2
            for cursor in self._cursors.values()
        )

    def _keep(self, before: Mapping[Partition, Position], events: list[Recorded], after: Cursor) -> None:
        by_partition: dict[Partition, list[Recorded]] = {}
        for event in events:
            by_partition.setdefault(event.envelope.partition, []).append(event)
        now = self._monotonic()
        with self._changed:
            kept = len(self._order)
            for partition, end in after.items():
                window = self._windows.get(partition)
                # Meanwhile the window may have gone, or another consumer that is further on may have started it again.
                if window is not None and window.end == before[partition] != end:
                    self._bytes += window.add(by_partition.get(partition, []), end, now)
                    self._order.append(window)
            while self._bytes > _KEPT_BYTES and kept:  # the newest chunk is kept whatever its size
                self._bytes -= self._order.popleft().drop_oldest()
                kept -= 1


def _size(recorded: Recorded) -> int:
    """Estimates how much memory it takes."""
    event = recorded.envelope.event
    return _EVENT_BYTES + (sys.getsizeof(event.message.text) if isinstance(event, MessagePosted | MessageEdited) else 0)


class ProjectionSource:
    """A CheckingSource for one consumer, and one thread. ``make``: opens the source by which it reads while it lags."""

    def __init__(self, shared: SharedLogReader, make: Callable[[], Source]) -> None:
        self._shared = shared
        self._make = make
        self._own: Source | None = None

    @property
    def partitions(self) -> int:
        return self._shared.log.partitions

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        alone = self._shared.lagging_partitions(self, cursor)
        together = {partition: position for partition, position in cursor.items() if partition not in alone}
        if together:
            self._shared.read_on(together, limit, wait=not alone)
        events, after = self._shared.read_after(together, limit)
        if alone:
            caught_up, reached = self._catch_up({partition: cursor[partition] for partition in alone}, alone, limit)
            events += caught_up
            after |= reached
        return events, after

    def _catch_up(
        self, cursor: Cursor, stops: Mapping[Partition, Position | None], limit: int
    ) -> tuple[list[Recorded], dict[Partition, Position]]:
        """Read by itself up to what is kept."""
        events, after = self._alone().read(cursor, limit, wait=False)
        reached: dict[Partition, Position] = {}
        for partition, stop in stops.items():
            beyond = stop is not None and after[partition].offset >= stop.offset
            reached[partition] = stop if stop is not None and beyond else after[partition]
        return [event for event in events if event.offset < reached[event.envelope.partition].offset], reached

    def _alone(self) -> Source:
        if self._own is None:
            self._own = self._make()
        return self._own

    def check(self, cursor: Cursor) -> None:
        self._alone().check(cursor)

    def end(self) -> Cursor:
        return self._shared.log.end()

    def remaining(self, cursor: Cursor) -> int:
        return self._shared.log.remaining(cursor)

    def wait(self, seconds: float) -> None:
        """Does nothing: a read waits."""

    def close(self) -> None:
        self._shared.forget(self)
        if self._own is not None:
            self._own.close()
