"""Snapshots on a model of their topic: late writes, compaction, and what a takeover makes of them."""

import asyncio
import tempfile
import tracemalloc
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec
import pytest

from falcon.adapters.kafka import snapshots as module
from falcon.adapters.kafka.producer import NotWritten
from falcon.adapters.kafka.reader import Reader, read_compacted
from falcon.adapters.kafka.snapshots import KafkaSnapshots, key_of
from falcon.adapters.sqlite.snapshot_cache import LocalSnapshotCache
from falcon.journal.envelope import Position
from falcon.journal.ports import EXPIRED_MAX, Checkpoint, JournalUnavailable
from falcon.journal.snapshot_record import SnapshotRecord, SnapshotStamp
from falcon.write import snapshots
from falcon.write.snapshots import VERSION
from tests.adapters.kafka_model import CLUSTER, Brokers, Stored, memory_copy
from tests.support.partition_owner import PartitionOwner
from tools.harness.memory.log import MemoryLog

TOPIC = CLUSTER.snapshots


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    made = Brokers()
    monkeypatch.setattr(module, "Reader", made.reader)
    monkeypatch.setattr(module, "_STALE_SECONDS", 0.0)
    return made


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(1)


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    def run(brokers: Brokers, log: MemoryLog) -> None:
        asyncio.run(test(brokers, log))

    run.__name__ = test.__name__
    return run


class Pod(PartitionOwner):
    """One that may own partition 0: its snapshots, with a copy of its own, and the state in its memory."""

    def __init__(self, brokers: Brokers, log: MemoryLog) -> None:
        self.snapshots = KafkaSnapshots(CLUSTER, brokers.producer(), memory_copy())
        brokers.ends[CLUSTER.journal] = lambda: len(log.events[0])
        super().__init__(log, self.snapshots)

    async def take_over(self) -> "Pod":
        await self.snapshots.restore(0, "a test")
        end = self.log.take(0)
        await self.snapshots.drop_lost(0, end.offset, end.epoch)
        self.snapshots.open(0, end.epoch)
        self.recover(end)
        return self

    def save(self) -> "Coroutine[Any, Any, bool]":
        return self.snapshots.save(self.captured())

    async def checkpoint(self) -> None:
        assert await self.save()
        self.partition.checkpointed()


@in_loop
async def test_a_checkpoint_that_ends_late_does_not_bring_old_rooms_back(brokers: Brokers, log: MemoryLog) -> None:
    ann = await Pod(brokers, log).take_over()
    room = ann.room()
    ann.post(room, "ann's")
    answered = brokers.held[TOPIC] = asyncio.Event()
    late = asyncio.ensure_future(ann.save())
    await asyncio.sleep(0)
    bob = await Pod(brokers, log).take_over()
    bob.post(room, "bob's")
    await bob.checkpoint()
    await ann.take_over()
    answered.set()
    assert not await late
    assert ann.post(room, "ann's again") == 3


@in_loop
async def test_a_checkpoint_whose_epoch_ends_meanwhile_deletes_nothing(brokers: Brokers, log: MemoryLog) -> None:
    ann = await Pod(brokers, log).take_over()
    room = ann.room()
    await ann.checkpoint()
    await ann.take_over()
    ann.post(room, "hello")
    answered = brokers.held[TOPIC] = asyncio.Event()
    late = asyncio.ensure_future(ann.save())
    await asyncio.sleep(0)
    await ann.snapshots.restore(0, "a test")  # another takeover has begun
    answered.set()
    before = list(brokers.topics[TOPIC, 0])
    assert not await late
    assert brokers.topics[TOPIC, 0] == before


@in_loop
async def test_a_snapshot_that_gets_in_long_after_it_was_given_up_hides_no_newer_one(
    brokers: Brokers, log: MemoryLog
) -> None:
    ann = await Pod(brokers, log).take_over()
    one, two = ann.room(), ann.room()
    ann.post(one, "1")
    checkpoint = ann.captured()
    brokers.lost = 1
    with pytest.raises(NotWritten):
        await ann.snapshots.save(checkpoint)
    assert await ann.snapshots.save(checkpoint)
    ann.partition.checkpointed()
    ann.post(one, "2")
    await ann.checkpoint()
    brokers.append(*brokers.late.pop())
    ann.post(two, "elsewhere")
    await ann.checkpoint()
    brokers.compact(TOPIC, 0)
    bob = await Pod(brokers, log).take_over()
    assert bob.post(one, "3") == 3


