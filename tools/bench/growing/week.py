"""Days of checkpoints, by simulated time: what is kept must not grow with them."""

from __future__ import annotations

import asyncio
from typing import Final

from tools.bench.growing.checkpoints import answers, checkpoint
from tools.bench.growing.kafka import Topic
from tools.bench.growing.memory import CpuClock, resident_bytes
from tools.bench.growing.snapshots import PARTITION, Counted, counted, take_over
from tools.bench.growing.term import Bound, Figures, Term

_SECONDS: Final = 10.0
_A_DAY: Final = round(86_400 / _SECONDS)
_LAST: Final = 1_000


def measure(days: int) -> Figures:
    return asyncio.run(_measure(days))


async def _measure(days: int) -> Figures:
    given = answers(10)
    with counted(Topic()) as found:
        await take_over(found)
        await _save(found, 0, _LAST, given)
        before = resident_bytes()
        await _save(found, _LAST, days * _A_DAY - _LAST, given)
        found.copy.given = 0
        clock = CpuClock()
        await _save(found, days * _A_DAY - _LAST, days * _A_DAY, given)
        used = clock.seconds()
        looked_at = found.copy.given
        kept = found.copy.under(PARTITION, "")
    return {
        "records kept": len(kept),
        "records looked at by a checkpoint": looked_at / _LAST,
        "MiB more than after three hours": (resident_bytes() - before) / 2**20,
        "µs a checkpoint": used / _LAST * 1e6,
    }


async def _save(found: Counted, start: int, stop: int, given: bytes) -> None:
    for number in range(start, stop):
        await found.store.save(checkpoint(number, _SECONDS, given))


TERM: Final = Term(
    name="week",
    title="Days of checkpoints",
    unit="days",
    sizes=(1, 3, 7),
    short=(1,),
    measure=measure,
    bounds=(
        Bound("records kept", 100),
        Bound("records looked at by a checkpoint", 5),
        Bound("MiB more than after three hours", 8, is_counted=False),
    ),
    note="One each ten seconds, with ten answers in each, of one partition.",
)
