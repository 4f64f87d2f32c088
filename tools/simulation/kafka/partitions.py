"""A partition as its brokers keep it: records in segments, copies on nodes, and what compaction and retention leave."""

import asyncio
import copy
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aiokafka.errors import (
    InvalidMessageError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceNumber,
)

DEFAULTS: Final = {
    "cleanup.policy": "delete",
    "delete.retention.ms": "86400000",
    "max.compaction.lag.ms": str(2**63 - 1),
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "1",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}
_BATCH_OVERHEAD: Final = 61
_RECORD_OVERHEAD: Final = 8
_REMEMBERED_BATCHES: Final = 5
_TIDY_MILLIS: Final = 15_000  # between two looks of the cleaner; at once where a setting asks for less


class Entry(NamedTuple):
    """A record as a producer hands it over. ``timestamp``: milliseconds."""

    key: bytes | None
    value: bytes | None
    timestamp: int


class Stored(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


class Appended(NamedTuple):
    """The place of a batch. ``timestamp``: of LogAppendTime; -1 if the producer's own counts."""

    offset: int
    end: int
    timestamp: int


class Numbered(NamedTuple):
    """The place of a batch in what an idempotent producer wrote to this partition."""

    producer: int
    sequence: int


def size_of(entries: Sequence[Entry]) -> int:
    return _BATCH_OVERHEAD + sum(_RECORD_OVERHEAD + len(each.key or b"") + len(each.value or b"") for each in entries)


@dataclass(eq=False)
class _Segment:
    """``newest``: the latest timestamp in it. ``horizons``: when a tombstone may go, by its offset."""

    records: list[Stored] = field(default_factory=list)
    size: int = 0
    oldest: int = 0
    newest: int = 0
    cleaned: bool = False
    horizons: dict[int, int] = field(default_factory=dict)


@dataclass
class _Producer:
    """A partition's state of an idempotent producer: the next sequence number, and its last batches."""

    following: int = 0
    batches: deque[tuple[int, Appended]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_BATCHES))


