"""Following what is assigned to a shard: taking partitions over, letting them go, and losing them."""

import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import assert_never

from falcon.journal.ports import AppendOutcome
from falcon.telemetry import metrics
from falcon.write import owned
from falcon.write.answers import KeyCounts
from falcon.write.limits import ShardLimits
from falcon.write.owned import Down, Leaving, Lost, Owned, Recovering, Serving, known_of, serving_of
from falcon.write.ownership import Ownership
from falcon.write.partition_aggregates import PartitionAggregates
from falcon.write.recovery import Background, Recovered, Recovery, at_once

log = logging.getLogger("falcon.shard")

# While a shard serves, a recovery on its own thread lets the event loop run this often: the launcher kills a process
# whose loop stands still for 30 s, and a long log takes longer.
_TURN_SECONDS = 1.0
_TRIES_MAX = 30  # of a takeover, counted for the length of the pause


class OwnershipCycle:
    """``states`` has each partition that the shard owns or should own. Only this class changes them.

    ``prove`` has something written in partitions that serve. Only ``_recover`` may run on another thread.
    """

    def __init__(
        self,
        ownership: Ownership,
        recovery: Recovery,
        background: Background,
        monotonic: Callable[[], float],
        limits: ShardLimits,
        keys: KeyCounts,
        prove: Callable[[Sequence[Serving]], None],
    ) -> None:
        self.states: dict[int, Owned] = {}
        self._ownership = ownership
        self._recovery = recovery
        self._background = background
        self._monotonic = monotonic
        self._limits = limits
        self._keys = keys
        self._prove = prove
        self._assigned: Collection[int] = ()
        self._assignments = 0
        self._is_settled = False  # every partition serves, and stays
        self._is_recovering = False
        self._recovered: deque[Recovered] = deque()
        self._left: Iterator[Recovered] = iter(())  # of a recovery that runs in turns
        self._is_closing = False
        metrics.ownership_changes.begin(("taken over",), ("lost",), ("left",))

    @property
    def serving(self) -> list[Serving]:
        """Includes the partitions that leave."""
        return [serving for each in self.states.values() if (serving := serving_of(each)) is not None]

    @property
    def is_all_served(self) -> bool:
        """Every partition that is assigned serves."""
        return self._ownership.assignments > 0 and all(
            serving_of(self.states.get(number)) is not None for number in self._ownership.assigned
        )

    @property
    def has_lost(self) -> bool:
        """Another owner has taken a partition over for good."""
        return not self._ownership.reclaims and any(isinstance(each, Lost) for each in self.states.values())

    def start(self) -> None:
        self._follow_assignment()
        self._take_over(math.inf)

    def look_after(self) -> None:
        """The shard calls it with every message, so it looks at each partition only while one of them needs it."""
        ownership = self._ownership
        if ownership.assigned is not self._assigned or ownership.assignments != self._assignments:
            self._follow_assignment()
        if self._is_settled:
            return
        self._let_go()
        self._recover(self._left, _TURN_SECONDS)
        self._adopt_recovered()
        self._take_over(_TURN_SECONDS)
        self._is_settled = not self._is_recovering and all(isinstance(each, Serving) for each in self.states.values())

    def failed(self, serving: Serving, outcome: AppendOutcome | None) -> None:
        """The epoch is over: nothing of it may be decided on, or answered, any more."""
        self._is_settled = False
        if outcome is not AppendOutcome.FENCED:
            self.states[serving.number] = owned.went_down(serving)
            return
        # Two shards that both believe to own it would depose each other for ever. So each asks first, after a pause of
        # its own.
        pause = self._limits.reclaim_seconds * random.uniform(0.5, 1.5)
        retry_at = self._monotonic() + pause
        self.states[serving.number] = owned.deposed(serving, self._ownership.assignments, retry_at)
        metrics.ownership_changes.labels("lost").inc()

    def close(self) -> None:
        """Take nothing over any more."""
        self._is_closing = True

    # --- what is assigned ---------------------------------------------------------------------------------------------

    def _follow_assignment(self) -> None:
        """Partitions that stay are not touched."""
        assigned = self._ownership.assigned
        if assigned is not self._assigned:
            self._assigned, self._is_settled = assigned, False
            for number in assigned:
                known = self.states.get(number)
                self.states[number] = Down() if known is None else owned.assigned(known)
            self._let_go()
        if self._assignments != self._ownership.assignments:
            self._assignments = self._ownership.assignments
            # Another shard may have been the owner between two assignments, if this one has missed an assignment. This
            # shard would not notice: no commands come any more, since they go to the other one. So it writes something,
            # which the log refuses then.
            self._prove([each for each in self.states.values() if isinstance(each, Serving)])

    def _let_go(self) -> None:
        """One step for each partition that is not assigned here."""
        for number in [number for number in self.states if number not in self._assigned]:
            before = self.states[number]
            after = owned.assigned_elsewhere(before)
            if after is not None:
                self.states[number] = after
                continue
            del self.states[number]
            self._forget_keys(before)
            metrics.ownership_changes.labels("left").inc()

    def _forget_keys(self, each: Owned) -> None:
        if (known := known_of(each)) is not None:
            known.count_keys_out()

    # --- taking over --------------------------------------------------------------------------------------------------

    def _take_over(self, turn_seconds: float) -> None:
        """``turn_seconds``: for a recovery that is not on another thread."""
        if self._is_closing or self._is_recovering:
            return
        now = self._monotonic()
        numbers: list[int] = []
        for number, each in self.states.items():
            match each:
                case Down() | Lost() if self._may_be_taken_over(each, now):
                    self.states[number] = owned.taken_over(each)
                    numbers.append(number)
                case Lost(retry_at=retry_at) if now >= retry_at:
                    self._ask_for(number, each, now)
                case _:
                    pass
        if numbers:
            self._is_recovering = True
            recovery = self._recovery.run(numbers)
            if self._background is at_once:
                self._left = recovery
                self._recover(recovery, turn_seconds)
            else:
                self._background(partial(self._recover, recovery, math.inf))
            self._adopt_recovered()

    def _may_be_taken_over(self, each: Down | Lost, now: float) -> bool:
        if now < each.retry_at:
            return False
        if isinstance(each, Lost):
            return self._ownership.reclaims and self._ownership.assignments > each.assignment
        return True

    def _ask_for(self, number: int, lost: Lost, now: float) -> None:
        """Usually the group moves a lost partition within a moment, and says so. If it does not, ask it."""
        self.states[number] = Lost(lost.assignment, now + self._limits.reclaim_seconds, lost.before)
        self._ownership.doubt()

    def _recover(self, recovery: Iterator[Recovered], turn_seconds: float) -> None:
        """Perhaps on another thread: the shard's own takes up what this hands over (``_adopt_recovered``)."""
        until = time.monotonic() + turn_seconds
        for recovered in recovery:
            self._recovered.append(recovered)
            if recovered.left and time.monotonic() >= until:
                return

    def _adopt_recovered(self) -> None:
        while self._recovered:
            recovered = self._recovered.popleft()
            self._is_recovering = recovered.left > 0
            now = self._monotonic()
            opened = {each.number: each.epoch for each in recovered.ready if self._adopt(each, now)}
            for number in recovered.down:
                if (each := self._recovering(number)) is not None:
                    self.states[number] = owned.put_off(each, now + self._pause(each))
            for number in recovered.undecodable:
                if (each := self._recovering(number)) is not None:
                    self.states[number] = owned.not_readable(each, now + self._limits.undecodable_retry_seconds)
            self._ownership.opened(opened)

    def _adopt(self, aggregates: PartitionAggregates, now: float) -> bool:
        before = self._recovering(aggregates.number)
        if before is None:
            return False
        self._forget_keys(before)
        aggregates.count_keys_in(self._keys)
        self.states[aggregates.number] = owned.recovered(aggregates, now)
        metrics.ownership_changes.labels("taken over").inc()
        return True

    def _recovering(self, number: int) -> Down | Recovering | None:
        """The state of a partition that a recovery has reported.

        None if it was assigned elsewhere meanwhile; Down if it came back after that.
        """
        each = self.states.get(number)
        match each:
            case Down() | Recovering() | None:
                return each
            case Serving() | Leaving() | Lost():
                raise AssertionError(f"partition {number} was recovered twice")
            case _:
                assert_never(each)

    def _pause(self, each: Down | Recovering) -> float:
        """Grows, since each try may depose an owner that serves."""
        pause = self._limits.recovery_retry_seconds * 2.0 ** min(each.tries, _TRIES_MAX)
        return min(pause, self._limits.recovery_retry_seconds_max)
