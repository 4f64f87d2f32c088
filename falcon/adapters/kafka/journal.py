"""The journal's writing end: group commit, fenced by epochs that the log itself decides (``fence``)."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeVar

import msgspec

from falcon.adapters.kafka import fence, records
from falcon.adapters.kafka.cluster import APPEND_BYTES_MAX, KafkaCluster
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.producer import NotWritten, Producer, Record, TooLarge
from falcon.adapters.kafka.reader import Reader
from falcon.adapters.kafka.snapshots import KafkaSnapshots
from falcon.domain.ids import Millis, Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import Append, AppendOutcome, Checkpoint, JournalUnavailable, Submission, Wake
from falcon.streams.starts import new_number
from falcon.telemetry import metrics
from falcon.write.clock import Clock

log = logging.getLogger("falcon.journal")

# Enough for a good batch, and short enough for the events after it.
_GROUP_BYTES_MAX: Final = 1 << 20
_CLOCK_SECONDS_MAX: Final = 10.0
_CHECKPOINT_PAUSE_SECONDS: Final = 1.0
_CHECKPOINT_PAUSE_SECONDS_MAX: Final = 30.0
# A takeover returns the partitions that are ready by then. The others continue, and the next call finds them for so
# long. Their snapshots are that old then, which only makes the log's tail after them longer.
_SOON_SECONDS: Final = 1.0
_CLAIMED_SECONDS: Final = 60.0
_OVERHEAD: Final = fence.RECORD_OVERHEAD + records.OVERHEAD  # bytes around a record's data, at most

T = TypeVar("T")


class _Fenced(Exception):
    """A newer epoch was opened before the events were written."""


class _Writing(msgspec.Struct, eq=False):
    """A partition whose epoch is open here. ``position``: after the last event that is known to be valid."""

    partition: Partition
    position: Position
    waiting: deque[Append] = msgspec.field(default_factory=deque)
    away: bool = False
    checkpoints: set["asyncio.Task[None]"] = msgspec.field(default_factory=set)

    @property
    def epoch(self) -> int:
        return self.position.epoch

    @property
    def idle(self) -> bool:
        return not self.away and not self.waiting


class _InProgress(Generic[T]):
    """Work that is started once for a partition and may take longer than the call that wants it. A later call finds
    it."""

    def __init__(self, begin: Callable[[Partition, str], Coroutine[Any, Any, T]]) -> None:
        self._begin = begin
        self._tasks: dict[Partition, asyncio.Task[T]] = {}
        self._over = False

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._tasks

    async def finished(self, partitions: Iterable[Partition], owner: str) -> tuple[dict[Partition, T], list[Exception]]:
        """The results of the ones that are done soon, and the failures."""
        if self._over:  # a process that has let go of everything starts nothing: it would depose the new owners
            return {}, [_closed(partition) for partition in partitions]
        tasks = {partition: self._tasks.get(partition) or self._start(partition, owner) for partition in partitions}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=_SOON_SECONDS)
        done: dict[Partition, T] = {}
        failed: list[Exception] = []
        for partition, task in tasks.items():
            if not task.done():
                continue
            self._tasks.pop(partition, None)
            if task.cancelled():
                failed.append(_closed(partition))
                continue
            try:
                done[partition] = task.result()
            except (NotWritten, TooLarge, JournalUnavailable) as error:
                log.warning("partition %s cannot be taken over: %s", partition, error)
                failed.append(error)
        return done, failed

    def cancel(self) -> None:
        """Cancel all work, and start none any more."""
        self._over = True
        for task in self._tasks.values():
            task.cancel()

    def _start(self, partition: Partition, owner: str) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(self._begin(partition, owner))
        self._tasks[partition] = task
        task.add_done_callback(partial(self._ended, partition))
        return task

    def _ended(self, partition: Partition, task: "asyncio.Task[T]") -> None:
        """Drop a result that is too old to be used by the next call."""
        asyncio.get_running_loop().call_later(_CLAIMED_SECONDS, self._forget, partition, task)

    def _forget(self, partition: Partition, task: "asyncio.Task[T]") -> None:
        if self._tasks.get(partition) is task:
            del self._tasks[partition]
            if not task.cancelled():
                task.exception()  # retrieve it, since asyncio warns otherwise


def _closed(partition: Partition) -> JournalUnavailable:
    return JournalUnavailable(f"partition {partition}: this journal is closed", partition)


class KafkaJournal:
    """While a batch of a partition is away, everything that is submitted for it becomes its next batch.

    The owner's thread submits and collects. Everything else happens on the loop's thread.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        loop: LoopThread,
        producer: Producer,
        snapshots: KafkaSnapshots,
        clock: Clock,
        wake: Wake,
    ) -> None:
        """``clock``: gives the events their times."""
        self._cluster = cluster
        self._loop = loop
        self._producer = producer
        self._snapshots = snapshots
        self._clock = clock
        self._wake = wake
        self._restoring = _InProgress(snapshots.restore)
        self._opening = _InProgress(self._depose)
        self._writing: dict[Partition, _Writing] = {}
        self._over: dict[Partition, int] = {}  # the newest epoch that is known to be over
        self._collected: deque[Submission] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- the port -----------------------------------------------------------------------------------------------------

    def takeover(self, partitions: Sequence[Partition], owner: str) -> dict[Partition, Position]:
        """Markers are written before the log is read, so that everything the old owners still wrote stands before them.

        May be called from another thread than the other methods.
        """
        return self._loop.call(self._take_over(partitions, owner))

    def submit(self, submissions: Sequence[Submission]) -> None:
        self._loop.soon(self._accept, submissions)

    def collect(self) -> list[Submission]:
        return [self._collected.popleft() for _ in range(len(self._collected))]

    def flush(self) -> None:
        self._loop.call(self._flush())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.flush()
            self._loop.call(self._end())

    # --- takeover -----------------------------------------------------------------------------------------------------

    async def _take_over(self, partitions: Sequence[Partition], owner: str) -> dict[Partition, Position]:
        """First the snapshots, which can fail without harm. Then the markers, which depose the present owners.

        Each partition by itself. Snapshots that the old owner still writes meanwhile are missed and not needed: their
        content stands in the log after the checkpoint that was found.
        """
        await self._settled([self._writing[partition] for partition in partitions if partition in self._writing])
        await self._check_clock(owner)
        opening = [partition for partition in partitions if partition in self._opening]
        restored, unrestored = await self._restoring.finished(
            [partition for partition in partitions if partition not in self._opening], owner
        )
        opened, unopened = await self._opening.finished([*opening, *restored], owner)
        if (failed := [*unrestored, *unopened]) and not opened:
            raise JournalUnavailable(f"cannot take over partitions: {failed[0]}") from failed[0]
        for partition, position in opened.items():
            before = self._writing.get(partition)
            if before is not None:
                self._over[partition] = before.epoch
            self._snapshots.open(partition, position.epoch)
            self._writing[partition] = _Writing(partition, position)
        return opened

    async def _check_clock(self, owner: str) -> None:
        """Check before an owner is deposed: one whose clock is wrong must write nothing to the log."""
        try:
            probe: Record = (b"clock", owner.encode())
            written = await self._producer.write(self._cluster.owners, 0, [probe])
        except NotWritten as error:
            raise JournalUnavailable(f"cannot take over partitions: {error}") from error
        if written.timestamp is not None:
            check_clock(self._clock, written.timestamp)

    async def _depose(self, partition: Partition, owner: str) -> Position:
        metadata = await self._producer.write(
            self._cluster.journal, partition, [(None, fence.marker(owner, new_number()))]
        )
        opened = fence.opened_by(metadata.offset)
        await self._snapshots.drop_lost(partition, metadata.offset, opened.epoch)
        return opened

    # --- appends ------------------------------------------------------------------------------------------------------

    def _accept(self, submissions: Iterable[Submission]) -> None:
        for submission in submissions:
            writing = self._writing.get(submission.partition)
            if writing is None or submission.epoch != writing.epoch:
                self._refuse(submission)
            elif isinstance(submission, Checkpoint):
                writing.checkpoints.add(task := asyncio.ensure_future(self._checkpoint(submission)))
                task.add_done_callback(writing.checkpoints.discard)
            else:
                writing.waiting.append(submission)
                if not writing.away:
                    self._write_next(writing)

    def _refuse(self, submission: Submission) -> None:
        """The events' epoch ended before they were sent, so they are never written. FENCED if another owner is known to
        have ended it, else UNKNOWN."""
        fenced = submission.epoch <= self._over.get(submission.partition, -1)
        submission.outcome = AppendOutcome.FENCED if fenced else AppendOutcome.UNKNOWN
        self._collected.append(submission)
        self._wake()

    def _write_next(self, writing: _Writing) -> None:
        group: list[Append] = []
        size = 0
        while writing.waiting and size < _GROUP_BYTES_MAX:
            grown = size + sum(len(record.data) + _OVERHEAD for record in writing.waiting[0].records)
            if group and grown > APPEND_BYTES_MAX:
                break
            group.append(writing.waiting.popleft())
            size = grown
        writing.away = True
        self._keep(self._write(writing, group, size))

    async def _write(self, writing: _Writing, group: list[Append], size: int) -> None:
        started = time.monotonic()
        written = _records(group)
        try:
            if size > APPEND_BYTES_MAX:
                raise TooLarge(f"an append of {size} bytes is over the topic's {APPEND_BYTES_MAX}; it was not sent")
            metadata = await self._producer.write(self._cluster.journal, writing.partition, written)
            first = await self._judge(writing, metadata.offset, group, len(written))
        except (_Fenced, NotWritten, TooLarge, JournalUnavailable) as error:
            self._end_epoch(writing, group, error)
            return
        except Exception as error:  # unexpected, but the callers that wait for the outcome must be told
            log.exception("partition %s: an append failed as none may", writing.partition)
            self._end_epoch(writing, group, error)
            return
        writing.position = Position(first + len(written), writing.epoch, writing.position.n + len(written))
        for append in group:
            append.first, append.outcome = first, AppendOutcome.DURABLE
            first += len(append.records)
            self._collected.append(append)
        metrics.commit_seconds.observe(time.monotonic() - started)
        metrics.commit_events.observe(len(written))
        writing.away = False
        if writing.waiting:
            self._write_next(writing)
        self._wake()

    async def _judge(self, writing: _Writing, base: int, group: list[Append], count: int) -> int:
        """Where the events stand, if they are valid. Raises _Fenced, NotWritten, JournalUnavailable.

        If the batch stands at the expected offset, no record came between, so no marker did. Further on there was
        another record. Then the log is read: a first copy of the batch may stand before the marker that voids this one.
        """
        expected = writing.position.offset
        if base == expected:
            return base
        if base < expected:
            raise NotWritten(f"written at offset {base}, before {expected}")
        last = group[-1].envelopes[-1]
        reader = Reader(self._cluster, self._cluster.journal)
        try:
            found = await reader.until(writing.partition, writing.position, base + count, self._cluster.append_seconds)
        finally:
            await reader.close()
        for position in found:
            if (position.epoch, position.n) == (last.epoch, last.n):
                return position.offset + 1 - count
        raise _Fenced(f"a newer owner than epoch {writing.epoch} wrote before offset {base}")

    def _end_epoch(self, writing: _Writing, group: list[Append], error: Exception) -> None:
        """Nothing may be written after the first failure: the epoch is over, and only a takeover tells which events
        stand."""
        partition = writing.partition
        log.warning("partition %s: epoch %s has ended: %s", partition, writing.epoch, error)
        fenced = isinstance(error, _Fenced)
        if fenced:
            self._over[partition] = writing.epoch
        for append in (*group, *writing.waiting):
            append.outcome = AppendOutcome.FENCED if fenced else AppendOutcome.UNKNOWN
            self._collected.append(append)
        writing.waiting.clear()
        writing.away = False
        if self._writing.get(partition) is writing:
            del self._writing[partition]
        self._wake()

    # --- checkpoints --------------------------------------------------------------------------------------------------

    async def _checkpoint(self, checkpoint: Checkpoint) -> None:
        """Try until the checkpoint is written or its epoch has ended. The log does not depend on it."""
        checkpoint.outcome = AppendOutcome.UNKNOWN
        pause = _CHECKPOINT_PAUSE_SECONDS
        try:
            while self._open_here(checkpoint):
                try:
                    if await self._snapshots.save(checkpoint):
                        checkpoint.outcome = AppendOutcome.DURABLE
                    return
                except (NotWritten, TooLarge) as error:
                    log.warning("partition %s: a checkpoint waits: %s", checkpoint.partition, error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _CHECKPOINT_PAUSE_SECONDS_MAX)
        finally:
            self._collected.append(checkpoint)
            self._wake()

    def _open_here(self, checkpoint: Checkpoint) -> bool:
        writing = self._writing.get(checkpoint.partition)
        return writing is not None and writing.epoch == checkpoint.epoch and not self._closed

    # --- ending -------------------------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Do not wait for checkpoints: they may wait long for the brokers, and the log does not need them."""
        await self._settled(list(self._writing.values()))
        checkpoints = [task for writing in self._writing.values() for task in writing.checkpoints]
        if checkpoints:
            _, late = await asyncio.wait(checkpoints, timeout=self._cluster.append_seconds)
            for task in late:
                task.cancel()

    async def _end(self) -> None:
        self._restoring.cancel()
        self._opening.cancel()
        await self._snapshots.close()
        await self._producer.close()

    async def _settled(self, partitions: Sequence[_Writing]) -> None:
        while not all(writing.idle for writing in partitions):
            await asyncio.sleep(0.001)

    def _keep(self, coroutine: "asyncio._CoroutineLike[None]") -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(coroutine)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _records(group: Iterable[Append]) -> list[Record]:
    return [
        (records.key(record), fence.event(envelope.epoch, envelope.n, records.body(record)))
        for append in group
        for envelope, record in zip(append.envelopes, append.records, strict=True)
    ]


def check_clock(clock: Clock, broker_millis: Millis) -> None:
    """Raises JournalUnavailable if the times of events would contradict their order."""
    off = clock.ahead_of(broker_millis) / 1000
    if abs(off) > _CLOCK_SECONDS_MAX:
        raise JournalUnavailable(
            f"this machine's clock is {off:+.0f} s off the brokers'; set it (NTP), and the partitions are taken over"
        )
