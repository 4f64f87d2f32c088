"""Rate limits by key: token buckets, stored as the time at which a bucket is full again (GCRA)."""

import time
from collections.abc import Callable, Hashable
from typing import Final

_KEYS_MAX: Final = 100_000  # of each half, of some 150 bytes
_OTHERS: Final = object()
_ROUNDING_SECONDS: Final = 1e-6  # the error of adding up times


class Buckets:
    """Each key may be used ``quota`` times at once, and ``quota`` times in each further ``seconds``. A quota of 0 means
    that there is no limit.

    A bucket is full again ``seconds`` after its last use, or ``ahead`` later if uses are reserved. A full one need not
    be stored. So keys are dropped in two halves, and nothing is ever searched. Each half has at most ``keys_max`` keys.
    If more are used, the older half is dropped early. With ``shared`` all further keys share one bucket instead, until
    the next half begins: a client that can invent keys gains nothing by it.

    ``ahead``: so many seconds of uses may be reserved. ``clock``: in seconds; it must not go back. For one thread.
    """

    __slots__ = (
        "_ahead",
        "_clock",
        "_each",
        "_keys_max",
        "_lately",
        "_older",
        "_seconds",
        "_shared",
        "_slack",
        "_turn_at",
        "_window",
    )

    def __init__(
        self,
        quota: int,
        seconds: float,
        *,
        keys_max: int = _KEYS_MAX,
        shared: bool = False,
        ahead: float = 0.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._clock = clock or time.monotonic
        self._ahead = ahead
        self._window = seconds + ahead
        self._each = seconds / quota if quota else 0.0
        self._seconds = seconds + _ROUNDING_SECONDS
        self._slack = self._seconds - self._each
        self._keys_max = keys_max
        self._shared = shared
        self._lately: dict[Hashable, float] = {}
        self._older: dict[Hashable, float] = {}
        self._turn_at = 0.0

    def __len__(self) -> int:
        """The number of stored keys."""
        return len(self._lately) + len(self._older)

    def consume(self, key: Hashable, uses: float = 1.0, ahead: float | None = None) -> float:
        """Use the key so often. Returns 0 if that is allowed; otherwise the seconds until it is. If these are at most
        ``ahead``, by default the bucket's own, the use at that time is reserved; if they are more, nothing is used."""
        if not self._each:
            return 0.0
        now = self._clock()
        full_at = self._lately.get(key)
        if full_at is None or now >= self._turn_at:
            key, full_at = self._full_at(key, now)
        elif full_at < now:
            full_at = now
        full_at += self._each * uses
        wait = full_at - now - self._seconds
        if wait <= 0.0:
            self._lately[key] = full_at
            return 0.0
        if wait <= (self._ahead if ahead is None else ahead):
            self._lately[key] = full_at
        return wait

    def charge(self, key: Hashable, uses: float) -> bool:
        """Count uses that have happened. Returns True if the key may not be used now. It can be in debt for ``ahead``
        seconds at most."""
        if not self._each:
            return False
        now = self._clock()
        full_at = self._lately.get(key)
        if full_at is None or now >= self._turn_at:
            key, full_at = self._full_at(key, now)
        elif full_at < now:
            full_at = now
        full_at = self._lately[key] = min(full_at + self._each * uses, now + self._window)
        return full_at - now > self._slack

    def wait(self, key: Hashable) -> float:
        """Seconds until the key may be used; 0 if it may be now."""
        if not self._each:
            return 0.0
        now = self._clock()
        full_at = self._lately.get(key) or self._older.get(key, now)
        if self._shared and len(self._lately) >= self._keys_max and key not in self._lately:
            full_at = self._lately.get(_OTHERS, now)
        return max(0.0, full_at - now - self._slack)

    def _full_at(self, key: Hashable, now: float) -> tuple[Hashable, float]:
        """The key of the bucket, and when that is full again, now at the earliest."""
        if now >= self._turn_at:
            self._turn(now)
        full_at = self._lately.get(key)
        if full_at is None:
            full_at = self._older.get(key, now)
            if len(self._lately) >= self._keys_max:
                if self._shared:
                    key = _OTHERS
                    full_at = self._lately.get(key, now)
                else:
                    self._turn(now)
        return key, full_at if full_at > now else now

    def _turn(self, now: float) -> None:
        self._older = self._lately if now < self._turn_at + self._window else {}
        self._lately = {}
        self._turn_at = now + self._window


class Switch:
    """``on``: limits hold. They may begin to hold while Falcon runs, and never cease to."""

    __slots__ = ("on",)

    def __init__(self, *, on: bool = True) -> None:
        self.on = on


class Counts:
    """Counts concurrent uses by key, at most ``most`` for each; 0 means that there is no limit."""

    __slots__ = ("_counts", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """The number of keys in use."""
        return len(self._counts)

    def enter(self, key: Hashable, times: float = 1.0) -> bool:
        """Returns True if there was room for one more. It then counts until :meth:`leave`. ``times``: the key may have
        so many times ``most``."""
        if not self._most:
            return True
        count = self._counts.get(key, 0)
        if count >= self._most * times:
            return False
        self._counts[key] = count + 1
        return True

    def leave(self, key: Hashable) -> None:
        if not self._most:
            return
        count = self._counts[key] - 1
        if count:
            self._counts[key] = count
        else:
            del self._counts[key]

    def is_full(self, key: Hashable, times: float = 1.0) -> bool:
        return self._most > 0 and self._counts.get(key, 0) >= self._most * times
