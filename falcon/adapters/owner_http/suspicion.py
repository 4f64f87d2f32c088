"""Rules for when a process that owns partitions counts as dead. They use the caller's clock, and no network.

A wrong suspicion costs a rebalance and no message, since the log decides who writes. But a process that is only slow
must not be removed again and again, so each wrong removal makes the watchers more patient with it.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

TICK_SECONDS: Final = 0.2  # a dead owner is found within a second; each pair of processes exchanges a beat as often
# Longer than a busy process, or one whose collector runs, is silent.
SILENT_TICKS: Final = 7
# Its connection has ended and a new one brings no beat: only a process that has ended does that.
ENDED_TICKS: Final = 2
# A wrong removal is remembered for so long.
REMEMBER_SECONDS: Final = 600.0

Name = str
MemberId = str
Process = str


class Suspicion:
    """Suspicion of one process. It counts silence in the watcher's own ticks: a watcher that was stopped counts nothing
    meanwhile, and hears the beats that have come before it counts on. ``heard``: there was a beat."""

    def __init__(self) -> None:
        self.heard = False
        self._ended = False
        self._silent = 0

    def beat(self) -> None:
        self.heard, self._ended, self._silent = True, False, 0

    def ended(self) -> None:
        """The process closed its connection, or refused one."""
        self._ended = True

    def tick(self) -> None:
        self._silent += 1

    def restart(self) -> None:
        """Begin to count again."""
        self._silent = 0

    def is_dead(self, patience: float) -> bool:
        """``patience``: how many times longer than usual to wait. Before its first beat no process is dead: it may be
        starting, be of another version, or be out of this watcher's reach."""
        allowed = ENDED_TICKS if self._ended else SILENT_TICKS
        return self.heard and self._silent >= allowed * patience


class Patience:
    """Doubles with each wrong removal of a process. A process that lives joins again after its removal, under its name
    and another member id. A process that was started again has another name."""

    def __init__(self, session_seconds: float, monotonic: Callable[[], float]) -> None:
        """``session_seconds``: the brokers themselves remove a member after so long a silence."""
        self._session_seconds = session_seconds
        self._monotonic = monotonic
        self._ids: dict[Name, MemberId] = {}
        self._seen_at: dict[Name, float] = {}
        self._removals: dict[Name, list[float]] = {}

    def see(self, members: Mapping[Name, MemberId]) -> None:
        """Take in the members that the group has now."""
        now = self._monotonic()
        for name, member_id in members.items():
            if self._ids.get(name, member_id) != member_id:
                self._removals.setdefault(name, []).append(now)
            self._ids[name], self._seen_at[name] = member_id, now
        for name in [name for name, seen_at in self._seen_at.items() if now - seen_at > REMEMBER_SECONDS]:
            del self._ids[name], self._seen_at[name]
            self._removals.pop(name, None)

    def patience_of(self, names: Iterable[Name]) -> float:
        """Patience with the process of these members; infinite if the brokers' time-out would be as quick."""
        since = self._monotonic() - REMEMBER_SECONDS
        removals = max((sum(at > since for at in self._removals.get(name, ())) for name in names), default=0)
        patience = 2.0**removals
        return patience if patience * SILENT_TICKS * TICK_SECONDS < self._session_seconds else math.inf


class Watched(msgspec.Struct, frozen=True):
    """A process, and its members of the group."""

    process: Process
    members: Mapping[Name, MemberId]


def watched_by(me: Process, members: Mapping[Name, MemberId], count: int) -> list[Watched]:
    """The next ``count`` processes after this one in the order of their addresses. A process that is no member watches
    none: it was removed, or has lost its way to the brokers, and must not judge others."""
    processes: dict[Process, dict[Name, MemberId]] = {}
    for name, member_id in members.items():
        process = process_of(name)
        if process is not None:
            processes.setdefault(process, {})[name] = member_id
    if me not in processes:
        return []
    ring = sorted(processes)
    at = ring.index(me)
    others = [*ring[at + 1 :], *ring[:at]][:count]
    return [Watched(process, processes[process]) for process in others]


def name_of(address: str, started: str) -> Name:
    """The name of a member: where it takes commands, ``host:port/shard``, and a mark of its process."""
    return f"{address}~{started}"


def process_of(name: Name) -> Process | None:
    """host:port; None if the name is not from ``name_of``."""
    address, tilde, _ = name.rpartition("~")
    process, slash, _ = address.rpartition("/")
    return process if tilde and slash else None


def precedes(other: Name, name: Name) -> bool:
    """True if ``other`` was at the same address before: two cannot listen there at once."""
    return other != name and other.rpartition("~")[0] == name.rpartition("~")[0] != ""
