"""Estimates network delay, so that deadlines of commands hold across machines' clocks.

No clock of one machine can be read on another. But the difference of two steady clocks stays the same. So a batch that
shows a larger difference than others of its sender has waited somewhere: in the socket of an owner that was stopped,
say, while its callers gave up. It is late by as much, and commands past their deadline then are not executed.

For a sender's first batch only the time of day tells, and only roughly: machines' times may differ by up to
``_WALL_SECONDS``. If a sender's time is further behind, its batches count as late, for a minute.
"""

import logging
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from falcon.domain.ids import Millis
from falcon.write.protocol import CommandBatch, CommandEnvelope, SentBatch, decode_sent_batch, encode_sent_batch

log = logging.getLogger("falcon.shard")

_WALL_SECONDS: Final = 20.0  # machines without time synchronization are seconds apart; a stopped owner, a minute
# The difference is that of the fastest batch in so long, and in the time before it: steady clocks drift a little.
_REMEMBERED_SECONDS: Final = 30.0
_DRIFT: Final = 2e-4  # seconds a second at most: a sender that was silent for days is not late by that
_SENDERS_MAX: Final = 1_000  # ten times as many as a cluster has edges, restarts included

_THIS_CLOCK: Final = secrets.randbits(63)


def depart(batch: CommandBatch, now: float) -> bytes:
    """``now``: CLOCK_MONOTONIC here."""
    return encode_sent_batch(batch, now, _wall(), _THIS_CLOCK)


class _Sender(msgspec.Struct):
    """``least``: the least difference of its clock to ours since ``since``; ``least_before``: in the time before."""

    least_before: float
    least: float
    since: float


class Arrivals:
    """The batches that come to one process."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], Millis] | None = None
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall or _wall
        self._senders: dict[int, _Sender] = {}

    def received(self, data: bytes) -> list[CommandEnvelope]:
        """The commands, with the deadlines on this machine's clock. Raises msgspec.DecodeError."""
        sent = decode_sent_batch(data)
        now = self._monotonic()
        moved = now - sent.sent_at - self._seconds_on_the_way(sent, now)
        return [msgspec.structs.replace(command, deadline=command.deadline + moved) for command in sent.commands]

    def _seconds_on_the_way(self, sent: SentBatch, now: float) -> float:
        """Beyond the seconds of the fastest batch."""
        difference = now - sent.sent_at
        sender = self._senders.get(sent.sender)
        if sender is None:
            fastest = difference - self._seconds_by_the_time_of_day(sent)
            sender = self._senders[sent.sender] = _Sender(fastest, fastest, now)
            if len(self._senders) > _SENDERS_MAX:
                del self._senders[next(iter(self._senders))]
        drift = min(_DRIFT * (now - sender.since), _WALL_SECONDS)
        late = difference - min(sender.least_before, sender.least) - drift
        if now - sender.since > _REMEMBERED_SECONDS:
            sender.least_before, sender.least, sender.since = sender.least + drift, difference, now
        else:
            sender.least = min(sender.least, difference)
        return max(0.0, late)

    def _seconds_by_the_time_of_day(self, sent: SentBatch) -> float:
        seconds = (self._wall() - sent.sent_wall) / 1_000
        if seconds <= _WALL_SECONDS:
            return 0.0
        log.error(
            "commands of a process not heard of before were sent %.0f s ago by its clock: they waited for this "
            "process, or the machines' clocks differ, which must be set (NTP); they are refused",
            seconds,
        )
        return seconds


def _wall() -> Millis:
    return time.time_ns() // 1_000_000
