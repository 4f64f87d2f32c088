"""Remembers keys that may be used once only, such as tickets."""

import time
from collections.abc import Callable


class Once:
    """Remembers keys for ``seconds`` at least, and for twice as long at most."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._lately: set[bytes] = set()
        self._before: set[bytes] = set()
        self._since = monotonic()

    def is_first(self, key: bytes) -> bool:
        """True if the key is new. It is remembered from now on."""
        now = self._monotonic()
        if now - self._since > self._seconds:
            self._before, self._lately, self._since = self._lately, set(), now
        if key in self:
            return False
        self._lately.add(key)
        return True

    def __contains__(self, key: bytes) -> bool:
        return key in self._lately or key in self._before

    def __len__(self) -> int:
        return len(self._lately) + len(self._before)
