"""An account with many direct rooms, as a bot has: what one more costs at the next checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from falcon.domain.catalogue import Event
from falcon.domain.commands import OpenDirect
from falcon.domain.events import (
    AccountCreated,
    DirectRoomOpened,
)
from tools.bench.growing.aggregates import PARTITIONS, Owned
from tools.bench.growing.log import NOW
from tools.bench.growing.term import Bound, Figures, Term

_BOT: Final = PARTITIONS
_PEERS: Final = PARTITIONS * 10
_ROOMS: Final = PARTITIONS * 10_000_000


def measure(directs: int) -> Figures:
    owned = Owned(_events(directs))
    whole = owned.saves()
    owned.does(OpenDirect(_BOT, _PEERS + PARTITIONS * directs), _BOT)
    saved = owned.saves()
    return {
        "bytes after one more": saved.bytes,
        "CPU of it, ms": saved.seconds * 1e3,
        "bytes of all": whole.bytes,
        "bytes of the largest snapshot": whole.largest,
    }


def _events(directs: int) -> Iterator[Event]:
    yield AccountCreated(_BOT, "bot", False, NOW)
    for n in range(directs):
        yield DirectRoomOpened(_BOT, _PEERS + PARTITIONS * n, _ROOMS + PARTITIONS * n)


TERM: Final = Term(
    name="directs",
    title="An account's checkpoint",
    unit="direct rooms",
    sizes=(100, 10_000, 300_000),
    short=(100, 1_000),
    measure=measure,
    bounds=(
        Bound("bytes after one more", 64 << 10),
        Bound("bytes of the largest snapshot", 1 << 20),
        Bound("CPU of it, ms", 5, is_counted=False),
    ),
    note="The checkpoint's snapshots when all direct rooms are there, and then after one more was opened.",
)
