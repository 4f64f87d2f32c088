"""Mistakes about the log, its epochs and its snapshots."""

import time
from typing import Any, Final

from falcon.adapters.kafka import fence, journal
from falcon.adapters.kafka.owners import Owners, _owner
from falcon.adapters.kafka.tail import KafkaTail
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable, Outcome
from falcon.write.recovery import Recovery
from tests.simulation.mutants.mutant import mutant
from tests.simulation.schedules import CHAT, HOURS, MOVES


def _every_epoch_counts(at: Position, value: bytes) -> tuple[Position, bytes | None]:
    """What a deposed owner still writes is taken for valid."""
    head = fence._HEAD
    if len(value) >= head.size:
        epoch, n = head.unpack_from(value)
        if epoch == 0:
            return fence.opened_by(at.offset), None
        return Position(at.offset + 1, at.epoch, n + 1), value[head.size :]
    return Position(at.offset + 1, at.epoch, at.n), None


async def _whatever_came_between(
    self: journal.KafkaJournal, writing: journal._Writing, base: int, group: list[Any], count: int
) -> int:
    """An append is durable where the broker says that it stands."""
    return base


def _unknown_is_taken_for_done(
    self: journal.KafkaJournal, writing: journal._Writing, group: list[Any], error: Exception
) -> None:
    first = writing.position.offset
    for append in (*group, *writing.waiting):
        append.first, append.outcome = first, Outcome.DURABLE
        first += len(append.data)
        self._collected.append(append)
    writing.waiting.clear()
    writing.away = False
    self._wake()


def _by_the_wall(clock: Any, broker_millis: int) -> None:
    """Another clock is compared than the one that stamps events."""
    off = time.time() - broker_millis / 1000
    if abs(off) > journal._CLOCK_SECONDS_MAX:
        raise JournalUnavailable(f"this machine's clock is {off:+.0f} s off the brokers'")


_read = KafkaTail.read


async def _leaves_out(self: KafkaTail, cursor: Any, limit: int) -> Any:
    """Of several events that come together streams are not told of the last."""
    raws, after = await _read(self, cursor, limit)
    return raws[:-1] if len(raws) > 1 else raws, after


def _last_one_told(self: Owners, key: bytes | None, value: bytes | None) -> None:
    """Of two owners the one that spoke last counts, whatever its epoch."""
    if key is None or value is None or not key.isdigit():
        return
    owner, partition = _owner.decode(value), int(key)
    before = self.address(partition)
    self._known[partition] = owner
    if owner.address != before:
        self.moved(partition, before)


_begun = Recovery._begun


def _number_goes_on(self: Recovery, partition: Any, end: Position) -> Any:
    """An owner goes on in the epoch that it found, and not in its own."""
    epoch, n = partition.epoch, partition.n
    begun = _begun(self, partition, end)
    if epoch:
        begun.epoch, begun.n, begun._confirmed_n = epoch, n, n
    return begun


MUTANTS: Final = (
    mutant("what a deposed owner writes counts", fence, "judge", _every_epoch_counts, MOVES),
    mutant("an owner does not look what came between", journal.KafkaJournal, "_judge", _whatever_came_between, MOVES),
    mutant(
        "an unknown append is taken for done", journal.KafkaJournal, "_end_epoch", _unknown_is_taken_for_done, MOVES
    ),
    mutant("another clock is compared than the one that stamps", journal, "check_clock", _by_the_wall, HOURS),
    mutant("a stream leaves an event out", KafkaTail, "read", _leaves_out, CHAT),
)