@in_loop
async def test_a_snapshot_that_is_told_to_end_while_it_is_written_hides_no_newer_one(
    brokers: Brokers, log: MemoryLog
) -> None:
    ann = await Pod(brokers, log).take_over()
    ann.room()
    checkpoint = ann.captured()
    brokers.held[TOPIC] = asyncio.Event()
    saving = asyncio.ensure_future(ann.snapshots.save(checkpoint))
    await asyncio.sleep(0)
    saving.cancel()
    await asyncio.wait([saving])
    assert await ann.snapshots.save(checkpoint)
    keys = [record.key for record in brokers.topics[TOPIC, 0] if b"aggregate" in (record.key or b"")]
    assert len(set(keys)) == 2


@in_loop
async def test_what_newer_records_have_replaced_is_deleted_once_and_of_every_generation(
    brokers: Brokers, log: MemoryLog
) -> None:
    ann = await Pod(brokers, log).take_over()
    room = ann.room()
    await ann.checkpoint()
    ann.post(room, "1")
    brokers.lost = 1
    checkpoint = ann.captured()
    with pytest.raises(NotWritten):
        await ann.snapshots.save(checkpoint)
    await ann.snapshots.save(checkpoint)
    brokers.append(*brokers.late.pop())
    bob = await Pod(brokers, log).take_over()
    bob.post(room, "2")
    await bob.checkpoint()
    epoch = bob.partition.epoch
    left = {f"{epoch}/{VERSION}/aggregate:{room}".encode(), f"{epoch}/checkpoint".encode()}
    cat = await Pod(brokers, log).take_over()
    cat.post(room, "3")
    before = len(brokers.topics[TOPIC, 0])
    await cat.checkpoint()
    tombstones = {record.key for record in brokers.topics[TOPIC, 0][before:] if record.value is None}
    assert tombstones == left, "what bob deleted is not deleted again"
    brokers.compact(TOPIC, 0)
    kept = {record.key for record in brokers.topics[TOPIC, 0] if record.value is not None}
    epoch = cat.partition.epoch
    assert kept == {f"{epoch}/{VERSION}/aggregate:{room}".encode(), f"{epoch}/checkpoint".encode(), b"0/opened"}


def test_what_is_the_newest_again_is_no_garbage() -> None:
    copy = memory_copy()
    old, new = SnapshotRecord(1, 5, 1, b"old"), SnapshotRecord(2, 9, 1, b"new")
    old_key, new_key = key_of("a", old.stamp), key_of("a", new.stamp)
    module.apply_records(copy, 0, [(old_key, "a", old)])
    module.apply_records(copy, 0, [(new_key, "a", new)])
    assert (copy.get(0, "a"), copy.garbage(0, 9)) == (new, [old_key])
    module.apply_records(copy, 0, [(new_key, "a", None), (old_key, "a", old)])
    assert (copy.get(0, "a"), copy.garbage(0, 9)) == (old, [])


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_a_copy_is_the_same_however_many_records_come_at_once(at_once: int) -> None:
    """Beside a reader that remembers every record of the topic."""
    random = Random(at_once)
    for _ in range(200):
        topic: list[module._Record] = []
        for _ in range(random.randrange(1, 20)):
            record = SnapshotRecord(random.randrange(1, 4), len(topic), 1, b"state")
            name = random.choice("ab")
            topic.append((key_of(name, record.stamp), name, record if random.random() < 0.7 else None))
        copy = memory_copy()
        for start in range(0, len(topic), at_once):
            module.apply_records(copy, 0, topic[start : start + at_once])
        left: dict[bytes, SnapshotRecord] = {}
        for key, _, kept in topic:
            left.pop(key, None)
            if kept is not None:
                left[key] = kept
        for name in "ab":
            newest = copy.get(0, name)
            if newest is not None:
                assert left.pop(key_of(name, newest.stamp)) == newest
        assert set(copy.garbage(0, 100)) >= set(left), "what is still in the topic and not the newest is deleted"


