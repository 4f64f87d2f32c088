"""One partition's aggregates on a log in memory: they live through events, and each checkpoint is counted."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from falcon.domain.catalogue import Command, Event
from falcon.journal.envelope import Envelope, Position, Recorded
from falcon.write.limits import ShardLimits
from falcon.write.partition_aggregates import PartitionAggregates
from falcon.write.protocol import Accepted, CommandEnvelope
from tools.bench.growing.log import NOW
from tools.bench.growing.memory import CpuClock
from tools.harness.memory.log import MemoryLog

PARTITION: Final = 0
PARTITIONS: Final = 64
_MEMBERS_MAX: Final = 1_000_000  # more than Falcon allows: the cost of a room is the question


class Saved(NamedTuple):
    """A checkpoint. ``bytes``: of its snapshots. ``largest``: of the largest of them."""

    bytes: int
    largest: int
    seconds: float


class Owned:
    """The partition in the hands of its owner, after these events."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._log = MemoryLog(PARTITIONS)
        limits = ShardLimits(room_members=_MEMBERS_MAX)
        self._aggregates = PartitionAggregates(PARTITION, PARTITIONS, self._log, limits)
        offset = 0
        for event in events:
            self._aggregates.replay(Recorded(offset, Envelope(PARTITION, 1, offset, NOW, event)))
            offset += 1
        self._log.take(PARTITION)
        self._aggregates.begin(Position(offset, self._log.epochs[PARTITION], 0), 0)

    def does(self, command: Command, account_id: int) -> None:
        """The command is accepted and durable."""
        reply = self._aggregates.execute(CommandEnvelope(PARTITION, account_id, command, time.monotonic() + 5), NOW)
        assert isinstance(reply, Accepted), reply
        append = self._aggregates.take()
        assert append is not None
        self._log.write(append)
        self._aggregates.confirm(append)

    def saves(self) -> Saved:
        """A checkpoint of what has changed since the last one."""
        captured = self._aggregates.capture()
        assert captured, "nothing has changed"
        clock = CpuClock()
        checkpoint = self._aggregates.checkpoint()
        seconds = clock.seconds()
        self._log.write(checkpoint)
        self._aggregates.checkpointed()
        sizes = [len(data) for _, data in checkpoint.snapshots]
        return Saved(sum(sizes), max(sizes), seconds)
