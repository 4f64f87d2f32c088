"""Presence: what the accounts that are online elsewhere cost a process with a fixed number of streams."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from falcon.domain.ids import RoomId
from falcon.streams.signals import Signals
from tools.bench.growing.memory import CpuClock, resident_bytes
from tools.bench.growing.term import Bound, Figures, Term

_PARTITIONS: Final = 64
_OWN: Final = 500  # accounts online at this process
_ROOMS: Final = 20  # of each account
_ONLINE_IN_ROOM: Final = 10
_TURN_SECONDS: Final = 60.0
_OTHERS: Final = 5_000  # accounts online at each of the other processes, at most


class _Wire:
    """SignalTransport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.take: Callable[[bytes], None] = lambda data: None

    def open(self, take: Callable[[bytes], None]) -> None:
        self.take = take

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    async def close(self) -> None:
        """There is nothing to close."""


class _Feed:
    """No stream here is told anything, so what is counted is what a process keeps and reads."""

    def in_room(self, room_id: RoomId) -> Sequence[Any]:
        return ()

    def token(self) -> str:
        return ""


class _Sizes:
    async def has_at_most(self, room_id: RoomId, members: int) -> bool:
        return True


class _Stream:
    def __init__(self, account_id: int, rooms: Sequence[RoomId]) -> None:
        self.account_id = account_id
        self.rooms = dict.fromkeys(rooms, "member")
        self.signals = frozenset({"presence"})
        self.busy = False


class _Process:
    """An `api` process's signals, with the streams of these accounts."""

    def __init__(self, accounts: range, chance: random.Random, universe: int) -> None:
        self.now = _TURN_SECONDS
        self.wire = _Wire()
        feed: Any = _Feed()
        self.signals = Signals(self.wire, feed, _Sizes(), clock=lambda: self.now)
        for n in accounts:
            rooms = [_PARTITIONS * chance.randrange(1, universe) for _ in range(_ROOMS)]
            stream: Any = _Stream(_PARTITIONS * (n + 1), rooms)
            self.signals.came(stream)

    async def minute(self) -> list[bytes]:
        """What it tells the others in a minute."""
        self.wire.sent.clear()
        self.now += _TURN_SECONDS + 1
        await self.signals._turn()
        return list(self.wire.sent)


def measure(online: int) -> Figures:
    """With so many accounts online in the whole cluster."""
    return asyncio.run(_measure(online))


async def _measure(online: int) -> Figures:
    chance = random.Random(18)
    universe = max(2, online * _ROOMS // _ONLINE_IN_ROOM)
    told: list[bytes] = []
    for first in range(_OWN, online, _OTHERS):
        told += await _Process(range(first, min(online, first + _OTHERS)), chance, universe).minute()
    process = _Process(range(min(_OWN, online)), chance, universe)
    process.signals.start()
    await process.minute()
    before = resident_bytes()
    for data in told:
        process.wire.take(data)
    grown = resident_bytes() - before
    clock = CpuClock()
    for data in told:
        process.wire.take(data)
    seconds = clock.seconds()
    await process.signals.stop()
    return {
        "MiB for accounts elsewhere": grown / 2**20,
        "signals a minute": len(told),
        "KiB of signals a minute": sum(map(len, told)) / 1024,
        "CPU of them, ms a minute": seconds * 1e3,
    }


TERM: Final = Term(
    name="presence",
    title="Presence",
    unit="accounts online",
    sizes=(1_000, 10_000, 50_000),
    short=(600, 1_500),
    measure=measure,
    bounds=(
        Bound("MiB for accounts elsewhere", 4, is_counted=False),
        Bound("signals a minute", 100),
        Bound("CPU of them, ms a minute", 50, is_counted=False),
    ),
    note=f"At a process with streams of {_OWN} accounts. Each account has {_ROOMS} rooms, in which {_ONLINE_IN_ROOM} "
    "are online. Everyone who is online is told once a minute.",
)
