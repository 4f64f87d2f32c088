"""When a process that owns partitions is taken for dead. Pure rules: no clock but the caller's, no network.

A wrong suspicion costs a rebalance and no message, since the log decides who writes. What must not happen is that a
process which is merely slow is removed again and again, so each wrong removal makes the watchers more patient with it.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

TICK_SECONDS: Final = 0.2
# Longer than a busy process, or one whose collector runs, is silent.
SILENT_TICKS: Final = 7
# Its connection has ended and a new one brings no beat: only a process that has ended does that.
ENDED_TICKS: Final = 2
# So long a wrong removal is remembered.
REMEMBER_SECONDS: Final = 600.0

Name = str
MemberId = str
Process = str


class Suspicion:
    """Of one process. Silence is counted in the watcher's own ticks: a watcher that was stopped itself has counted
    nothing meanwhile, and hears the beats that have come before it counts on. ``heard``: there was a beat."""

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
        """Silence until now says nothing."""
        self._silent = 0

    def is_dead(self, patience: float) -> bool:
        """``patience``: how many times longer than usual to wait. Never before a first beat: it may be starting, be of
        another version, or out of this watcher's reach for good."""
        allowed = ENDED_TICKS if self._ended else SILENT_TICKS
        return self.heard and self._silent >= allowed * patience


class Patience:
    """Doubles with each wrong removal of a process. A process that was removed though it lives joins again, under its
    name and another member id; one that was started again has another name."""

    def __init__(self, session_seconds: float, monotonic: Callable[[], float]) -> None:
        """``session_seconds``: after which the brokers remove a silent member themselves."""
        self._session_seconds = session_seconds
        self._monotonic = monotonic
        self._ids: dict[Name, MemberId] = {}
        self._seen_at: dict[Name, float] = {}
        self._removals: dict[Name, list[float]] = {}

    def see(self, members: Mapping[Name, MemberId]) -> None:
        """Who is in the group now."""
        now = self._monotonic()
        for name, member_id in members.items():
            if self._ids.get(name, member_id) != member_id:
                self._removals.setdefault(name, []).append(now)
            self._ids[name], self._seen_at[name] = member_id, now
        for name in [name for name, seen_at in self._seen_at.items() if now - seen_at > REMEMBER_SECONDS]:
            del self._ids[name], self._seen_at[name]
            self._removals.pop(name, None)

    def of(self, names: Iterable[Name]) -> float:
        """With the process that these members live in; infinite where the brokers' time-out would be as quick."""
        since = self._monotonic() - REMEMBER_SECONDS
        removals = max((sum(at > since for at in self._removals.get(name, ())) for name in names), default=0)
        patience = 2.0**removals
        return patience if patience * SILENT_TICKS * TICK_SECONDS < self._session_seconds else math.inf


class Watched(msgspec.Struct, frozen=True):
    """A process, and its members of the group."""

    process: Process
    members: Mapping[Name, MemberId]


def watched_by(me: Process, members: Mapping[Name, MemberId], count: int) -> list[Watched]:
    """The next ``count`` processes behind this one in the order of their addresses; none for one that is no member:
    who was removed, or has lost its way to the brokers, has nothing to say of others."""
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
    """A member's: where it takes commands, ``host:port/shard``, and what tells its process from earlier ones there."""
    return f"{address}~{started}"


def process_of(name: Name) -> Process | None:
    """host:port; None where the name is not from ``name_of``."""
    address, tilde, _ = name.rpartition("~")
    process, slash, _ = address.rpartition("/")
    return process if tilde and slash else None


def precedes(other: Name, name: Name) -> bool:
    """It was at the same address before: two cannot listen there at once."""
    return other != name and other.rpartition("~")[0] == name.rpartition("~")[0] != ""
