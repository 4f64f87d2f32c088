"""Starts of the log: what stands after a start was written later, in the history that the log has now.

A log that goes back to an older copy of itself, such as a snapshot of its volume, keeps its name, and gives the same
offsets again. But it is started again before anything is written, and each start has a random number. So the number of
the start that wrote the record before a place tells that place from the same one in a history that was lost.
"""

import secrets
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from falcon.domain.ids import Partition

NO_START: Final = 0  # of places that were written before starts had numbers
NUMBER_BYTES: Final = 4  # two starts of a log have the same number once in four billion


def new_number() -> int:
    """A random number, and never NO_START."""
    return secrets.randbits(8 * NUMBER_BYTES) or 1


class Start(NamedTuple):
    """``begin``: the offset from which on the records were written after it."""

    begin: int
    number: int


class Starts(Protocol):
    """The starts of a log's segments. One instance per event loop."""

    async def know(self, places: Mapping[int, int]) -> None:
        """Find out which starts wrote the records before these offsets, by segment.

        Raises WrongPlace if no reader can stand there; JournalUnavailable.
        """

    def number(self, segment: int, offset: int) -> int:
        """The number of the start that wrote the record before the offset; NO_START if it has none. The place must be
        known, or the tail must have read from a known place up to it."""

    def newest(self, partition: Partition) -> int | None:
        """The number of the newest start of a partition; None if that has not been read."""


class KnownStarts:
    """Some starts of a segment, or of segments that share no offsets."""

    def __init__(self, known: Mapping[int, int]) -> None:
        """``known``: numbers by the offset at which the start began."""
        self._begins = sorted(known)
        self._numbers = dict(known)

    def add(self, start: Start) -> None:
        if start.begin not in self._numbers:
            self._begins.insert(bisect_left(self._begins, start.begin), start.begin)
        self._numbers[start.begin] = start.number

    def before(self, offset: int) -> Start | None:
        """The newest known start that began before the offset."""
        at = bisect_left(self._begins, offset)
        return Start(self._begins[at - 1], self._numbers[self._begins[at - 1]]) if at else None
