"""The journal's writing end: group commit, fenced by epochs within the transaction."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

import apsw

from falcon.adapters.sqlite.database import transaction
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import Append, Checkpoint, Completed, JournalUnavailable, Outcome, Submission
from falcon.telemetry import metrics

log = logging.getLogger("falcon.journal")

# Enough for a good batch, and short enough to bound the time that a commit holds the file.
_GROUP_EVENTS_MAX = 1_000


class SqliteJournal:
    """One writer thread owns the connection while it runs; everything queued while a commit is away is the next commit.

    ``within`` is called inside each commit with its appends: the embedded projections.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        completed: Completed,
        within: Callable[[Sequence[Append]], None] | None = None,
    ) -> None:
        self._connection = connection
        self._completed = completed
        self._within = within
        self._lock = threading.Lock()  # takeovers come from the owner's thread, on the same connection
        self._queue: queue.SimpleQueue[Sequence[Submission] | None] = queue.SimpleQueue()
        self._takeovers = -1
        self._epochs: dict[Partition, int] = {}
        self._writer = threading.Thread(target=self._write_all, name="falcon-journal", daemon=True)
        self._writer.start()

    def takeover(self, partitions: Sequence[Partition], owner: str) -> dict[Partition, Position]:
        try:
            with self._lock, transaction(self._connection) as connection:
                connection.execute("UPDATE fence SET takeovers = takeovers + 1")
                return {partition: self._take(connection, partition, owner) for partition in partitions}
        except apsw.Error as error:
            raise JournalUnavailable(f"cannot take over partitions: {error}") from error

    def submit(self, submissions: Sequence[Submission]) -> None:
        self._queue.put(submissions)

    def close(self) -> None:
        self._queue.put(None)
        self._writer.join()
        self._connection.close()

    @staticmethod
    def _take(connection: apsw.Connection, partition: Partition, owner: str) -> Position:
        (epoch,) = connection.execute(
            "INSERT INTO epochs VALUES (?, 1, ?) ON CONFLICT DO UPDATE SET epoch = epoch + 1, owner = excluded.owner"
            " RETURNING epoch",
            (partition, owner),
        ).fetchone()  # type: ignore[misc]
        last = connection.execute("SELECT max(offset) FROM journal WHERE partition = ?", (partition,)).fetchone()
        end = 0 if last is None or last[0] is None else last[0] + 1
        return Position(end, epoch, 0)

    # --- the writer thread --------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        closing = False
        while not closing:
            group, closing = self._next_group()
            if group:
                self._write(group)
                self._completed(group)

    def _next_group(self) -> tuple[list[Submission], bool]:
        group: list[Submission] = []
        events = 0
        submissions = self._queue.get()
        while submissions is not None:
            group.extend(submissions)
            events += sum(len(s.data) for s in submissions if isinstance(s, Append))
            if events >= _GROUP_EVENTS_MAX or self._queue.empty():
                return group, False
            submissions = self._queue.get()
        return group, True

    def _write(self, group: list[Submission]) -> None:
        """Set the outcome of each. An error leaves all of the group unknown: only the next takeover can tell."""
        started = time.monotonic()
        try:
            with self._lock, transaction(self._connection) as connection:
                fenced = self._fenced(connection, group)
                current = [s for s in group if s.partition not in fenced] if fenced else group
                appends = [s for s in current if isinstance(s, Append)]
                self._insert(connection, appends)
                for submission in current:
                    if isinstance(submission, Checkpoint):
                        _save(connection, submission)
                if self._within is not None and appends:
                    self._within(appends)
        except apsw.Error as error:
            # One line a failed commit, here where it is handled: the shard takes over again.
            log.error("a commit of %d submissions failed: %s", len(group), error)
            for submission in group:
                submission.outcome = Outcome.UNKNOWN
            return
        for submission in group:
            submission.outcome = Outcome.FENCED if submission.partition in fenced else Outcome.DURABLE
        metrics.commit_seconds.observe(time.monotonic() - started)
        metrics.commit_events.observe(sum(len(append.data) for append in appends))

    def _fenced(self, connection: apsw.Connection, group: list[Submission]) -> set[Partition]:
        """The partitions of which a submission's epoch is no longer the open one: nothing of them is written."""
        (takeovers,) = connection.execute("SELECT takeovers FROM fence").fetchone()  # type: ignore[misc]
        if takeovers != self._takeovers:
            self._epochs = dict(connection.execute("SELECT partition, epoch FROM epochs"))
            self._takeovers = takeovers
        return {s.partition for s in group if s.epoch != self._epochs.get(s.partition)}

    @staticmethod
    def _insert(connection: apsw.Connection, appends: list[Append]) -> None:
        connection.executemany(
            "INSERT INTO journal VALUES (?, ?, ?, ?, ?)",
            [
                (e.partition, e.offset, e.epoch, e.n, data)
                for append in appends
                for e, data in zip(append.envelopes, append.data, strict=True)
            ],
        )


def _save(connection: apsw.Connection, checkpoint: Checkpoint) -> None:
    offset, epoch, n = checkpoint.position
    connection.execute(
        "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)",
        (checkpoint.partition, checkpoint.version, offset, epoch, n, checkpoint.state),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)",
        [(checkpoint.partition, key, checkpoint.version, epoch, data) for key, data in checkpoint.snapshots],
    )
    if checkpoint.answers:
        connection.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
            (checkpoint.partition, checkpoint.answers_at, offset, checkpoint.version, checkpoint.answers),
        )
    connection.execute(
        "DELETE FROM answers WHERE partition = ? AND at < ?", (checkpoint.partition, checkpoint.answers_expired)
    )