class Log:
    """The records of one partition. ``start`` and ``end`` are offsets: of the first one there, and behind the last.

    ``settings``: of the topic, which may be altered at any time. Times are milliseconds since 1970.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.start = 0
        self.end = 0
        self._settings = settings
        self._segments: list[_Segment] = []
        self._producers: dict[int, _Producer] = {}
        self._tidied = 0

    def copy(self, settings: Mapping[str, str]) -> "Log":
        """A copy as it is now, with settings of its own."""
        copied = copy.deepcopy(self)
        copied._settings = settings
        return copied

    def append(self, entries: Sequence[Entry], now: int, numbered: Numbered | None = None) -> Appended:
        """Raises MessageSizeTooLargeError, InvalidMessageError, OutOfOrderSequenceNumber; then nothing was written."""
        if size_of(entries) > int(self._settings["max.message.bytes"]):
            raise MessageSizeTooLargeError(f"{size_of(entries)} bytes")
        if self._compacted and any(entry.key is None for entry in entries):
            raise InvalidMessageError("a compacted topic takes no record without a key")
        if numbered is not None:
            known = self._repeated(numbered, len(entries))
            if known is not None:
                return known
        by_brokers = self._settings["message.timestamp.type"] == "LogAppendTime"
        segment = self._writable(entries, now)
        appended = Appended(self.end, self.end + len(entries), now if by_brokers else -1)
        for entry in entries:
            timestamp = now if by_brokers else entry.timestamp
            segment.records.append(Stored(self.end, entry.key, entry.value, timestamp))
            segment.oldest = segment.oldest or timestamp
            segment.newest = max(segment.newest, timestamp)
            self.end += 1
        segment.size += size_of(entries)
        if numbered is not None:
            producer = self._producers.setdefault(numbered.producer, _Producer())
            producer.following = numbered.sequence + len(entries)
            producer.batches.append((numbered.sequence, appended))
        return appended

    def read(self, offset: int, stop: int, bytes_max: int) -> list[Stored]:
        """Records from an offset on and below ``stop``; some, however large the first is. Raises
        OffsetOutOfRangeError."""
        if not self.start <= offset <= self.end:
            raise OffsetOutOfRangeError(f"{offset} is not within {self.start} to {self.end}")
        found: list[Stored] = []
        size = 0
        for segment in self._from(offset):
            for record in segment.records[_place(segment.records, offset) :]:
                size += _RECORD_OVERHEAD + len(record.key or b"") + len(record.value or b"")
                if record.offset >= stop or (found and size > bytes_max):
                    return found
                found.append(record)
        return found

    @property
    def records(self) -> list[Stored]:
        """All that there are."""
        return [record for segment in self._segments for record in segment.records]

    def truncate(self, end: int) -> None:
        """A new leader has no more than this."""
        if end >= self.end:
            return
        self.end = end
        while self._segments and (not self._segments[-1].records or self._segments[-1].records[0].offset >= end):
            self._segments.pop()
        if self._segments:
            del self._segments[-1].records[_place(self._segments[-1].records, end) :]
        for producer in self._producers.values():
            while producer.batches and producer.batches[-1][1].end > end:
                producer.following, _ = producer.batches.pop()

    def trim(self, before: int) -> None:
        """Let go of all below an offset."""
        self.start = max(self.start, min(before, self.end))
        for segment in self._segments:
            del segment.records[: _place(segment.records, self.start)]
        self._segments = [each for each in self._segments[:-1] if each.records] + self._segments[-1:]

    def tidy(self, now: int, committed: int) -> None:
        """The brokers' regular work: compact, or drop what is too old. Uncommitted records stay."""
        if now - self._tidied < min(_TIDY_MILLIS, self._max_lag):
            return
        self._tidied = now
        if self._compacted:
            self._compact(now, committed)
        if "delete" in self._settings["cleanup.policy"]:
            self._forget(now)

    # --- segments -----------------------------------------------------------------------------------------------------

    @property
    def _compacted(self) -> bool:
        return "compact" in self._settings["cleanup.policy"]

    @property
    def _max_lag(self) -> int:
        return int(self._settings["max.compaction.lag.ms"])

    def _repeated(self, numbered: Numbered, count: int) -> Appended | None:
        """The place of a batch that is sent again. A producer that is not known may begin anywhere."""
        producer = self._producers.get(numbered.producer)
        if producer is None:
            return None
        for sequence, appended in producer.batches:
            if sequence == numbered.sequence and appended.end - appended.offset == count:
                return appended
        if numbered.sequence != producer.following:
            raise OutOfOrderSequenceNumber(f"{producer.following} should follow, but {numbered.sequence} does")
        return None

    def _writable(self, entries: Sequence[Entry], now: int) -> _Segment:
        """The last segment, or another one where that has become too large or too old."""
        age_max = int(self._settings["segment.ms"])
        if self._compacted:
            age_max = min(age_max, self._max_lag)
        last = self._segments[-1] if self._segments else None
        if (
            last is None
            or last.size + size_of(entries) > int(self._settings["segment.bytes"])
            or (last.records and now - last.oldest > age_max)
        ):
            last = _Segment()
            self._segments.append(last)
        return last

    def _from(self, offset: int) -> list[_Segment]:
        """The segments that may hold records from there on."""
        first = len(self._segments)
        while first and not (
            self._segments[first - 1].records and self._segments[first - 1].records[-1].offset < offset
        ):
            first -= 1
        return self._segments[first:]

    def _forget(self, now: int) -> None:
        retention = int(self._settings["retention.ms"])
        while retention >= 0 and len(self._segments) > 1 and now - self._segments[0].newest > retention:
            gone = self._segments.pop(0)
            self.start = max(self.start, gone.records[-1].offset + 1 if gone.records else 0)

    def _compact(self, now: int, committed: int) -> None:
        """Compacts closed segments that are old enough: drops a key's record if a newer one in a segment not yet
        cleaned replaces it.

        Deletions themselves go when they have stood for ``delete.retention.ms`` after they were first cleaned.
        """
        lag = int(self._settings["min.compaction.lag.ms"])
        cleanable: list[_Segment] = []
        for segment in self._segments[:-1]:
            too_new = now - segment.newest < lag
            if not segment.cleaned and (too_new or (segment.records and segment.records[-1].offset >= committed)):
                break
            cleanable.append(segment)
        dirty = [segment for segment in cleanable if not segment.cleaned]
        if not dirty or not self._worth_it(cleanable, dirty, now):
            return
        newest = {record.key: record.offset for segment in dirty for record in segment.records}
        kept = _Segment(cleaned=True)
        for segment in cleanable:
            for record in segment.records:
                self._keep(kept, segment, record, newest.get(record.key, -1), now)
        self._segments = [kept, *self._segments[len(cleanable) :]]

    def _worth_it(self, cleanable: list[_Segment], dirty: list[_Segment], now: int) -> bool:
        ratio = sum(each.size for each in dirty) / max(1, sum(each.size for each in cleanable))
        return ratio >= float(self._settings["min.cleanable.dirty.ratio"]) or now - dirty[0].oldest > self._max_lag

    def _keep(self, kept: _Segment, segment: _Segment, record: Stored, newest: int, now: int) -> None:
        if record.offset < newest:
            return
        if record.value is None:
            horizon = segment.horizons.get(record.offset, now + int(self._settings["delete.retention.ms"]))
            if segment.cleaned and now > horizon:
                return
            kept.horizons[record.offset] = horizon
        kept.records.append(record)
        kept.size += _RECORD_OVERHEAD + len(record.key or b"") + len(record.value or b"")
        kept.oldest = kept.oldest or record.timestamp
        kept.newest = max(kept.newest, record.timestamp)


