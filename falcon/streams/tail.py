"""The log as streams follow it: records that are not decoded before somebody wants them."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.record import Record


class Raw(msgspec.Struct, frozen=True, gc=False):
    """A record where it stands, as it is encoded."""

    lane: int
    partition: Partition
    at: Position
    record: Record


class Tail(Protocol):
    """For one event loop. A lane is what has offsets of its own: a partition, or, on one machine, the whole log."""

    def lane(self, partition: Partition) -> int:
        """The lane that a partition's events are in."""

    async def ends(self, lanes: Mapping[int, object]) -> dict[int, int]:
        """Behind everything that is there now. Raises JournalUnavailable."""

    async def position(self, lane: int, offset: int) -> Position:
        """Where a reader from the lane's start stands at an offset that a token named.

        Raises WrongPlace where no reader can stand; JournalUnavailable.
        """

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[Raw], dict[int, Position]]:
        """What follows the cursor, and the cursor behind it; waits a moment where there is nothing.

        Raises JournalUnavailable.
        """

    async def read_again(self, lane: int, start: Position, stop: int, limit: int) -> tuple[list[Raw], Position]:
        """What stands from ``start`` up to offset ``stop`` (excluded), for one who was away; and where that ends.

        Raises JournalUnavailable.
        """

    def nudge(self) -> None:
        """Something has just been written: do not wait any longer."""

    async def close(self) -> None: ...


class WrongPlace(Exception):
    """No reader can stand there: the token is not of this log."""
