"""The ports of the log. Adapters implement them. ``tests/contracts`` holds every adapter to these docstrings."""

from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import Final, Protocol, TypeAlias

import msgspec

from falcon.domain.ids import Millis, Partition
from falcon.journal.envelope import Cursor, Envelope, Position, Recorded
from falcon.journal.record import Record


class JournalUnavailable(Exception):
    """Nothing was written, and nothing can be for now. Try again later. The message says what is wrong.

    ``partition``: the only one that is concerned, if it is only one.
    """

    def __init__(self, message: str, partition: Partition | None = None) -> None:
        super().__init__(message)
        self.partition = partition


class NotShown(JournalUnavailable):
    """The log does not show all of some ``partitions`` for now. The others can be read."""

    def __init__(self, message: str, partitions: Collection[Partition]) -> None:
        super().__init__(message)
        self.partitions = frozenset(partitions)


class LogWentBack(JournalUnavailable):
    """The log does not have the place of a reader: it was restored from an older copy, trimmed, or made again.
    Everything that was made from it shows a history that is gone. Waiting does not help."""


class AppendOutcome(Enum):
    """The outcome of a submission.

    DURABLE: it will be there after a crash. FENCED: another owner has taken the partition over, and nothing of this was
    or will be written. UNKNOWN: it may be there or not; only a takeover tells.
    """

    DURABLE = "durable"
    FENCED = "fenced"
    UNKNOWN = "unknown"


class Append(msgspec.Struct, eq=False):
    """Events of one partition, in order: all of them or none. ``records`` are their encoded forms.

    ``outcome`` is set when the journal gives it back (``Journal.collect``). ``first``: the offset of the first event,
    set by the journal before the commit, and valid with a durable outcome; the others follow without a gap.
    """

    partition: Partition
    epoch: int
    envelopes: list[Envelope]
    records: list[Record]
    outcome: AppendOutcome | None = None
    first: int = -1


# More than the one that each checkpoint adds, and few enough to hold nothing up.
EXPIRED_MAX: Final = 10


class Checkpoint(msgspec.Struct, eq=False):
    """States of a partition's aggregates, such that its log below ``position`` need not be read again.

    ``snapshots`` are the ones that have changed since the last checkpoint, by key. They are written in their order, so
    that one may count on those before it. ``obsolete``: ranges of keys, each from its first key up to another one that
    is excluded. The snapshots in them are of no use once this checkpoint is written. ``answers`` are those given to
    keyed commands since then, the newest at ``answers_at``; answers older than ``answers_expired`` may be forgotten,
    those of EXPIRED_MAX checkpoints at a time.
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
    obsolete: Sequence[tuple[str, str]] = ()
    outcome: AppendOutcome | None = None


Submission: TypeAlias = Append | Checkpoint
Wake: TypeAlias = Callable[[], None]


class Journal(Protocol):
    """One writer's access to the log, for one thread. Slow work happens on threads of its own.

    It is made with a ``Wake``, which it calls from any thread whenever there is something to ``collect``.
    """

    def takeover(self, partitions: Sequence[Partition], owner: str) -> dict[Partition, Position]:
        """Become the owner: a new epoch for each partition, in which earlier owners' appends fail. Blocks.

        Returns where the log ends of each partition that could be taken by now. What stands before that has happened,
        and what of an earlier epoch is not there by now never will be. A slow partition does not delay the others: it
        is left out, and a later call continues with it. Raises JournalUnavailable if none can be taken; an earlier
        owner may be deposed all the same.
        """

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Queue for writing, and return at once.

        Within a partition the order of the appends is kept, and once one has failed all after it in the same epoch
        fail too. A checkpoint of an epoch that has ended replaces nothing newer, whatever its outcome.
        """

    def collect(self) -> list[Submission]:
        """The submissions that have got their ``outcome`` since the last call; appends in the order of each
        partition."""

    def flush(self) -> None:
        """Block until everything submitted has its outcome, for ``collect`` to return."""

    def close(self) -> None:
        """Flush, then let go."""


class EventSource(Protocol):
    """A reader of the log. Any process may have one."""

    @property
    def partitions(self) -> int:
        """The number of partitions. It never changes."""

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        """The next events of the cursor's partitions, at most ``limit``, in order within each partition; and the cursor
        after them. At the end there are none, and the cursor is the same or further on.

        Raises JournalUnavailable, or Undecodable for a record that this version does not know. A source that reads each
        partition by itself first returns the events before such a record.
        """

    def end(self) -> Cursor:
        """The end of the log now, for measuring: only the cursors that a read returns can be read from."""

    def remaining(self, cursor: Cursor) -> int:
        """Estimates how many events follow the cursor, according to the last read. Does not wait."""

    def wait(self, seconds: float) -> None:
        """Wait until there may be new events, or the time is over."""


class CheckingSource(EventSource, Protocol):
    """A source that can check positions."""

    def check(self, cursor: Cursor) -> None:
        """Check positions that were kept elsewhere, before they are read from.

        Raises LogWentBack if one of them is no place in this log; NotShown if only some cannot be checked, which says
        nothing about the others; JournalUnavailable.
        """


class Snapshot(msgspec.Struct, frozen=True):
    """A state that holds at least what stands below ``offset``. It may hold more than the checkpoint's position says:
    states may be newer than the newest checkpoint."""

    offset: int
    data: bytes


class Checkpointed(msgspec.Struct, frozen=True):
    position: Position
    state: bytes


class SnapshotStore(Protocol):
    """The snapshots of checkpoints, for the owner. Only data of the requested version are returned."""

    def checkpoint(self, partition: Partition, version: int) -> Checkpointed | None:
        """The newest checkpoint."""

    def load(self, partition: Partition, key: str, version: int) -> Snapshot | None:
        """The newest snapshot under this key. Must be cheap: an aggregate that left memory comes back by it."""

    def answers(self, partition: Partition, version: int, since: Millis) -> list[bytes]:
        """The answers of every checkpoint whose newest answer is not older than ``since``, oldest first."""


class ConfirmedPositions(Protocol):
    """How far the log is known to have been acknowledged."""

    async def confirmed(self, partition: Partition) -> int:
        """An offset. Every change that was acknowledged in the partition before the call stands at it or below.

        -1 if there was none. Raises JournalUnavailable if that cannot be found out for now.
        """
