"""How much a mailbox may hold, and when it is full."""

import asyncio
from collections.abc import Sized
from typing import Final

from falcon.write.batching import BATCH_COMMANDS_MAX

BYTES_MAX: Final = 64 << 20  # of texts: a thousand of the largest messages
# A near shard's mailbox that was full stays so until no more commands wait in it than this.
_NEARLY_EMPTY: Final = 32


class Capacity:
    """Counts the commands of one mailbox that are queued or away: at most ``bound`` of them, and ``BYTES_MAX`` bytes.
    ``queue`` has the ones that are not away yet.

    ``is_near``: the shard decides on this loop's thread, and nothing is read or refused meanwhile. Once such a mailbox
    was full it takes no more than a batch until it is nearly empty. So a burst finds all the room there is. If more
    comes than the shard can decide, no command waits at the end of a long queue, which gains nothing over a short one.
    """

    def __init__(self, bound: int, queue: Sized, *, is_near: bool) -> None:
        self.commands = 0
        self.bytes = 0
        self._bound = bound
        self.plenty = bound // 2  # below it no burst of one turn needs to be counted before it asks
        self._queue = queue
        self._is_near = is_near
        self.was_full = False
        self._expected = 0
        self._loop = asyncio.get_running_loop()

    def has_room(self) -> bool:
        if self.commands >= self._bound or self.bytes >= BYTES_MAX:
            self.was_full = self._is_near
            return False
        return not self.was_full or len(self._queue) < BATCH_COMMANDS_MAX

    def expects(self) -> bool:
        """True if there is room for a command that is on its way to the mailbox.

        The command counts until the end of this turn of the loop: every command of a turn is looked at before the first
        one asks.
        """
        expected = self._expected
        if self.commands + expected >= self._bound or self.bytes >= BYTES_MAX:
            self.was_full = self._is_near
            return False
        if self.was_full and len(self._queue) + expected >= BATCH_COMMANDS_MAX:
            return False
        if not expected:
            self._loop.call_soon(self._expect_none)
        self._expected = expected + 1
        return True

    def relax(self) -> None:
        """Some commands have left the queue, which may be nearly empty now."""
        if len(self._queue) <= _NEARLY_EMPTY:
            self.was_full = False

    @property
    def bound(self) -> int:
        """The most commands that may be queued and away, together."""
        return min(self._bound, 2 * BATCH_COMMANDS_MAX) if self.was_full else self._bound

    def _expect_none(self) -> None:
        self._expected = 0
