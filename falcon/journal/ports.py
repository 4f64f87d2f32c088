"""The ports of the log. Adapters implement them; ``tests/contracts`` holds every adapter to what is said here."""

from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import Protocol, TypeAlias

import msgspec

from falcon.domain.ids import Millis, Partition
from falcon.journal.envelope import Cursor, Envelope, Position, Recorded
from falcon.journal.record import Record


class JournalUnavailable(Exception):
    """Nothing was written and nothing can be, for now. Try again later; the message says what is wrong.

    ``partition``: the only one that is concerned, if it is only one.
    """

    def __init__(self, message: str, partition: Partition | None = None) -> None:
        super().__init__(message)
        self.partition = partition


class NotShown(JournalUnavailable):
    """Of some ``partitions`` the log does not show what it has, for now. The others can be read."""

    def __init__(self, message: str, partitions: Collection[Partition]) -> None:
        super().__init__(message)
        self.partitions = frozenset(partitions)


class LogWentBack(JournalUnavailable):
    """The log does not have a place that a reader stands at: it was restored from an older copy, trimmed, or made anew.
    Whatever was made from it shows a history that is gone, and time does not mend that."""


class AppendOutcome(Enum):
    """What became of a submission.

    DURABLE: it will be there after a crash. FENCED: another owner has taken the partition over, and nothing of this
    was or will be written. UNKNOWN: it may be there or not; only a takeover tells.
    """

    DURABLE = "durable"
    FENCED = "fenced"
    UNKNOWN = "unknown"


class Append(msgspec.Struct, eq=False):
    """Events of one partition, in order: all of them or none. ``records`` are their encoded forms.

    ``outcome`` is set when the journal gives it back (``Journal.collect``).
    ``first``, set by the journal with a durable outcome: the offset of the first; the others follow it without a gap.
    """

    partition: Partition
    epoch: int
    envelopes: list[Envelope]
    records: list[Record]
    outcome: AppendOutcome | None = None
    first: int = -1

    @property
    def last(self) -> int:
        """The offset of the last event."""
        return self.first + len(self.envelopes) - 1


class Checkpoint(msgspec.Struct, eq=False):
    """States of a partition's aggregates, such that its log below ``position`` need not be read again.

    ``snapshots`` are those that have changed since the last checkpoint, by key. ``answers`` are those given to keyed
    commands since then, the newest at ``answers_at``; answers older than ``answers_expired`` may be forgotten.
    ``version`` names the shape of all these bytes. Only what is durable may be in a checkpoint.
    """

    partition: Partition
    epoch: int
    position: Position
    version: int
    state: bytes
    snapshots: list[tuple[str, bytes]]
    answers: bytes
    answers_at: Millis
    answers_expired: Millis
    outcome: AppendOutcome | None = None


Submission: TypeAlias = Append | Checkpoint
Wake: TypeAlias = Callable[[], None]


class Journal(Protocol):
    """One writer's access to the log, for one thread; what takes time happens on threads of its own.

    It is made with a ``Wake``, which it calls, from any thread, whenever there is something to ``collect``.
    """

    def takeover(self, partitions: Sequence[Partition], owner: str) -> dict[Partition, Position]:
        """Become the owner: a new epoch each, in which earlier owners' appends fail. Blocks.

        Returns where the log ends of each partition that could be taken by now; what stands before that has happened,
        and what of an earlier epoch is not there by now never will be. One that takes longer holds no other up: it is
        left out, and a later call finds it further on. Raises JournalUnavailable where none can be taken; an earlier
        owner may be deposed all the same.
        """

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Queue for writing, and return at once.

        Within a partition the order of the appends is kept, and once one has failed all behind it in the same epoch
        fail too. A checkpoint of an epoch that has ended replaces nothing newer, whatever its outcome.
        """

    def collect(self) -> list[Submission]:
        """Those that have got their ``outcome`` since the last call; the appends in the order of each partition."""

    def flush(self) -> None:
        """Block until everything submitted has its outcome, for ``collect`` to give."""

    def close(self) -> None:
        """Flush, then let go."""


class EventSource(Protocol):
    """Anybody's reading of the log."""

    @property
    def partitions(self) -> int:
        """How many there are, for ever."""

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        """The next events of the cursor's partitions, at most ``limit``, each partition's in order; and the cursor
        behind them. None, and the same cursor or one further on, at the end.

        Raises JournalUnavailable, or Undecodable for a record that this version does not know. A source of which each
        partition is read by itself gives what stands before such a record first.
        """

    def end(self) -> Cursor:
        """Behind everything that is there now, to measure by: only what a read gives can be read on from."""

    def behind(self, cursor: Cursor) -> int:
        """About how many events follow the cursor, as far as the last read has shown: nobody has to wait for it."""

    def wait(self, seconds: float) -> None:
        """Until there may be something new, or the time is over."""


class CheckingSource(EventSource, Protocol):
    """One that knows its own places."""

    def check(self, cursor: Cursor) -> None:
        """For positions that were kept elsewhere, before anything is read from there on.

        Raises LogWentBack where one of them is no place in this log; NotShown where only some cannot be looked at,
        which says nothing of the others; JournalUnavailable.
        """


class Snapshot(msgspec.Struct, frozen=True):
    """A state that holds what stands below ``offset``, if not more than the checkpoint's position says: there may be
    newer states than the newest checkpoint."""

    offset: int
    data: bytes


class Checkpointed(msgspec.Struct, frozen=True):
    position: Position
    state: bytes


class SnapshotStore(Protocol):
    """What checkpoints have left behind, for the owner. All of it is of the version asked for, or not given."""

    def checkpoint(self, partition: Partition, version: int) -> Checkpointed | None:
        """The newest checkpoint."""

    def load(self, partition: Partition, key: str, version: int) -> Snapshot | None:
        """The newest snapshot under this key. Cheap: it is how a cold aggregate comes back."""

    def answers(self, partition: Partition, version: int, since: Millis) -> list[bytes]:
        """The answers of every checkpoint whose newest is not older than ``since``, oldest first."""


class ConfirmedPositions(Protocol):
    """How far the log is known to have been acknowledged."""

    async def confirmed(self, partition: Partition) -> int:
        """An offset; every change that was acknowledged in the partition before the call stands there or below.

        -1 where there was none. Raises JournalUnavailable where nobody can say so for now.
        """
