"""The promises of every journal, with its source and its snapshots. Adapters' tests subclass these."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Protocol, cast

import pytest

from falcon.domain.events import PassedOver
from falcon.features.messages.rules import Message, MessagePosted
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Envelope, Position, Recorded
from falcon.journal.ports import (
    EXPIRED_MAX,
    Append,
    AppendOutcome,
    CheckingSource,
    Checkpoint,
    EventSource,
    Journal,
    LogWentBack,
    SnapshotStore,
    Submission,
    Wake,
)
from falcon.journal.record import Record

PARTITIONS = 4


class Log(Protocol):
    """One log, and as many writers and readers of it as a test wants."""

    def journal(self, wake: Wake) -> Journal: ...

    def source(self) -> EventSource: ...

    def snapshots(self) -> SnapshotStore: ...


class Writer:
    """An owner: takes over, appends, and waits for what becomes of it."""

    def __init__(self, log: Log, name: str = "ann") -> None:
        self.woken = threading.Event()
        self.journal = log.journal(self.woken.set)
        self.name = name
        self.ends: dict[int, Position] = {}
        self.n: dict[int, int] = {}

    def takeover(self, *partitions: int) -> dict[int, Position]:
        """All of them, however long it takes."""
        ends: dict[int, Position] = {}
        while missing := [partition for partition in partitions if partition not in ends]:
            ends.update(self.journal.takeover(missing, self.name))
        self.ends.update(ends)
        self.n.update({partition: end.n for partition, end in ends.items()})
        return ends

    def prepare(self, partition: int, *texts: str) -> Append:
        epoch = self.ends[partition].epoch
        envelopes = [
            Envelope(partition, epoch, self.n[partition] + i, 1_000 + i, posted(text)) for i, text in enumerate(texts)
        ]
        self.n[partition] += len(texts)
        return Append(partition, epoch, envelopes, [codec.encode(envelope) for envelope in envelopes])

    def append(self, partition: int, *texts: str) -> Append:
        append = self.prepare(partition, *texts)
        self.settle(append)
        return append

    def painted(self, partition: int, *, critical: bool) -> Append:
        """Append an event that only a newer Falcon knows."""
        append = self.prepare(partition, "painted")
        append.records = [Record("room-painted", 1, critical, 64, append.records[0].data)]
        self.settle(append)
        return append

    def settle(self, *submissions: Submission) -> None:
        self.journal.submit(submissions)
        self.wait_for(*submissions)

    def wait_for(self, *submissions: Submission) -> None:
        missing = set(map(id, submissions))
        while missing:
            self.woken.clear()
            missing -= set(map(id, self.journal.collect()))
            if missing:
                assert self.woken.wait(60), "the journal never answered"

    def checkpoint(self, partition: int, position: Position, **changes: object) -> Checkpoint:
        fields: dict[str, object] = {
            "version": 1,
            "state": b"state",
            "snapshots": [("aggregate:1", b"one")],
            "answers": b"answers",
            "answers_at": 1_000,
            "answers_expired": 0,
        }
        checkpoint = Checkpoint(partition, self.ends[partition].epoch, position, **{**fields, **changes})  # type: ignore[arg-type]
        self.settle(checkpoint)
        return checkpoint


def posted(text: str) -> MessagePosted:
    return MessagePosted(Message(64, 1, 65, text, 1_795_599_000_123))


def texts(recorded: list[Recorded]) -> list[str]:
    return [event.message.text for event in (r.envelope.event for r in recorded) if isinstance(event, MessagePosted)]


def load(snapshots: SnapshotStore, partition: int, key: str) -> bytes | None:
    snapshot = snapshots.load(partition, key, 1)
    return None if snapshot is None else snapshot.data


def read_all(
    source: EventSource, partition: int, position: Position | None = None, limit: int = 1_000
) -> list[Recorded]:
    """Up to the end as it is now. A read may find nothing for a moment."""
    recorded: list[Recorded] = []
    cursor: Cursor = {partition: position or Position()}
    end = source.end()[partition].offset
    while cursor[partition].offset < end:
        events, cursor = source.read(cursor, limit)
        recorded += events
    return recorded


class CheckingContract(ABC):
    """For sources that can check positions."""

    @pytest.fixture
    @abstractmethod
    def log(self) -> Iterator[Log]: ...

    @pytest.fixture
    def source(self, log: Log) -> CheckingSource:
        return checking(log)

    def test_every_place_that_a_reader_stands_at_is_one(self, log: Log, source: CheckingSource) -> None:
        for name in ("ann", "bob"):
            owner = Writer(log, name)
            owner.takeover(0, 1)
            owner.append(0, f"{name} one", f"{name} two")
            owner.append(1, f"{name} three")
        cursors: list[Cursor] = [{0: Position(), 1: Position()}]
        end = source.end()
        while any(cursors[-1][partition].offset < end[partition].offset for partition in (0, 1)):
            cursors.append(source.read(cursors[-1], 1)[1])
        for cursor in cursors:
            checking(log).check(cursor)  # one that has read to the end still waits for news when it looks back
        assert cursor[0].offset > cursor[1].offset > 0

    def test_a_reader_that_has_read_all_can_ask_whether_it_stands_at_a_place(
        self, log: Log, source: CheckingSource
    ) -> None:
        owner = Writer(log)
        owner.takeover(0, 1)
        owner.append(0, "one", "two")
        owner.append(1, "three")
        cursor: Cursor = {0: Position(), 1: Position()}
        end = source.end()
        while any(cursor[partition].offset < end[partition].offset for partition in (0, 1)):
            cursor = source.read(cursor, 100)[1]
        source.check(cursor)

    def test_a_place_of_another_history_is_none(self, log: Log, source: CheckingSource) -> None:
        ann = Writer(log)
        ann.takeover(0)
        ann.append(0, "one", "two", "three")
        end = Position()
        for recorded in read_all(source, 0):
            end = Position(recorded.offset + 1, recorded.envelope.epoch, recorded.envelope.n + 1)
        source.check({0: end})
        lost = (
            end._replace(n=end.n - 1),
            end._replace(n=end.n + 1),
            end._replace(epoch=end.epoch + 1),
            end._replace(offset=end.offset + 3),
        )
        for position in lost:
            with pytest.raises(LogWentBack):
                checking(log).check({0: position})


def checking(log: Log) -> CheckingSource:
    source = log.source()
    assert hasattr(source, "check")
    return cast("CheckingSource", source)


class JournalContract(ABC):
    @pytest.fixture
    @abstractmethod
    def log(self) -> Iterator[Log]: ...

    @pytest.fixture
    def writer(self, log: Log) -> Callable[[str], Writer]:
        return lambda name: Writer(log, name)

    def test_what_is_appended_is_read_in_order(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        assert ann.append(0, "one", "two").outcome is AppendOutcome.DURABLE
        ann.append(0, "three")
        assert texts(read_all(log.source(), 0)) == ["one", "two", "three"]

    def test_the_journal_says_where_the_events_of_an_append_stand(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0, 1)
        ann.append(1, "elsewhere")
        append = ann.append(0, "one", "two")
        assert [r.offset for r in read_all(log.source(), 0)] == [append.first, append.first + 1]

    def test_an_event_of_a_newer_falcon_keeps_its_place_where_it_may_be_passed_over(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        newer = ann.painted(0, critical=False)
        ann.append(0, "behind")
        first, second = read_all(log.source(), 0)
        assert (first.offset, first.envelope.event) == (newer.first, PassedOver("room-painted", 1))
        assert texts([second]) == ["behind"]

    def test_a_critical_event_of_a_newer_falcon_stops_readers_there(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        newer = ann.painted(0, critical=True)
        with pytest.raises(Undecodable, match="written by a newer Falcon, so run that") as stopped:
            read_all(log.source(), 0)
        assert (stopped.value.partition, stopped.value.at.offset) == (0, newer.first)
        assert stopped.value.aggregate_id == 64

    def test_a_partition_does_not_show_another_ones_events(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0, 1)
        ann.append(0, "for 0")
        ann.append(1, "for 1")
        assert texts(read_all(log.source(), 1)) == ["for 1"]

    def test_reading_goes_on_behind_a_position(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        first = ann.append(0, "one")
        ann.append(0, "two", "three")
        assert texts(read_all(log.source(), 0, Position(first.first + 1, first.epoch, 1))) == ["two", "three"]

    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_several_partitions_are_read_together_each_in_its_order(self, log: Log, limit: int) -> None:
        ann = Writer(log)
        ann.takeover(0, 1, 2)
        for i in range(5):
            ann.append(i % 2, f"{i}")
        source = log.source()
        cursor: Cursor = dict.fromkeys((0, 1), Position())
        found: dict[int, list[str]] = {0: [], 1: []}
        end = source.end()
        while any(cursor[partition].offset < end[partition].offset for partition in (0, 1)):
            events, cursor = source.read(cursor, limit)
            assert len(events) <= limit
            for recorded in events:
                found[recorded.envelope.partition] += texts([recorded])
        assert found == {0: ["0", "2", "4"], 1: ["1", "3"]}

    def test_a_reader_at_the_end_sees_what_comes_later(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        ann.append(0, "old")
        source = log.source()
        (old,) = read_all(source, 0)
        end = Position(old.offset + 1, old.envelope.epoch, old.envelope.n + 1)
        assert source.end()[0].offset == end.offset
        assert source.read({0: end}, 10)[0] == []
        ann.append(0, "new")
        assert texts(read_all(source, 0, end)) == ["new"]

    def test_what_one_owner_wrote_the_next_one_finds_at_takeover(self, log: Log) -> None:
        ann, bob = Writer(log, "ann"), Writer(log, "bob")
        ann.takeover(0)
        append = ann.append(0, "hello")
        end = bob.takeover(0)[0]
        assert end.offset > append.first
        assert end.epoch > ann.ends[0].epoch
        assert end.n == 0

    def test_a_deposed_owner_writes_nothing(self, log: Log) -> None:
        ann, bob = Writer(log, "ann"), Writer(log, "bob")
        ann.takeover(0)
        bob.takeover(0)
        assert ann.append(0, "too late").outcome is AppendOutcome.FENCED
        assert bob.append(0, "hello").outcome is AppendOutcome.DURABLE
        assert texts(read_all(log.source(), 0)) == ["hello"]

    def test_being_deposed_from_one_partition_does_not_touch_the_others(self, log: Log) -> None:
        ann, bob = Writer(log, "ann"), Writer(log, "bob")
        ann.takeover(0, 1)
        bob.takeover(0)
        lost, kept = ann.prepare(0, "too late"), ann.prepare(1, "still mine")
        ann.settle(lost, kept)
        assert (lost.outcome, kept.outcome) == (AppendOutcome.FENCED, AppendOutcome.DURABLE)
        assert texts(read_all(log.source(), 0) + read_all(log.source(), 1)) == ["still mine"]

    def test_a_deposed_owners_checkpoint_does_not_replace_a_newer_one(self, log: Log) -> None:
        ann, bob = Writer(log, "ann"), Writer(log, "bob")
        ann.takeover(0)
        bob.takeover(0)
        position = bob.ends[0]
        bob.checkpoint(0, position, state=b"bob's", snapshots=[("aggregate:1", b"bob's")])
        ann.checkpoint(0, position._replace(epoch=ann.ends[0].epoch, n=9), state=b"ann's")
        snapshots = log.snapshots()
        found = snapshots.checkpoint(0, 1)
        assert found is not None
        assert (found.state, found.position) == (b"bob's", position)
        assert load(snapshots, 0, "aggregate:1") == b"bob's"

    def test_snapshots_outlive_the_checkpoints_they_came_with(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        ann.append(0, "one", "two")
        ann.checkpoint(0, Position(1, 1, 1), snapshots=[("aggregate:1", b"one"), ("aggregate:2", b"two")])
        ann.checkpoint(0, Position(2, 1, 2), snapshots=[("aggregate:1", b"one, changed")])
        snapshots = log.snapshots()
        assert load(snapshots, 0, "aggregate:1") == b"one, changed"
        assert load(snapshots, 0, "aggregate:2") == b"two"
        assert load(snapshots, 0, "aggregate:3") is None
        assert load(snapshots, 1, "aggregate:1") is None

    def test_a_checkpoint_takes_away_what_it_makes_obsolete(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0, 1)
        parts = [("part:1:0:a", b"a"), ("part:1:0:b", b"b"), ("part:1:1:a", b"new"), ("part:10:0:a", b"other room's")]
        for partition in (0, 1):
            ann.append(partition, "one", "two")
            ann.checkpoint(partition, Position(1, 1, 1), snapshots=parts)
        ann.checkpoint(0, Position(2, 1, 2), snapshots=[], obsolete=[("part:1:", "part:1:1"), ("part:2:", "part:3:")])
        snapshots = log.snapshots()
        assert [load(snapshots, 0, name) for name, _ in parts] == [None, None, b"new", b"other room's"]
        assert [load(snapshots, 1, name) for name, _ in parts] == [data for _, data in parts]

    def test_a_checkpoint_of_another_version_is_as_good_as_none(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        ann.checkpoint(0, Position(1, 1, 1), version=1)
        snapshots = log.snapshots()
        assert snapshots.checkpoint(0, 2) is None
        assert snapshots.load(0, "aggregate:1", 2) is None
        assert snapshots.answers(0, 2, 0) == []

    def test_answers_are_found_until_they_may_be_forgotten(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        ann.append(0, "one", "two", "three")
        ann.checkpoint(0, Position(1, 1, 1), answers=b"first", answers_at=1_000)
        ann.checkpoint(0, Position(2, 1, 2), answers=b"second", answers_at=2_000)
        assert log.snapshots().answers(0, 1, 0) == [b"first", b"second"]
        assert log.snapshots().answers(0, 1, 1_500) == [b"second"]
        ann.checkpoint(0, Position(3, 1, 3), answers=b"third", answers_at=3_000, answers_expired=1_500)
        assert log.snapshots().answers(0, 1, 0) == [b"second", b"third"]

    def test_answers_that_expire_together_are_forgotten_over_some_checkpoints(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        count = EXPIRED_MAX + 5
        ann.append(0, *(f"{number}" for number in range(count + 2)))
        for number in range(count):
            ann.checkpoint(0, Position(1 + number, 1, 1), answers=b"%d" % number, answers_at=1_000 + number)
        left = []
        for number in range(count, count + 2):
            ann.checkpoint(0, Position(1 + number, 1, 1), answers=b"", answers_expired=5_000)
            left.append(len(log.snapshots().answers(0, 1, 0)))
        assert left == [5, 0]

    def test_a_takeover_does_not_forget_what_is_queued(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0, 1)
        appends = [ann.prepare(0, f"{i}") for i in range(3)]
        for append in appends:
            ann.journal.submit([append])
        ann.takeover(1)
        ann.wait_for(*appends)
        assert [append.outcome for append in appends] == [AppendOutcome.DURABLE] * 3

    def test_an_owner_that_took_over_again_is_not_taken_for_its_former_self(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        old = ann.prepare(0, "before")
        ann.takeover(0)
        new = ann.prepare(0, "after")
        ann.settle(old, new)
        assert (old.outcome, new.outcome) == (AppendOutcome.FENCED, AppendOutcome.DURABLE)
        assert texts(read_all(log.source(), 0)) == ["after"]

    def test_flushing_waits_for_everything(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        appends = [ann.prepare(0, f"{i}") for i in range(20)]
        for append in appends:
            ann.journal.submit([append])
        ann.journal.flush()
        ann.journal.collect()
        assert all(append.outcome is AppendOutcome.DURABLE for append in appends)

    def test_closing_writes_what_is_queued(self, log: Log) -> None:
        ann = Writer(log)
        ann.takeover(0)
        appends = [ann.prepare(0, f"{i}") for i in range(20)]
        for append in appends:
            ann.journal.submit([append])
        ann.journal.close()
        assert all(append.outcome is AppendOutcome.DURABLE for append in appends)
        assert texts(read_all(log.source(), 0)) == [f"{i}" for i in range(20)]

    def test_waiting_for_news_ends_by_itself(self, log: Log) -> None:
        log.source().wait(0.01)
