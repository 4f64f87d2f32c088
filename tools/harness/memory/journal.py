"""A journal on a log in memory. By default everything is durable at once. A test may hold submissions and choose their
fates."""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import Append, AppendOutcome, JournalUnavailable, Submission, Wake
from tools.harness.memory.log import MemoryLog


class Fate(Enum):
    """A submission's fate. LOST is not written, UNANSWERED is written, and the writer learns of neither."""

    WRITTEN = auto()
    LOST = auto()
    UNANSWERED = auto()


class MemoryJournal:
    def __init__(self, log: MemoryLog, wake: Wake, *, held: bool = False) -> None:
        self._log = log
        self._wake = wake
        self._held = held
        self._waiting: deque[Submission] = deque()
        self._collected: list[Submission] = []
        self._failed: dict[Partition, int] = {}
        self.unavailable = False

    def takeover(self, partitions: Sequence[Partition], owner: str) -> dict[Partition, Position]:
        if self.unavailable:
            raise JournalUnavailable("the test says so")
        while self._waiting:
            self.settle(Fate.LOST)
        return {partition: self._log.take(partition) for partition in partitions}

    def submit(self, submissions: Sequence[Submission]) -> None:
        self._waiting.extend(submissions)
        while self._waiting and not self._held:
            self.settle(Fate.WRITTEN)

    def collect(self) -> list[Submission]:
        collected, self._collected = self._collected, []
        return collected

    def flush(self) -> None:
        while self._waiting:
            self.settle(Fate.WRITTEN)

    def close(self) -> None:
        self.flush()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def settle(self, fate: Fate) -> None:
        """Settle the oldest submission."""
        submission = self._waiting.popleft()
        if submission.epoch <= self._failed.get(submission.partition, -1) or fate is Fate.LOST:
            submission.outcome = AppendOutcome.UNKNOWN
        elif not self._log.write(submission):
            submission.outcome = AppendOutcome.FENCED
        else:
            submission.outcome = AppendOutcome.DURABLE if fate is Fate.WRITTEN else AppendOutcome.UNKNOWN
        if submission.outcome is not AppendOutcome.DURABLE:
            self._failed[submission.partition] = submission.epoch
            if isinstance(submission, Append):
                submission.first = -1
        self._collected.append(submission)
        self._wake()
