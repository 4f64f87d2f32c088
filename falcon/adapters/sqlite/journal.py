"""The journal's writing end: group commit, fenced by epochs within the transaction.

The owner's thread makes the rows, and the journal's thread commits them and waits for the disk. So the interpreter's
lock changes hands once a commit and not once a row.
"""

import contextlib
import logging
import queue
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import apsw

from falcon.adapters.sqlite.database import BUSY_MILLISECONDS, cause, transaction
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import EXPIRED_MAX, Append, AppendOutcome, Checkpoint, JournalUnavailable, Submission, Wake
from falcon.telemetry import instruments, metrics
from falcon.telemetry.dispatchers import Activity, start_thread

log = logging.getLogger("falcon.journal")

# Enough for a good batch, and short enough to bound the time that a commit holds the file.
_GROUP_EVENTS_MAX: Final = 1_000
_TAKEOVER_SECONDS: Final = 0.05
# Steps of the journal's thread: statements, or its end.
_BEGIN: Final = "BEGIN IMMEDIATE"
_COMMIT: Final = "COMMIT"
_END: Final = ""


class CommitHook(Protocol):
    """Called within each commit that has appends."""

    def apply(self, appends: Sequence[Append], first: int) -> bool:
        """``first``: the offset of the first event of the appends. If it returns False, the transaction must be rolled
        back, and the next one is to call :meth:`apply_each`."""

    def apply_each(self, appends: Sequence[Append], first: int) -> None:
        """Like :meth:`apply`, at a higher price. Raises nothing but apsw.Error."""

    def committed(self, appends: Sequence[Append]) -> None:
        """The commit is durable."""