@in_loop
async def test_garbage_that_cannot_be_deleted_now_is_deleted_with_the_next_checkpoint(
    brokers: Brokers, log: MemoryLog
) -> None:
    ann = await Pod(brokers, log).take_over()
    room = ann.room()
    await ann.checkpoint()
    old = f"{ann.partition.epoch}/{VERSION}/aggregate:{room}".encode()
    bob = await Pod(brokers, log).take_over()
    bob.post(room, "1")
    saving = asyncio.ensure_future(bob.save())
    answered = brokers.held[TOPIC] = asyncio.Event()
    await asyncio.sleep(0)
    brokers.lost = 1  # the write behind the states
    answered.set()
    assert await saving, "the checkpoint itself is written"
    assert (old, None) not in [(record.key, record.value) for record in brokers.topics[TOPIC, 0]]
    bob.partition.checkpointed()
    brokers.late.clear()
    bob.post(room, "2")
    await bob.checkpoint()
    assert (old, None) in [(record.key, record.value) for record in brokers.topics[TOPIC, 0]]


def test_versions_that_know_no_generations_read_the_same_epoch() -> None:
    keys = [key_of("aggregate:1", SnapshotStamp(7_001, 5, generation)) for generation in range(3)]
    assert len(set(keys)) == 3
    assert [int(key.partition(b"/")[0]) for key in keys] == [7_001] * 3


# --- reading ----------------------------------------------------------------------------------------------------------


class Trickle:
    """A topic that gives a record at a time, and not at once."""

    topic = TOPIC

    def __init__(self, records: int) -> None:
        self._records = records

    async def records(self, offsets: dict[int, int], limit: int, seconds: float) -> dict[int, list[Stored]]:
        await asyncio.sleep(0.005)
        offset = offsets[0]
        return {0: [Stored(offset, b"key", b"value")]} if offset < self._records else {}


async def read(records: int, stop: int, seconds: float) -> int:
    reader = cast("Reader", Trickle(records))
    return sum([len(chunk) async for chunk in read_compacted(reader, 0, stop, seconds)])


def test_a_partition_is_read_however_long_it_takes_while_something_comes() -> None:
    assert asyncio.run(read(100, 99, 0.1)) == 100


def test_a_partition_of_which_nothing_comes_any_more_is_given_up() -> None:
    with pytest.raises(JournalUnavailable, match="partition 0: nothing came from offset 10 on") as raised:
        asyncio.run(read(10, 99, 0.02))
    assert raised.value.partition == 0


def test_positions_of_a_restored_checkpoint_are_those_that_were_saved(brokers: Brokers, log: MemoryLog) -> None:
    async def run() -> None:
        ann = await Pod(brokers, log).take_over()
        ann.room()
        await ann.checkpoint()
        bob = await Pod(brokers, log).take_over()
        found = bob.snapshots.checkpoint(0, VERSION)
        assert found is not None
        assert found.position == Position(1, ann.partition.epoch, 1)

    asyncio.run(run())


@in_loop
async def test_the_memory_of_a_takeover_does_not_grow_with_the_rooms(brokers: Brokers, log: MemoryLog) -> None:
    """Each of them has an older snapshot, which is garbage."""
    peaks = {}
    brokers.ends[CLUSTER.journal] = lambda: 5
    for rooms in (2_000, 20_000):
        brokers.topics.clear()
        for epoch in (1, 2):
            record = SnapshotRecord(epoch, 5, VERSION, b"x" * 200)
            value = msgspec.msgpack.encode(record)
            brokers.append(TOPIC, 0, [(key_of(f"aggregate:{room}", record.stamp), value) for room in range(rooms)])
        with tempfile.TemporaryDirectory() as folder:
            copy = LocalSnapshotCache(Path(folder) / "cold.db")
            snapshots = KafkaSnapshots(CLUSTER, brokers.producer(), copy)
            tracemalloc.start()
            await snapshots.restore(0, "a test")
            peaks[rooms] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert copy.get(0, f"aggregate:{rooms - 1}") == record
            assert len(copy.garbage(0, 2 * rooms)) == rooms
    assert (peaks[20_000] - peaks[2_000]) / 18_000 < 25, "bytes a room"


