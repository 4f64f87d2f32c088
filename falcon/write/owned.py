"""The states of a partition at a shard that owns it or should, and every way from one state to another.

    Down ──takeover──▶ Recovering ──recovered──▶ Serving ──assigned elsewhere──▶ Leaving ──▶ (forgotten)
      ▲                    │                     │     │◀──assigned again──────────┘
      ├─────put off────────┘                     │     │
      └─────an append is of unknown outcome──────┘     └──an append is fenced──▶ Lost ──assigned again─▶ Recovering

The shard has no state for a partition that it neither owns nor should own. No state but Serving takes commands.
"""

import math
from collections import deque
from typing import TypeAlias, assert_never

import msgspec

from falcon.journal.ports import Append
from falcon.write.partition_aggregates import Executed, PartitionAggregates


class Waiter(msgspec.Struct, frozen=True, gc=False):
    """A reply that must not leave before the append it stands with is durable.

    ``index``: of the command in the ``batch``. ``recorded``: the command has events of its own in that append.
    """

    batch: int
    index: int
    executed: Executed
    recorded: bool


class InFlight(msgspec.Struct, eq=False):
    """An append that the journal has, the replies that wait for it, and since when (CLOCK_MONOTONIC)."""

    append: Append
    waiters: list[Waiter]
    since: float


class Down(msgspec.Struct, frozen=True):
    """No command is decided here. The partition is taken over from ``retry_at`` on (CLOCK_MONOTONIC).

    ``tries``: how many takeovers have failed since it last served. ``before``: as it last served, for the keys that it
    knows.
    """

    retry_at: float = 0.0
    tries: int = 0
    before: PartitionAggregates | None = None


class Recovering(msgspec.Struct, frozen=True):
    """The partition is being taken over, and its log is being read. Fields as in Down."""

    tries: int = 0
    before: PartitionAggregates | None = None


class Serving(msgspec.Struct, eq=False):
    """Commands are decided here.

    ``in_flight``: appends, oldest first. ``proven_at``: when the newest append was sent of the ones that have shown
    that the log was ours. ``unproven``: refusals that wait for newer proof. ``captured_at``: when the state was last
    captured. ``captured_after``: the append after whose events it was; the capture is a checkpoint once that is
    durable.
    """

    aggregates: PartitionAggregates
    captured_at: float
    proven_at: float = -math.inf
    in_flight: deque[InFlight] = msgspec.field(default_factory=deque)
    unproven: list[Waiter] = msgspec.field(default_factory=list)
    captured_after: Append | None = None

    @property
    def number(self) -> int:
        return self.aggregates.number

    @property
    def is_settled(self) -> bool:
        """No reply waits for anything."""
        return not self.in_flight and not self.unproven


class Leaving(msgspec.Struct, frozen=True):
    """The partition is assigned to another shard. No command is taken any more; what is in flight is answered."""

    serving: Serving


class Lost(msgspec.Struct, frozen=True):
    """Another owner has taken it: the log has refused an append.

    ``assignment``: the number of the assignment that was the newest then. From ``retry_at`` on this shard asks for it
    again, or takes it over if a newer assignment says so.
    """

    assignment: int
    retry_at: float
    before: PartitionAggregates


Owned: TypeAlias = Down | Recovering | Serving | Leaving | Lost


# --- what a state means -----------------------------------------------------------------------------------------------


def serving_of(owned: Owned | None) -> Serving | None:
    """The Serving of a partition that still decides, or waits for its log, here; else None."""
    match owned:
        case Serving():
            return owned
        case Leaving(serving=serving):
            return serving
        case Down() | Recovering() | Lost() | None:
            return None
        case _:
            assert_never(owned)


def known_of(owned: Owned) -> PartitionAggregates | None:
    """The partition as it is or last was here: it knows the keys that were used."""
    match owned:
        case Serving(aggregates=aggregates) | Leaving(serving=Serving(aggregates=aggregates)):
            return aggregates
        case Down(before=before) | Recovering(before=before) | Lost(before=before):
            return before
        case _:
            assert_never(owned)


def name_of(owned: Owned) -> str:
    """The state's name for operators."""
    return type(owned).__name__.lower()


# --- from one to another ----------------------------------------------------------------------------------------------


def taken_over(owned: Down | Lost) -> Recovering:
    """A recovery has begun."""
    match owned:
        case Down(tries=tries, before=before):
            return Recovering(tries, before)
        case Lost(before=before):
            return Recovering(0, before)
        case _:
            assert_never(owned)


def recovered(aggregates: PartitionAggregates, now: float) -> Serving:
    """The log has been read to the end. Nothing proves yet that the log is still ours."""
    return Serving(aggregates, captured_at=now)


def put_off(owned: Down | Recovering, retry_at: float) -> Down:
    """The partition could not be taken over, and the next try may do better then."""
    return Down(retry_at, owned.tries + 1, owned.before)


def not_readable(owned: Down | Recovering, retry_at: float) -> Down:
    """The log holds what this version cannot read. Taking it over did not fail, so the pauses do not grow."""
    return Down(retry_at, owned.tries, owned.before)


def assigned(owned: Owned) -> Owned:
    match owned:
        case Leaving(serving=serving):
            return serving
        case _:
            return owned


def assigned_elsewhere(owned: Owned) -> Owned | None:
    """None if nothing is left to do: the shard forgets it."""
    match owned:
        case Serving():
            return Leaving(owned)
        case Leaving(serving=serving):
            return None if serving.is_settled else owned
        case Down() | Recovering() | Lost():
            return None
        case _:
            assert_never(owned)


def went_down(serving: Serving) -> Down:
    """The outcome of an append is unknown: only its log can tell."""
    return Down(before=serving.aggregates)


def deposed(serving: Serving, assignment: int, retry_at: float) -> Lost:
    return Lost(assignment, retry_at, serving.aggregates)
