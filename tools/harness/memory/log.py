"""A log that lives as long as the object, for all journals and readers of a test: their disk."""

from falcon.domain.ids import Millis, Partition
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Position, Recorded
from falcon.journal.ports import EXPIRED_MAX, Append, Checkpoint, Checkpointed, LogWentBack, Snapshot
from falcon.journal.record import Record


class MemoryLog:
    """EventSource and SnapshotStore. Journals on this log call ``write`` and ``take``."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.events: list[list[tuple[int, int, Record]]] = [[] for _ in range(partitions)]  # epoch, n, record by offset
        self.epochs = [0] * partitions
        self._checkpoints: dict[Partition, Checkpoint] = {}
        self._snapshots: dict[tuple[Partition, str], tuple[int, bytes]] = {}
        self._answers: dict[Partition, list[Checkpoint]] = {}

    # --- writing ------------------------------------------------------------------------------------------------------

    def take(self, partition: Partition) -> Position:
        self.epochs[partition] += 1
        return Position(len(self.events[partition]), self.epochs[partition], 0)

    def write(self, submission: Append | Checkpoint) -> bool:
        """False if the epoch is over: nothing is written."""
        partition = submission.partition
        if submission.epoch != self.epochs[partition]:
            return False
        if isinstance(submission, Append):
            events = self.events[partition]
            submission.first = len(events)
            events += [
                (submission.epoch, envelope.n, record)
                for envelope, record in zip(submission.envelopes, submission.records, strict=True)
            ]
            return True
        self._checkpoints[partition] = submission
        for key, data in submission.snapshots:
            self._snapshots[partition, key] = (submission.version, data)
        for first, stop in submission.obsolete:
            for key in [key for p, key in self._snapshots if p == partition and first <= key < stop]:
                del self._snapshots[partition, key]
        answers = self._answers.setdefault(partition, [])
        old = [c for c in answers if c.answers_at < submission.answers_expired][:EXPIRED_MAX]
        self._answers[partition] = [*(c for c in answers if c not in old), submission]
        return True

    # --- EventSource --------------------------------------------------------------------------------------------------

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        recorded: list[Recorded] = []
        after = dict(cursor)
        for partition, position in cursor.items():
            rows = self.events[partition][position.offset : position.offset + limit - len(recorded)]
            try:
                for offset, (epoch, n, record) in enumerate(rows, position.offset):
                    recorded.append(codec.decode(record, partition, offset, epoch, n))
                    after[partition] = Position(offset + 1, epoch, n + 1)
            except Undecodable:
                if after == cursor:
                    raise
        return recorded, after

    def check(self, cursor: Cursor) -> None:
        for partition, (offset, epoch, n) in cursor.items():
            events = self.events[partition]
            if offset > len(events) or (offset and events[offset - 1][:2] != (epoch, n - 1)):
                raise LogWentBack(f"partition {partition}: this log has no offset {offset} of epoch {epoch}")

    def end(self) -> Cursor:
        return {partition: Position(len(events)) for partition, events in enumerate(self.events)}

    def remaining(self, cursor: Cursor) -> int:
        end = self.end()
        return sum(max(0, end[partition].offset - position.offset) for partition, position in cursor.items())

    def wait(self, seconds: float) -> None:
        """Does nothing: no other process writes."""

    # --- SnapshotStore ------------------------------------------------------------------------------------------------

    def checkpoint(self, partition: Partition, version: int) -> Checkpointed | None:
        checkpoint = self._checkpoints.get(partition)
        if checkpoint is None or checkpoint.version != version:
            return None
        return Checkpointed(checkpoint.position, checkpoint.state)

    def load(self, partition: Partition, key: str, version: int) -> Snapshot | None:
        found = self._snapshots.get((partition, key))
        return Snapshot(0, found[1]) if found is not None and found[0] == version else None

    def answers(self, partition: Partition, version: int, since: Millis) -> list[bytes]:
        return [
            checkpoint.answers
            for checkpoint in self._answers.get(partition, [])
            if checkpoint.answers and checkpoint.answers_at >= since and checkpoint.version == version
        ]