# --- two versions on one log ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(VERSION, VERSION + 1), (VERSION + 1, VERSION), (9, 10)])
def test_a_version_goes_on_though_another_one_stopped_within_its_first_checkpoint(
    brokers: Brokers, log: MemoryLog, monkeypatch: pytest.MonkeyPatch, before: int, after: int
) -> None:
    """An upgrade that is taken back at once, or fails."""
    monkeypatch.setattr(module, "_BATCH_BYTES_MAX", 1)  # so that a write can fail between any two records

    async def run() -> None:
        monkeypatch.setattr(snapshots, "VERSION", before)
        ann = await Pod(brokers, log).take_over()
        room, quiet = ann.room(), ann.room()
        ann.post(quiet, "hello")
        await ann.checkpoint()
        monkeypatch.setattr(snapshots, "VERSION", after)
        bob = await Pod(brokers, log).take_over()
        bob.post(room, "hello")
        brokers.fail_after(2)
        with pytest.raises(NotWritten):
            await bob.save()
        monkeypatch.setattr(snapshots, "VERSION", before)
        cat = await Pod(brokers, log).take_over()
        assert (cat.post(room, "again"), cat.post(quiet, "again")) == (2, 2)

    asyncio.run(run())


@in_loop
async def test_the_states_of_a_version_go_once_another_one_has_a_checkpoint(brokers: Brokers, log: MemoryLog) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "VERSION", VERSION - 1)
        ann = await Pod(brokers, log).take_over()
        room = ann.room()
        await ann.checkpoint()
    brokers.append(TOPIC, 0, [_unversioned(f"aggregate:{room}"), _unversioned("opposite")])
    bob = await Pod(brokers, log).take_over()
    await bob.checkpoint()
    brokers.compact(TOPIC, 0)
    kept = {record.key for record in brokers.topics[TOPIC, 0] if record.value is not None}
    epoch = bob.partition.epoch
    assert kept == {f"{epoch}/{VERSION}/aggregate:{room}".encode(), f"{epoch}/checkpoint".encode(), b"0/opened"}
    assert (await Pod(brokers, log).take_over()).post(room, "hello") == 1


def _unversioned(name: str) -> tuple[bytes, bytes]:
    """A record as versions of Falcon wrote it whose names had no version."""
    record = SnapshotRecord(1, 1, VERSION - 1, b"state")
    return key_of(name, record.stamp), msgspec.msgpack.encode(record)


# --- a log that was restored from an older copy, beneath snapshots that were not --------------------------------------


@in_loop
async def test_snapshots_of_what_the_log_has_lost_do_not_count(brokers: Brokers, log: MemoryLog) -> None:
    ann = await Pod(brokers, log).take_over()
    room = ann.room()
    ann.post(room, "before the copy")
    await ann.checkpoint()
    copied = len(log.events[0])
    assert [ann.post(room, text) for text in ("lost", "lost too")] == [2, 3]
    await ann.checkpoint()
    del log.events[0][copied:]
    bob = await Pod(brokers, log).take_over()
    other = bob.room()
    assert [bob.post(other, f"elsewhere {n}") for n in (1, 2, 3)] == [1, 2, 3]
    assert bob.post(room, "new") == 2
    cat = await Pod(brokers, log).take_over()  # before any checkpoint, and the log has grown over the lost ones' place
    assert (cat.post(room, "new"), cat.post(other, "elsewhere")) == (3, 4)
    await cat.checkpoint()
    brokers.compact(TOPIC, 0)
    assert (await Pod(brokers, log).take_over()).post(room, "new") == 4


class MarkingPod(Pod):
    """Its takeover makes the log a record longer, as a marker does."""

    async def take_over(self) -> "MarkingPod":
        await self.snapshots.restore(0, "a test")
        end = self.log.take(0)
        marker = PartitionOwner(self.log)
        marker.recover(end)
        marker.partition.prove()
        append = marker.partition.pop_append()
        assert append is not None
        assert self.log.write(append)
        await self.snapshots.drop_lost(0, end.offset, end.epoch)
        self.snapshots.open(0, end.epoch)
        self.recover(Position(end.offset + 1, end.epoch, 1))
        return self