@dataclass
class Replica:
    """A node's copy: how far it goes, and up to where it knows that all have it."""

    end: int = 0
    committed: int = 0


class Partition:
    """``leader``: -1 for none. ``committed``: the leader's high watermark, below which consumers are shown records.

    The records are the leader's; a follower has them up to its ``end``. A node that is behind when it becomes the
    leader ends what was not committed, for all readers.
    """

    def __init__(self, settings: Mapping[str, str], nodes: Sequence[int]) -> None:
        self.settings = settings
        self.log = Log(settings)
        self.replicas = {node: Replica() for node in nodes}
        self.in_sync = set(nodes)
        self.leader = nodes[0]
        self.epoch = 0
        self.watched_by: dict[asyncio.Future[None], None] = {}  # who waits for more, in order

    def copy(self, settings: Mapping[str, str]) -> "Partition":
        """A copy as it is now, which no request waits for."""
        copied = Partition(settings, list(self.replicas))
        copied.log = self.log.copy(settings)
        copied.replicas = {node: copy.copy(replica) for node, replica in self.replicas.items()}
        copied.in_sync, copied.leader, copied.epoch = set(self.in_sync), self.leader, self.epoch
        return copied

    @property
    def committed(self) -> int:
        return self.replicas[self.leader].committed if self.leader >= 0 else 0

    @property
    def enough(self) -> bool:
        """True if enough replicas are in sync for acks=all."""
        return len(self.in_sync) >= int(self.settings["min.insync.replicas"])

    def wake(self) -> None:
        for waiting in self.watched_by:
            if not waiting.done():
                waiting.set_result(None)

    def fetched_by(self, node: int) -> None:
        """A follower has got all that the leader has, and has heard what is committed."""
        leader, follower = self.replicas[self.leader], self.replicas[node]
        follower.end = leader.end
        follower.committed = leader.committed

    def commit(self) -> bool:
        """Commit what all in-sync replicas have. Returns True if that has grown."""
        leader = self.replicas[self.leader]
        committed = max(leader.committed, min(self.replicas[node].end for node in self.in_sync))
        grown, leader.committed = committed > leader.committed, committed
        return grown

    def elect(self, living: set[int]) -> None:
        """A leader that is in sync, the one of now if it can be; none if there is none, for what it lacks is lost."""
        able = sorted(self.in_sync & living)
        if self.leader in able:
            return
        self.leader = able[0] if able else -1
        self.epoch += 1
        if self.leader >= 0:
            end = self.replicas[self.leader].end
            self.log.truncate(end)
            for replica in self.replicas.values():
                replica.end = min(replica.end, end)
                replica.committed = min(replica.committed, replica.end)


def _place(records: Sequence[Stored], offset: int) -> int:
    """The index of the first record whose offset is not below."""
    low, high = 0, len(records)
    while low < high:
        middle = (low + high) // 2
        if records[middle].offset < offset:
            low = middle + 1
        else:
            high = middle
    return low
