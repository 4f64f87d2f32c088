"""Presence: what the accounts that are online elsewhere cost a process with a fixed number of streams."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from unittest.mock import patch

from falcon.domain.ids import RoomId
from falcon.streams import keepers
from falcon.streams.signals import Signals
from tools.bench.growing.memory import CpuClock
from tools.bench.growing.term import Bound, Figures, Term

_PARTITIONS: Final = 64
_OWN: Final = 500  # accounts online at each process
_ROOMS: Final = 20  # of each account
_ONLINE_IN_ROOM: Final = 10
_WATCHED: Final = 1_000  # accounts that the streams of the process that is measured watch together
_TURN_SECONDS: Final = 0.25
_BEGIN_SECONDS: Final = 30.0  # until all processes know one another and what they keep


class _Wire:
    """SignalTransport within this process. ``told``: all that was sent to it, with the time."""

    def __init__(self, name: str, others: dict[str, _Process]) -> None:
        self.name = name
        self.told: list[tuple[float, bytes]] = []
        self._others = others

    def open(self, take: Callable[[bytes], None]) -> None:
        """The process takes what it was told when it has its turn."""

    def send(self, data: bytes) -> None:
        for process in self._others.values():
            process.wire.told.append((process.now, data))

    def send_to(self, process: str, data: bytes) -> None:
        if process in self._others:
            self._others[process].wire.told.append((self._others[process].now, data))

    async def close(self) -> None:
        """There is nothing to close."""


class _Feed:
    moved: Any = None

    def in_room(self, room_id: RoomId) -> Sequence[Any]:
        return ()

    def token(self) -> str:
        return ""


class _Stream:
    def __init__(self, account_id: int, rooms: Iterable[RoomId], watched: Sequence[int]) -> None:
        self.account_id = account_id
        self.rooms = dict.fromkeys(rooms, "member")
        self.signals = frozenset({"presence"})
        self.watched = watched
        self.busy = False

    def push(self, frame: object) -> None:
        """What a client gets is not counted here."""


class _Process:
    """An `api` process's signals, with the streams of these accounts out of all that are online."""

    def __init__(self, accounts: range, online: int, others: dict[str, _Process]) -> None:
        self.now = 0.0
        chance = random.Random(accounts.start)
        universe = max(2, online * _ROOMS // _ONLINE_IN_ROOM)
        feed: Any = _Feed()
        self.wire = _Wire(f"process-{accounts.start}", others)
        self.signals = Signals(self.wire, feed, lambda: self.now)
        all_watched = [_PARTITIONS * (n + 1) for n in chance.sample(range(online), min(online, _WATCHED))]
        for n in accounts:
            rooms = [_PARTITIONS * chance.randrange(1, universe) for _ in range(_ROOMS)]
            watched = () if accounts.start else all_watched[n::_OWN]
            stream: Any = _Stream(_PARTITIONS * (n + 1), rooms, watched)
            self.signals.came(stream)

    def take(self, told: Iterable[tuple[float, bytes]]) -> None:
        for self.now, data in told:
            self.signals._take(data)


def measure(online: int) -> Figures:
    """With so many accounts online in the whole cluster."""
    with _known_scores():
        told = _told(online)
        process = _Process(range(min(_OWN, online)), online, {})
        tracemalloc.start()  # what is resident would not show it: the other processes have just left room for it
        for _, some in groupby(told, key=itemgetter(0)):
            process.take(some)
            process.signals._turn()
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        minute = [each for each in told if each[0] >= _BEGIN_SECONDS]
        clock = CpuClock()
        process.take(minute)
        seconds = clock.seconds()
    return {
        "MiB for accounts elsewhere": grown / 2**20,
        "signals a minute": len(minute),
        "KiB of signals a minute": sum(len(data) for _, data in minute) / 1024,
        "CPU of them, ms a minute": seconds * 1e3,
    }


def _told(online: int) -> list[tuple[float, bytes]]:
    """What the first process is told from its start on, by itself, too. The last minute is one of every day."""
    processes: dict[str, _Process] = {}
    for first in range(0, online, _OWN):
        process = _Process(range(first, min(online, first + _OWN)), online, processes)
        processes[process.wire.name] = process
    taken = dict.fromkeys(processes, 0)
    now = 0.0
    while now < _BEGIN_SECONDS + 60:
        now += _TURN_SECONDS
        for process in processes.values():
            process.now = now
            process.signals._turn()
        for name, process in processes.items():
            told = process.wire.told[taken[name] :]
            taken[name] += len(told)
            process.take(told)
            if name != "process-0":
                process.wire.told.clear()
                taken[name] = 0
    return processes["process-0"].wire.told


@contextmanager
def _known_scores() -> Iterator[None]:
    """All processes are within this one, so each score is computed once."""
    known = cache(keepers._scores)
    with patch.object(keepers, "_scores", lambda process: known(process).copy()):
        yield


TERM: Final = Term(
    name="presence",
    title="Presence",
    unit="accounts online",
    sizes=(1_000, 10_000, 50_000),
    short=(600, 1_500),
    measure=measure,
    bounds=(
        Bound("MiB for accounts elsewhere", 4, is_counted=False),
        Bound("signals a minute", 3_000),
        Bound("CPU of them, ms a minute", 50, is_counted=False),
    ),
    note=f"At one of the processes, which have streams of {_OWN} accounts each. Each account has {_ROOMS} rooms, in "
    f"which {_ONLINE_IN_ROOM} are online, and the streams watch {_WATCHED:,} accounts. Each process sends signs "
    "of life and sums.",
)
