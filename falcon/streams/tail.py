"""The log as streams read it: records stay undecoded until a subscription may want them."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from falcon.domain.ids import Partition
from falcon.journal.envelope import Envelope, Position
from falcon.journal.record import Record
from falcon.streams.starts import Starts


class LocatedRecord(msgspec.Struct, frozen=True, gc=False):
    """An encoded record with its place in the log. ``envelope``: what it decodes to, if this process has made it."""

    segment: int
    partition: Partition
    at: Position
    record: Record
    envelope: Envelope | None = None


class Tail(Protocol):
    """One instance per event loop. A segment is a part of the log with offsets of its own: a partition, or on one
    machine a database file."""

    @property
    def starts(self) -> Starts:
        """Starts of the segments. The tail knows all that began in what it has read."""

    def segment(self, partition: Partition) -> int:
        """The segment that gets the partition's events."""

    async def ends(self, segments: Mapping[int, object]) -> dict[int, int]:
        """The offset after the last record of each segment. Raises JournalUnavailable."""

    async def position(self, segment: int, offset: int) -> Position:
        """The position of a reader that has read the segment from its start up to ``offset``, an offset from a resume
        token.

        Raises WrongPlace if no reader can stand there; JournalUnavailable.
        """

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        """The records after the cursor, and the cursor after them. Waits a moment if there are none.

        Raises JournalUnavailable.
        """

    async def read_range(
        self, segment: int, start: Position, stop: int, limit: int
    ) -> tuple[list[LocatedRecord], Position]:
        """The records from ``start`` up to offset ``stop`` (excluded), and the position after them.

        Raises JournalUnavailable.
        """

    def nudge(self) -> None:
        """Something has just been written: do not wait any longer."""

    async def close(self) -> None: ...


class WrongPlace(Exception):
    """No reader can stand there: the token is not of this log."""