class SqliteJournal:
    """Everything that is submitted while a commit is away becomes the next commit."""

    def __init__(
        self,
        connection: apsw.Connection,
        wake: Wake,
        within: CommitHook | None = None,
        name: str = "0",
        committed: Callable[[Sequence[Append]], None] = lambda appends: None,
    ) -> None:
        """``name``: of the shard that owns the journal. ``committed`` is called with the appends of each commit once it
        is durable, in order."""
        self._connection = connection
        self._wake = wake
        self._within = within
        self._committed = committed
        self._waiting: list[Submission] = []
        self._group: list[Submission] = []  # the group under way
        self._appends: list[Append] = []  # those of its appends that are not fenced
        self._begun = False
        self._applies_each = False
        self._collected: list[Submission] = []
        self._takeovers = -1
        self._epochs: dict[Partition, int] = {}
        self._failed: dict[Partition, int] = {}  # the epoch in which a submission failed
        self._started = 0.0
        # The connection belongs to the journal's thread during a step, and to the owner otherwise.
        self._steps: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[apsw.Error | None] = queue.SimpleQueue()
        self._activity = Activity(f"journal-{name}", threads=1, bound=1)
        self._thread = start_thread(f"journal-{name}", self._take_steps)

    def takeover(self, partitions: Sequence[Partition], owner: str) -> dict[Partition, Position]:
        """Gives up soon if another process holds the file: the owner tries again, and has other work on this thread."""
        if not self._finish_group(_TAKEOVER_SECONDS):
            raise JournalUnavailable("cannot take over partitions: a commit is under way")
        try:
            self._connection.set_busy_timeout(round(_TAKEOVER_SECONDS * 1000))
            with transaction(self._connection) as connection:
                (heads,) = connection.execute("UPDATE log SET takeovers = takeovers + 1 RETURNING heads").fetchone()  # type: ignore[misc]
                return {partition: _bump_epoch(connection, partition, owner, heads) for partition in partitions}
        except apsw.Error as error:
            raise JournalUnavailable(f"cannot take over partitions: {cause(error)}") from error
        finally:
            self.submit(())

    def submit(self, submissions: Sequence[Submission]) -> None:
        self._waiting.extend(submissions)
        if not self._group:
            self._start_group()
        if self._collected:
            self._wake()

    def collect(self) -> list[Submission]:
        if self._group and not self._outcomes.empty():
            error = self._outcomes.get()
            if self._begun:
                self._settle(error)
            else:
                self._continue_group(error)
        collected, self._collected = self._collected, []
        return collected

    def flush(self) -> None:
        while self._group or self._waiting:
            self._finish_group()
            self.submit(())

    def close(self) -> None:
        self.flush()
        self._steps.put((_END, 0.0))
        self._thread.join()
        self._connection.close()

    # --- a group, from one step to the next ---------------------------------------------------------------------------

    def _start_group(self) -> None:
        """Begin, make the rows, and have them committed. If another process is writing, the journal's thread waits."""
        group: list[Submission] = []
        events = taken = 0
        for submission in self._waiting:
            if events >= _GROUP_EVENTS_MAX:
                break
            taken += 1
            if submission.epoch <= self._failed.get(submission.partition, -1):
                submission.outcome = AppendOutcome.UNKNOWN
                self._collected.append(submission)
                continue
            group.append(submission)
            if isinstance(submission, Append):
                events += len(submission.records)
        del self._waiting[:taken]
        self._group = group
        if not group:
            return
        self._started = time.monotonic()
        self._begun = self._applies_each = False
        self._connection.set_busy_timeout(0)
        try:
            self._connection.execute(_BEGIN)
        except apsw.BusyError:
            self._begin_in_turn()
        except apsw.Error as error:
            self._settle(error)
        else:
            self._insert_group()

    def _begin_in_turn(self) -> None:
        """Another process is writing: the journal's thread waits until it is done."""
        self._connection.set_busy_timeout(BUSY_MILLISECONDS)
        self._steps.put((_BEGIN, self._activity.queued()))

    def _continue_group(self, error: apsw.Error | None) -> None:
        """``error``: of the step that the journal's thread has taken."""
        if isinstance(error, apsw.BusyError) and not self._begun:
            self._begin_in_turn()  # nothing was written
        elif error is not None or self._begun:
            self._settle(error)
        else:
            self._insert_group()

    def _finish_group(self, seconds: float | None = None) -> bool:
        """Wait for the group under way, if there is one, and start no other. False if that takes too long."""
        waiting, self._waiting = self._waiting, []
        with contextlib.suppress(queue.Empty):
            while self._group:
                self._continue_group(self._outcomes.get(timeout=seconds))
        self._waiting = waiting + self._waiting
        return not self._group

    def _insert_group(self) -> None:
        self._begun = True
        try:
            offset, takeovers, stored = self._connection.execute("SELECT next, takeovers, heads FROM log").fetchone()  # type: ignore[misc]
            if takeovers != self._takeovers:
                self._epochs = dict(self._connection.execute("SELECT partition, epoch FROM epochs"))
                self._takeovers = takeovers
            heads = bytearray(stored)
            appends: list[Append] = []
            self._appends = appends
            start = offset
            for submission in self._group:
                if submission.epoch != self._epochs.get(submission.partition):
                    submission.outcome = AppendOutcome.FENCED
                    continue
                if isinstance(submission, Checkpoint):
                    _save(self._connection, submission)
                    continue
                submission.first = offset
                offset += len(submission.records)
                _HEAD.pack_into(heads, submission.partition * _HEAD.size, offset)
                appends.append(submission)
            if appends:
                rows = [
                    (at, append.partition, append.epoch, e.n, r.key, r.type, r.version, r.critical, r.data)
                    for append in appends
                    for at, (e, r) in enumerate(zip(append.envelopes, append.records, strict=True), append.first)
                ]
                self._connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
                self._connection.execute("UPDATE log SET next = ?, heads = ?", (offset, bytes(heads)))
                if self._within is not None:
                    if self._applies_each:
                        self._within.apply_each(appends, start)
                    elif not self._within.apply(appends, start):
                        self._insert_again()
                        return
        except apsw.Error as error:
            self._settle(error)
            return
        metrics.commit_events.observe(offset - start)
        self._steps.put((_COMMIT, self._activity.queued()))

    def _insert_again(self) -> None:
        """Runs a transaction of its own. Other processes may write before it."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._begun, self._applies_each = False, True
        self._begin_in_turn()

    def _settle(self, error: apsw.Error | None) -> None:
        """The group's outcomes are final. After an error only the next takeover can tell whether it was written."""
        group, self._group = self._group, []
        if error is None:
            for submission in group:
                if submission.outcome is None:
                    submission.outcome = AppendOutcome.DURABLE
            if self._within is not None:
                self._within.committed(self._appends)
            self._committed(self._appends)
        else:
            # Log each failed commit once, here where it is handled: the shard takes over again.
            log.error("a commit of %d submissions failed: %s", len(group), cause(error))
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for submission in group:
                submission.outcome = AppendOutcome.UNKNOWN
                self._failed[submission.partition] = submission.epoch
        metrics.commit_seconds.observe(time.monotonic() - self._started)
        self._collected += group
        if self._waiting:
            self._start_group()

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _take_steps(self) -> None:
        while True:
            step, ticket = self._steps.get()
            if step == _END:
                return
            error: apsw.Error | None = None
            try:
                self._activity.run(ticket, self._connection.execute, step)
            except apsw.Error as failed:
                error = failed
            except BaseException:
                log.exception("the journal's thread failed; without it nothing can be written, so the process ends")
                instruments.end_process(70)
            self._outcomes.put(error)
            self._wake()


_HEAD: Final = struct.Struct("<q")


def _bump_epoch(connection: apsw.Connection, partition: Partition, owner: str, heads: bytes) -> Position:
    (epoch,) = connection.execute(
        "INSERT INTO epochs VALUES (?, 1, ?) ON CONFLICT DO UPDATE SET epoch = epoch + 1, owner = excluded.owner"
        " RETURNING epoch",
        (partition, owner),
    ).fetchone()  # type: ignore[misc]
    (end,) = _HEAD.unpack_from(heads, partition * _HEAD.size)
    return Position(end, epoch, 0)


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
    connection.executemany(
        "DELETE FROM snapshots WHERE partition = ? AND key >= ? AND key < ?",
        [(checkpoint.partition, first, stop) for first, stop in checkpoint.obsolete],
    )
    if checkpoint.answers:
        connection.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
            (checkpoint.partition, checkpoint.answers_at, offset, checkpoint.version, checkpoint.answers),
        )
    connection.execute(
        "DELETE FROM answers WHERE (partition, at, offset) IN"
        " (SELECT partition, at, offset FROM answers WHERE partition = ? AND at < ? ORDER BY at, offset LIMIT ?)",
        (checkpoint.partition, checkpoint.answers_expired, EXPIRED_MAX),
    )
