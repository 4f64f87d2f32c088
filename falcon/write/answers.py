"""The answers given to keyed commands within the retry window: where in the log each one stands."""

from collections import deque
from collections.abc import Callable

import msgspec

from falcon.domain.ids import AccountId, Millis
from falcon.journal.envelope import Position

_SLICES = 10


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """The command's fingerprint, and where the event stands that carries its answer.

    ``at``: when it was given, by the partition's WindowTime. There may be millions of these, and each holds numbers
    only: the garbage collector need not look at them.
    """

    fingerprint: int
    offset: int
    epoch: int
    n: int
    at: Millis

    @property
    def position(self) -> Position:
        return Position(self.offset, self.epoch, self.n)


class WindowTime:
    """The time by which answers grow old, in milliseconds: that of the events, which goes on where theirs stands still.

    Theirs does where it is ahead of the clock, as it is when the clock was set back before a restart; answers would be
    kept for as long. So it is the steady clock's, with the greatest lead that the events' time has had over it.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._reached: Millis = 0
        self._lead: Millis | None = None

    def reach(self, at: Millis) -> Millis:
        """It was this, or later, when the event was written that is being read; gives the latest of these."""
        self._reached = max(self._reached, at)
        return self._reached

    def start(self) -> None:
        """All of the log has been read: from here on time goes by."""
        self._lead = self._reached - self._steady()

    def now(self, at: Millis) -> Millis:
        """While the events' time is ``at``. Behind ``start``."""
        steady = self._steady()
        if self._lead is None or at - steady > self._lead:
            self._lead = at - steady
        return steady + self._lead

    def _steady(self) -> Millis:
        return round(self._monotonic() * 1_000)


class AnswerWindow:
    """Forgets whole slices of a tenth of the window, so that nothing is ever searched or sorted.

    An answer is found for at least ``window`` milliseconds after it was given, and not after it.
    """

    def __init__(self, window: Millis) -> None:
        self.window = window
        self._slice = max(1, window // _SLICES)
        self._slices: deque[tuple[Millis, dict[tuple[AccountId, str], Remembered]]] = deque()

    def __len__(self) -> int:
        return sum(len(answers) for _, answers in self._slices)

    def find(self, account_id: AccountId, key: str, at: Millis) -> Remembered | None:
        name = (account_id, key)
        for _, answers in self._slices:
            found = answers.get(name)
            if found is not None and found.at >= at - self.window:
                return found
        return None

    def add(self, account_id: AccountId, key: str, remembered: Remembered) -> None:
        """``remembered.at`` must not go back."""
        start = remembered.at - remembered.at % self._slice
        if not self._slices or self._slices[-1][0] != start:
            self._expire(remembered.at)
            self._slices.append((start, {}))
        self._slices[-1][1][account_id, key] = remembered

    def _expire(self, at: Millis) -> None:
        while self._slices and self._slices[0][0] + self._slice <= at - self.window:
            self._slices.popleft()
