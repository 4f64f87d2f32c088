"""Takeovers on a model of the brokers: a partition that fails delays no other, and does not depose its owner."""

import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from falcon.adapters.kafka import journal as journals
from falcon.adapters.kafka import snapshots as module
from falcon.adapters.kafka.journal import KafkaJournal
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.snapshots import KafkaSnapshots, key_of
from falcon.journal.ports import JournalUnavailable
from falcon.journal.snapshot_record import SnapshotRecord
from tests.adapters.kafka_model import CLUSTER, Brokers, memory_copy
from tools.harness.clock import FakeClock
from tools.harness.waiting import until

ALL = range(CLUSTER.partitions)
GOOD, BAD = 0, 3


class Owner:
    def __init__(self, brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "Reader", brokers.reader)
        monkeypatch.setattr(module, "_STALE_SECONDS", 0.0)
        monkeypatch.setattr(journals, "_SOON_SECONDS", 0.2)
        self.brokers = brokers
        self.loop = LoopThread()
        self.clock = FakeClock(round(time.time() * 1000))
        producer = brokers.producer()
        snapshots = KafkaSnapshots(CLUSTER, producer, memory_copy())
        self.journal = KafkaJournal(CLUSTER, self.loop, producer, snapshots, self.clock, lambda: None)

    def take_over(self, *partitions: int) -> set[int]:
        return set(self.journal.takeover(partitions, "a test"))

    def deposed(self, partition: int) -> int:
        """How often its owner was deposed."""
        return len(self.brokers.topics[CLUSTER.journal, partition])


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def owner(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Owner]:
    made = Owner(brokers, monkeypatch)
    yield made
    made.journal.close()
    made.loop.close()


def test_a_partition_whose_snapshots_cannot_be_written_stays_down_alone_and_its_owner_is_not_deposed(
    owner: Owner, brokers: Brokers
) -> None:
    brokers.refused.add((CLUSTER.snapshots, BAD))
    for _ in range(3):
        assert owner.take_over(*ALL) == set(ALL) - {BAD}
    assert owner.deposed(BAD) == 0
    with pytest.raises(JournalUnavailable, match="too few replicas"):
        owner.take_over(BAD)
    brokers.refused.clear()
    assert owner.take_over(BAD) == {BAD}


def test_a_partition_whose_snapshots_cannot_be_read_stays_down_alone_and_its_owner_is_not_deposed(
    owner: Owner, brokers: Brokers
) -> None:
    brokers.silent.add((CLUSTER.snapshots, BAD))
    assert owner.take_over(*ALL) == set(ALL) - {BAD}
    assert owner.take_over(BAD) == set(), "it is being read still"
    assert owner.deposed(BAD) == 0
    brokers.silent.clear()
    until(lambda: BAD in owner.take_over(BAD))
    assert owner.deposed(BAD) == 1


def test_a_partition_whose_log_cannot_be_written_holds_no_other_up(owner: Owner, brokers: Brokers) -> None:
    brokers.refused.add((CLUSTER.journal, BAD))
    assert owner.take_over(*ALL) == set(ALL) - {BAD}


def test_what_was_read_for_a_partition_that_nobody_wants_any_more_is_forgotten(
    owner: Owner, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_CLAIMED_SECONDS", 0.0)
    brokers.silent.add((CLUSTER.snapshots, BAD))
    assert owner.take_over(BAD) == set()
    brokers.silent.clear()
    until(lambda: BAD not in owner.journal._restoring)
    read = len(brokers.topics[CLUSTER.snapshots, BAD])
    assert owner.take_over(BAD) == {BAD}
    assert len(brokers.topics[CLUSTER.snapshots, BAD]) == read + 1, "it was read once more"
    assert owner.deposed(BAD) == 1


def test_a_journal_that_is_closed_ends_the_takeover_that_is_under_way(
    owner: Owner, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_SOON_SECONDS", 60.0)
    brokers.silent.add((CLUSTER.snapshots, BAD))
    failed: list[Exception] = []

    def take_over() -> None:
        try:
            owner.take_over(GOOD, BAD)
        except JournalUnavailable as error:
            failed.append(error)

    thread = threading.Thread(target=take_over)
    thread.start()
    restoring = owner.journal._restoring
    until(lambda: BAD in restoring and restoring._tasks[GOOD].done())
    owner.journal.close()
    thread.join(60)
    assert ["this journal is closed" in str(error) for error in failed] == [True]
    assert (owner.deposed(GOOD), owner.deposed(BAD)) == (0, 0), "others have taken them over by now"


def test_the_clock_that_stamps_events_is_the_one_that_is_compared_with_the_brokers(owner: Owner) -> None:
    owner.clock.advance(3_600)
    with pytest.raises(JournalUnavailable, match=r"clock is \+3600 s off"):
        owner.take_over(0)
    assert owner.deposed(0) == 0


def test_snapshots_that_hold_more_than_the_log_are_dropped_before_the_partition_is_served(
    owner: Owner, brokers: Brokers
) -> None:
    lost = SnapshotRecord(5, 77, 1, b"state")
    key = key_of("aggregate:64", lost.stamp)
    brokers.append(CLUSTER.snapshots, 0, [(key, msgspec.msgpack.encode(lost))])
    assert owner.take_over(0) == {0}
    assert (key, None) in [record[1:] for record in brokers.topics[CLUSTER.snapshots, 0]]
