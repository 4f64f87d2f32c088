"""When the next batch of a mailbox goes to its shard.

It waits for the one that is away, since half as many at once cost nearly as much, on the way and in the log. A large
one does not wait, up to a number of batches. None waits for a batch of which most is back, or which is away for long:
some partition of it is slow, and the others must not wait for that.
"""

import asyncio
from typing import Final, TypeAlias

import msgspec

from falcon.write.protocol import CommandEnvelope, Reply

# A command, its reply to be, and since when it waits (CLOCK_MONOTONIC).
Pending: TypeAlias = "tuple[CommandEnvelope, asyncio.Future[Reply], float]"

BATCH_COMMANDS_MAX: Final = 256  # a batch is decided in some 5 ms; a larger one gains little and delays others
BATCH_BYTES_MAX: Final = 512 << 10  # half of the 1 MB that brokers take in a batch by default
# Away for longer than this, a batch holds up no other.
SLOW_SECONDS: Final = 0.05
# A batch of so many gains little by becoming larger.
_LARGE: Final = 32
# Of a batch's replies, so many may still be missing when the next one goes. Commands that wait for most of the batch
# before them share the way there, and an append, with each other. What is missing then is a slow partition's.
_STRAGGLERS: Final = 0.25
# With more batches away than this, only time lets the next one go: a partition may be slow for seconds.
_AWAY_MAX: Final = 16


class Away(msgspec.Struct, eq=False):
    """A batch that has been sent. ``waiting``: those whose replies are still to come, by their index in the batch.

    ``deadline``: of the last of its commands. ``since``: when it was sent. Both on CLOCK_MONOTONIC.
    """

    waiting: dict[int, Pending]
    size: int
    deadline: float
    since: float


class Batching:
    """The batches of one mailbox that are away, by number. Up to ``batches_away`` of them hold up the next one."""

    def __init__(self, batches_away: int) -> None:
        self.away: dict[int, Away] = {}
        self._batches_away = batches_away
        self._holding: set[int] = set()  # numbers of the batches that the next one waits for
        self._number = 0

    def may_go(self, queued: int) -> bool:
        """True if a batch may go now, with ``queued`` commands to choose from."""
        if not self._holding:
            return True
        return len(self._holding) < self._batches_away and queued >= _LARGE

    def sent(self, away: Away) -> int:
        """The number of the batch."""
        self._number += 1
        self.away[self._number] = away
        self._holding.add(self._number)
        return self._number

    def came_back(self, number: int) -> None:
        """All of its replies are here, or none will come any more."""
        del self.away[number]
        self._holding.discard(number)

    def pass_over(self, number: int) -> None:
        """The next batch does not wait for this one any more."""
        self._holding.discard(number)

    def pass_over_slow(self, now: float) -> None:
        """The next batch does not wait for the ones that are away for long."""
        self._holding = {number for number in self._holding if now - self.away[number].since < SLOW_SECONDS}

    def is_nearly_back(self, away: Away) -> bool:
        return len(away.waiting) <= away.size * _STRAGGLERS and len(self.away) <= _AWAY_MAX
