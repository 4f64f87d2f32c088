"""Checkpoints of a partition: what one costs at a rate of keyed commands, with ten minutes of answers kept."""

from __future__ import annotations

import asyncio
from typing import Final

from falcon.journal.envelope import Position
from falcon.journal.ports import Checkpoint
from falcon.write import snapshots
from tools.bench.growing.kafka import Topic
from tools.bench.growing.log import NOW
from tools.bench.growing.memory import CpuClock
from tools.bench.growing.snapshots import EPOCH, PARTITION, counted, take_over
from tools.bench.growing.term import Bound, Figures, Term

WINDOW_SECONDS: Final = 600
_EVENTS: Final = 1_000  # between two checkpoints, or
_SECONDS: Final = 10.0  # this time
_MEASURED: Final = 20


def checkpoint(number: int, seconds: float, answers: bytes) -> Checkpoint:
    """The checkpoint with this number of a partition that makes one each so many seconds."""
    at = NOW + round(number * seconds * 1_000)
    return Checkpoint(
        partition=PARTITION,
        epoch=EPOCH,
        position=Position(number * _EVENTS, EPOCH, number * _EVENTS),
        version=snapshots.VERSION,
        state=snapshots.encode_state(snapshots.PartitionState(1, at, at)),
        snapshots=[("aggregate:64", b"a room")],
        answers=answers,
        answers_at=at,
        answers_expired=at - WINDOW_SECONDS * 1_000,
    )


def answers(count: int) -> bytes:
    rows = [(64 * n, f"{n:020x}", 1 << 60, 10**9 + n, 10**9, n, NOW) for n in range(1, count + 1)]
    return snapshots.encode_answers(rows)


def measure(rate: int) -> Figures:
    """With so many keyed commands a second in the partition."""
    return asyncio.run(_measure(rate))


async def _measure(rate: int) -> Figures:
    seconds = min(_SECONDS, _EVENTS / rate)
    given = answers(round(rate * seconds))
    full = round(WINDOW_SECONDS / seconds) + 10
    with counted(Topic()) as found:
        await take_over(found)
        for number in range(full):
            await found.store.save(checkpoint(number, seconds, given))
        found.copy.given = 0
        clock = CpuClock()
        for number in range(full, full + _MEASURED):
            await found.store.save(checkpoint(number, seconds, given))
        used = clock.seconds() / _MEASURED
    return {
        "records looked at": found.copy.given / _MEASURED,
        "µs a message": used / (rate * seconds) * 1e6,
        "% of a core": used / seconds * 100,
    }


TERM: Final = Term(
    name="checkpoints",
    title="A checkpoint",
    unit="keyed commands a second",
    sizes=(100, 1_500, 5_000),
    short=(100, 500),
    measure=measure,
    bounds=(
        Bound("records looked at", 20),
        Bound("µs a message", 4, at="largest", is_counted=False),
    ),
    note="In one partition, with a checkpoint each 1,000 events or ten seconds. Records of the local file of snapshots "
    "are looked at to find the answers whose ten minutes are over.",
)