@pytest.mark.parametrize("writes", range(8))
def test_an_owner_that_dies_while_it_drops_what_the_log_has_lost_leaves_nothing_of_it_to_the_next(
    brokers: Brokers, log: MemoryLog, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """``writes``: it dies behind so many. Each owner makes the log longer, so that it reaches as far as the snapshots
    did."""
    monkeypatch.setattr(module, "_TOMBSTONES_MAX", 1)

    async def run() -> None:
        ann = await Pod(brokers, log).take_over()
        rooms = [ann.room() for _ in range(3)]
        for room in rooms:
            ann.post(room, "before the copy")
        await ann.checkpoint()
        copied = len(log.events[0])
        assert [ann.post(rooms[0], text) for text in ("lost", "lost too")] == [2, 3]
        await ann.checkpoint()
        del log.events[0][copied:]
        for _ in range(2):
            brokers.fail_after(writes)
            with suppress(NotWritten):
                await MarkingPod(brokers, log).take_over()
            brokers.fail_after(None)
        cat = await MarkingPod(brokers, log).take_over()
        assert [cat.post(room, "new") for room in rooms] == [2, 2, 2]
        await cat.checkpoint()
        brokers.compact(TOPIC, 0)
        assert [(await Pod(brokers, log).take_over()).post(room, "newer") for room in rooms] == [3, 3, 3]

    asyncio.run(run())


@in_loop
async def test_a_checkpoint_counts_again_if_the_brokers_were_wrong_about_the_end_of_the_log(
    brokers: Brokers, log: MemoryLog
) -> None:
    ann = await Pod(brokers, log).take_over()
    room = ann.room()
    await ann.checkpoint()
    right, brokers.ends[CLUSTER.journal] = brokers.ends[CLUSTER.journal], lambda: 0
    await KafkaSnapshots(CLUSTER, brokers.producer(), memory_copy()).restore(0, "one that dies then")
    brokers.ends[CLUSTER.journal] = right
    ann.post(room, "1")
    await ann.checkpoint()
    bob = await Pod(brokers, log).take_over()
    assert bob.snapshots.checkpoint(0, VERSION) is not None
    assert bob.post(room, "2") == 2


@in_loop
async def test_snapshots_that_the_log_reaches_stay(brokers: Brokers, log: MemoryLog) -> None:
    ann = await Pod(brokers, log).take_over()
    room = ann.room()
    await ann.checkpoint()
    written = len(brokers.topics[TOPIC, 0])
    bob = await Pod(brokers, log).take_over()
    assert bob.snapshots.checkpoint(0, VERSION) is not None
    assert len(brokers.topics[TOPIC, 0]) == written + 1, "its own, and nothing was deleted"
    assert bob.post(room, "hello") == 1


class CountingCopy(LocalSnapshotCache):
    """``read``: how many stamps were. Whole records are not."""

    read = 0

    def stamps(self, partition: int, names: Iterable[str]) -> dict[str, SnapshotStamp]:
        found = super().stamps(partition, names)
        self.read += len(found)
        return found

    def stamps_between(self, partition: int, first: str, stop: str, most: int = -1) -> list[tuple[str, SnapshotStamp]]:
        found = super().stamps_between(partition, first, stop, most)
        self.read += len(found)
        return found


@in_loop
async def test_a_checkpoint_reads_what_expires_and_what_it_replaces_however_many_answers_are_kept(
    brokers: Brokers, log: MemoryLog
) -> None:
    read = []
    for kept in (5, 200):
        ann = await Pod(brokers, log).take_over()
        ann.snapshots._copy = copy = CountingCopy(Path(":memory:"))
        for number in range(kept):
            assert await ann.snapshots.save(answered(ann, number, 1_000 + number, expired=0))
        copy.read = 0
        assert await ann.snapshots.save(answered(ann, kept, 9_000, expired=1_001))
        read.append(copy.read)
        assert await ann.snapshots.save(answered(ann, kept + 1, 9_001, expired=1_000_000))
        assert copy.read <= read[-1] + 2 + EXPIRED_MAX, "also where many expire"
    assert read == [2, 2], "one that has expired, and the last checkpoint"


def answered(pod: Pod, offset: int, at: int, *, expired: int) -> Checkpoint:
    epoch = pod.partition.epoch
    return Checkpoint(0, epoch, Position(offset, epoch, 0), VERSION, b"", [], b"answers", at, expired)
