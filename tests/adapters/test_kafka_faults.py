"""The log on Kafka when something is wrong: with brokers, topics, clocks, what is written, and who else writes."""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete

from falcon.adapters.kafka import journal as journals
from falcon.adapters.kafka import snapshots as snapshots_module
from falcon.adapters.kafka import topics
from falcon.adapters.kafka.cluster import APPEND_BYTES_MAX, KafkaCluster
from falcon.adapters.kafka.group import GroupMember
from falcon.adapters.kafka.journal import KafkaJournal
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.producer import NotWritten, Producer, Record
from falcon.adapters.kafka.reader import Reader, read_compacted
from falcon.adapters.kafka.roster import GroupRoster
from falcon.adapters.kafka.topics import WrongTopics
from falcon.features.catalogue import Command
from falcon.features.messages.rules import EditMessage, PostMessage
from falcon.features.rooms.rules import CreateRoom, RoomAnswer
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Position
from falcon.journal.ports import Append, AppendOutcome, EventSource, JournalUnavailable, Wake
from falcon.write.limits import ShardLimits
from falcon.write.owned import Serving
from falcon.write.ownership import FixedOwnership
from falcon.write.protocol import Accepted, CommandBatch, CommandEnvelope, Reply
from falcon.write.shard import Shard
from falcon.write.snapshots import encode_aggregate
from tests.adapters.test_kafka import KafkaLog
from tests.contracts.journal import PARTITIONS, Writer, load, texts
from tools.harness.clock import FakeClock
from tools.harness.replies import Replied
from tools.harness.waiting import until
from tools.servers.kafka import Kafka

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

ANN: Final = 1_000
PATIENT_SECONDS: Final = KafkaCluster((), 1).append_seconds
SESSION_SECONDS: Final = 2.0
LONG_SESSION_SECONDS: Final = 60.0  # what does not wait for its end takes less, also on a busy machine
START: Final = Position()
COMPACTED_AT_ONCE: Final = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "100",
    "delete.retention.ms": "100",
}

T = TypeVar("T")


@pytest.fixture
def log(kafka_servers: str, tmp_path: Path) -> Iterator[KafkaLog]:
    made = KafkaLog(kafka_servers, tmp_path, replicas=3)
    yield made
    made.close()


@pytest.fixture
def brokers(kafka: Kafka, log: KafkaLog) -> Iterator[Kafka]:
    """Brokers for faults: they all run again afterwards, and every replica has caught up."""
    yield kafka
    for node in range(1, kafka.nodes + 1):
        kafka.resume(node)
    kafka.start()
    until(lambda: all(len(p["isr"]) == 3 for p in described(log, log.cluster.journal)["partitions"]), seconds=60)


def waits(log: KafkaLog, seconds: float) -> None:
    """Writers made from here on wait so long for the brokers."""
    log.cluster = msgspec.structs.replace(log.cluster, append_seconds=seconds)


def described(log: KafkaLog, topic: str) -> Any:
    async def ask() -> Any:
        admin = log.cluster.admin()
        await admin.start()
        try:
            return (await admin.describe_topics([topic]))[0]
        finally:
            await admin.close()

    with contextlib.suppress(Exception):  # a broker that has just come back says it in many ways
        return log.loop.call(ask(), 10)
    return {"partitions": [{"isr": [], "leader": -1}]}


def leader(log: KafkaLog, partition: int) -> int:
    found = next(p for p in described(log, log.cluster.journal)["partitions"] if p["partition"] == partition)
    return int(found["leader"])


def alter(log: KafkaLog, topic: str, **changed: str) -> None:
    """A topic's settings are as Falcon makes them but for these."""
    settings = next(each.settings for each in topics.topics(log.cluster) if each.name == topic)
    settings = {**settings, "min.insync.replicas": "2", **{n.replace("_", "."): v for n, v in changed.items()}}

    async def ask() -> None:
        admin = log.cluster.admin()
        await admin.start()
        try:
            (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])
            assert not answer.resources[0][0], answer
        finally:
            await admin.close()

    log.loop.call(ask())
    until(lambda: all(settings_of(log)[topic].get(name) == value for name, value in settings.items()))


def settings_of(log: KafkaLog) -> dict[str, dict[str, str]]:
    async def ask() -> dict[str, dict[str, str]]:
        admin = log.cluster.admin()
        await admin.start()
        try:
            return await topics._settings(admin, [topic.name for topic in topics.topics(log.cluster)])
        finally:
            await admin.close()

    return log.loop.call(ask())


def settle(writer: Writer, *appends: Append) -> list[AppendOutcome | None]:
    """Submitted one by one, so that they wait for one another; then what became of them."""
    for append in appends:
        writer.journal.submit([append])

    def answered() -> bool:
        writer.journal.collect()
        return all(append.outcome is not None for append in appends)

    until(answered)
    return [append.outcome for append in appends]


def goes_on(log: KafkaLog, writer: Writer, partition: int, *before: str) -> None:
    """After a takeover a message is appended behind those."""
    until(lambda: taken_over(writer, partition))
    assert settle(writer, writer.prepare(partition, "next")) == [AppendOutcome.DURABLE]
    assert messages(log, partition) == [*before, "next"]


def messages(log: KafkaLog, partition: int, position: Position = START) -> list[str]:
    """The texts of everything that is there by now, however long the brokers take to show it."""
    source = log.source()
    end, found = source.end()[partition].offset, list[str]()
    latest = time.monotonic() + 60
    while position.offset < end:
        assert time.monotonic() < latest, f"offset {end} was never shown"
        events, after = source.read({partition: position}, 1_000)
        found += texts(events)
        position = after[partition]
    return found


def taken_over(writer: Writer, *partitions: int) -> bool:
    with contextlib.suppress(JournalUnavailable):
        writer.takeover(*partitions)
        return True
    return False


# --- appends that fail ------------------------------------------------------------------------------------------------


def test_a_message_over_the_topics_limit_is_not_sent_and_the_partition_goes_on_after_a_takeover(log: KafkaLog) -> None:
    ann = Writer(log)
    ann.takeover(0)
    source = log.source()
    before = source.end()[0]
    large, behind = ann.prepare(0, "x" * (APPEND_BYTES_MAX + 1)), ann.prepare(0, "behind")
    assert settle(ann, large, behind) == [AppendOutcome.UNKNOWN] * 2
    assert settle(ann, ann.prepare(0, "later")) == [AppendOutcome.UNKNOWN]
    assert source.end()[0] == before
    goes_on(log, ann, 0)


def test_messages_just_below_the_limit_are_written_in_batches_that_fit(log: KafkaLog) -> None:
    ann = Writer(log)
    ann.takeover(0)
    big = "x" * (APPEND_BYTES_MAX // 2)
    assert settle(ann, *(ann.prepare(0, big) for _ in range(3))) == [AppendOutcome.DURABLE] * 3
    assert [len(text) for text in messages(log, 0)] == [len(big)] * 3


def test_what_the_brokers_refuse_poisons_the_producer_which_is_replaced(log: KafkaLog) -> None:
    ann = Writer(log)
    ann.takeover(0, 1)
    assert settle(ann, ann.prepare(0, "first")) == [AppendOutcome.DURABLE]
    alter(log, log.cluster.journal, max_message_bytes="1000")
    refused, elsewhere = ann.prepare(0, secrets.token_hex(2_500)), ann.prepare(1, "elsewhere")
    assert settle(ann, refused, elsewhere) == [AppendOutcome.UNKNOWN, AppendOutcome.DURABLE]
    goes_on(log, ann, 0, "first")


def test_a_producer_is_replaced_before_its_sequence_numbers_end_and_nothing_is_lost(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[AIOKafkaProducer] = []
    make = KafkaCluster.producer

    def counted(cluster: KafkaCluster) -> AIOKafkaProducer:
        made.append(make(cluster))
        return made[-1]

    monkeypatch.setattr(KafkaCluster, "producer", counted)
    ann = Writer(_ShortLived(log))
    ann.takeover(0)
    appends = [ann.prepare(0, f"{i}", f"{i}, again") for i in range(20)]
    for append in appends:
        assert settle(ann, append) == [AppendOutcome.DURABLE]
    assert messages(log, 0) == [text for i in range(20) for text in (f"{i}", f"{i}, again")]
    assert len(made) >= 4
    until(lambda: sum(not producer._closed for producer in made) <= 1)


class _ShortLived:
    """A log whose producers write ten records a partition."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self.source, self.snapshots = log.source, log.snapshots

    def journal(self, wake: Wake) -> KafkaJournal:
        producer = Producer(self._log.cluster, records_max=10)
        log = self._log
        return log._keep(KafkaJournal(log.cluster, log.loop, producer, log._snapshots(producer), log.clock, wake))


# --- brokers that do not answer ---------------------------------------------------------------------------------------


def test_a_broker_that_stops_leaves_unknown_what_it_was_given_and_other_partitions_go_on(
    brokers: Kafka, log: KafkaLog
) -> None:
    waits(log, seconds=3)
    ann = Writer(log)
    until(lambda: taken_over(ann, 0, 1))
    other = until(lambda: next((p for p in range(1, PARTITIONS) if leader(log, p) != leader(log, 0)), 0))
    until(lambda: taken_over(ann, 0, other))
    assert settle(ann, ann.prepare(0, "first"), ann.prepare(other, "first")) == [AppendOutcome.DURABLE] * 2
    node = leader(log, 0)
    brokers.pause(node)
    began = time.monotonic()
    assert (
        settle(ann, ann.prepare(0, "lost"), *(ann.prepare(0, f"{i}") for i in range(3))) == [AppendOutcome.UNKNOWN] * 4
    )
    assert 2.9 < time.monotonic() - began < PATIENT_SECONDS
    brokers.resume(node)
    assert settle(ann, ann.prepare(other, "second")) == [AppendOutcome.DURABLE]
    assert messages(log, other) == ["first", "second"]
    until(lambda: taken_over(ann, 0))
    settled = messages(log, 0)
    assert settled in (["first"], ["first", "lost"]), "only the one that was away can have happened"
    assert settle(ann, ann.prepare(0, "next")) == [AppendOutcome.DURABLE]
    assert messages(log, 0) == [*settled, "next"]


def test_with_two_of_three_brokers_stopped_nothing_is_written_and_a_takeover_says_so_in_time(
    brokers: Kafka, log: KafkaLog
) -> None:
    waits(log, seconds=3)
    ann = Writer(log)
    until(lambda: taken_over(ann, 0))
    assert settle(ann, ann.prepare(0, "first")) == [AppendOutcome.DURABLE]
    for node in {1, 2, 3} - {leader(log, 0)}:
        brokers.pause(node)
    assert settle(ann, ann.prepare(0, "lost"), ann.prepare(0, "behind")) == [AppendOutcome.UNKNOWN] * 2
    began = time.monotonic()
    with pytest.raises(JournalUnavailable, match="cannot take over"):
        ann.takeover(0)
    assert time.monotonic() - began < PATIENT_SECONDS
    for node in (1, 2, 3):
        brokers.resume(node)
    until(lambda: taken_over(ann, 0))
    settled = messages(log, 0)
    assert settled in (["first"], ["first", "lost"])
    assert settle(ann, ann.prepare(0, "next")) == [AppendOutcome.DURABLE]


def test_an_append_waits_for_enough_replicas_as_long_as_it_may(brokers: Kafka, log: KafkaLog) -> None:
    waits(log, seconds=60)
    patient = Writer(log)
    patient.takeover(0)
    waits(log, seconds=1.5)
    hasty = Writer(log)
    until(lambda: taken_over(hasty, 1))
    alter(log, log.cluster.journal, min_insync_replicas="3")
    node = ({1, 2, 3} - {leader(log, 0), leader(log, 1)}).pop()
    os.kill(brokers.pid(node) or 0, signal.SIGTERM)  # one that is asked to end leaves at once
    until(lambda: not brokers.running(node))
    waiting = patient.prepare(0, "patience")
    patient.journal.submit([waiting])
    assert settle(hasty, hasty.prepare(1, "lost"), hasty.prepare(1, "behind")) == [AppendOutcome.UNKNOWN] * 2
    assert waiting.outcome is None
    # To ask for fewer replicas would be quicker. But Kafka 4.1 then keeps the broker among a topic's eligible leaders,
    # and once the topic is deleted, it refuses that broker after each crash.
    brokers.up(node)
    patient.wait_for(waiting)
    assert waiting.outcome is AppendOutcome.DURABLE
    assert messages(log, 0) == ["patience"]
    goes_on(log, hasty, 1)


# --- a log that cannot be trusted, or not be read ---------------------------------------------------------------------


def test_reading_what_was_trimmed_stops_and_says_so(log: KafkaLog) -> None:
    ann = Writer(log)
    ann.takeover(0)
    last = ann.append(0, "one", "two", "three").first + 2

    async def trim() -> None:
        admin = log.cluster.admin()
        await admin.start()
        await admin.delete_records({TopicPartition(log.cluster.journal, 0): RecordsToDelete(before_offset=last)})
        await admin.close()

    log.loop.call(trim())
    with pytest.raises(JournalUnavailable, match="does not hold offset 0 of partition 0 any more"):
        read_until_it_fails(log.source(), 0, [])


def read_until_it_fails(source: EventSource, partition: int, seen: list[str]) -> None:
    cursor = {partition: START}
    latest = time.monotonic() + 60
    while time.monotonic() < latest:
        events, after = source.read(cursor, 100)
        seen += texts(events)
        cursor = dict(after)


def test_a_transaction_in_the_log_stops_readers_and_the_owner(log: KafkaLog) -> None:
    """Its end takes an offset that no reader is shown, as a record that was compacted away does."""
    ann = Writer(log)
    ann.takeover(0)
    ann.append(0, "one")

    async def interfere() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=list(log.cluster.brokers), transactional_id=log.cluster.prefix)
        await producer.start()
        async with producer.transaction():
            await producer.send_and_wait(log.cluster.journal, b"not Falcon's", partition=0)
        await producer.stop()

    log.loop.call(interfere(), 60)
    source = log.source()
    until(lambda: source.end()[0].offset == 4)  # the transaction's end is written behind its answer
    assert settle(ann, ann.prepare(0, "two")) == [AppendOutcome.UNKNOWN]
    with pytest.raises(JournalUnavailable, match="partition 0: offset 3 should follow, but 4 does"):
        read_until_it_fails(source, 0, [])


def test_a_reader_is_closed_while_a_fetch_of_it_pauses_after_an_error(log: KafkaLog) -> None:
    """As when brokers are down. The caller that closes it continues."""
    reader = Reader(log.cluster, log.cluster.journal)

    async def close_while_it_pauses() -> bool:
        await reader.records({0: 0}, 10, 0.01)
        assert reader._consumer is not None
        client, pausing = reader._consumer._client, asyncio.ensure_future(asyncio.sleep(3_600))
        reader._consumer._fetcher._pending_tasks.add(pausing)
        await reader.close()
        return bool(pausing.cancelled()) and not any(conn.connected() for conn in client._conns.values())

    assert log.loop.call(close_while_it_pauses())


def test_a_record_that_does_not_decode_is_named_and_other_partitions_can_be_read(log: KafkaLog) -> None:
    ann = Writer(log)
    ann.takeover(0, 1)
    ann.append(0, "before")
    nonsense = ann.prepare(0, "nonsense")
    nonsense.records = [msgspec.structs.replace(nonsense.records[0], data=b"\xff nonsense")]
    ann.settle(nonsense)
    ann.append(0, "behind")
    ann.append(1, "elsewhere")
    seen: list[str] = []
    with pytest.raises(Undecodable, match=f"partition 0, offset {nonsense.first}") as raised:
        read_until_it_fails(log.source(), 0, seen)
    assert seen == ["before"]
    assert (raised.value.partition, raised.value.at) == (0, Position(nonsense.first, nonsense.epoch, 1))
    assert messages(log, 1) == ["elsewhere"]


@pytest.mark.parametrize("off", [-11, 11])
def test_an_owner_whose_clock_is_off_does_not_take_over(off: int, log: KafkaLog) -> None:
    log.clock = clock = FakeClock(round((time.time() + off) * 1000))
    ann = Writer(log)
    with pytest.raises(JournalUnavailable, match=re.escape(f"clock is {off:+d} s off")):
        ann.takeover(0)
    clock.advance(-off)
    goes_on(log, ann, 0)


@pytest.mark.parametrize("off", [-9.9, 0, 9.9])
def test_a_clock_that_is_a_little_off_is_good_enough(off: float) -> None:
    clock = FakeClock()
    journals.check_clock(clock, clock.now() + round(off * 1_000))


# --- snapshots --------------------------------------------------------------------------------------------------------


def kept(log: KafkaLog, partition: int) -> list[tuple[str, bytes | None]]:
    """Every record of the snapshots' topic that is there, in its order."""
    found: list[tuple[str, bytes | None]] = []

    async def read() -> None:
        producer, reader = Producer(log.cluster), Reader(log.cluster, log.cluster.snapshots)
        end = await producer.write(log.cluster.snapshots, partition, [(b"0/end", None)])
        await producer.close()
        async for records in read_compacted(reader, partition, end.offset):
            found.extend((record.key.decode(), record.value) for record in records)
        await reader.close()

    log.loop.call(read())
    return [(key, value) for key, value in found if key != "0/end"]


def left(log: KafkaLog, partition: int) -> set[str]:
    """The keys that compaction will leave."""
    return {key for key, value in dict(kept(log, partition)).items() if value is not None}


def test_the_newest_snapshot_of_several_epochs_counts(log: KafkaLog) -> None:
    for name in ("ann", "bob", "cat"):
        owner = Writer(log, name)
        end = owner.takeover(0)[0]
        owner.checkpoint(0, end, state=name.encode(), snapshots=[("aggregate:1", name.encode())])
    snapshots = log.snapshots()
    found = snapshots.checkpoint(0, 1)
    assert found is not None
    assert (found.state, found.position, load(snapshots, 0, "aggregate:1")) == (b"cat", end, b"cat")


def test_what_an_older_epoch_kept_is_deleted_once_a_newer_one_has_replaced_it(log: KafkaLog) -> None:
    ann, bob = Writer(log, "ann"), Writer(log, "bob")
    first = ann.takeover(0)[0]
    ann.checkpoint(0, first, snapshots=[("aggregate:1", b"ann's"), ("aggregate:2", b"ann's")], answers=b"")
    second = bob.takeover(0)[0]
    bob.checkpoint(0, second, snapshots=[("aggregate:1", b"bob's")], answers=b"")
    old, new = first.epoch, second.epoch
    until(lambda: f"{old}/checkpoint" not in left(log, 0))
    assert left(log, 0) == {f"{old}/1/aggregate:2", f"{new}/1/aggregate:1", f"{new}/checkpoint", "0/opened"}
    assert load(log.snapshots(), 0, "aggregate:2") == b"ann's"


def test_answers_whose_time_is_over_are_deleted_those_of_older_epochs_too(log: KafkaLog) -> None:
    ann, bob = Writer(log, "ann"), Writer(log, "bob")
    ann.checkpoint(0, ann.takeover(0)[0], answers=b"old", answers_at=1_000)
    end = bob.takeover(0)[0]
    bob.checkpoint(0, end, answers=b"new", answers_at=5_000, answers_expired=2_000)
    until(lambda: sum("/answers:" in key for key in left(log, 0)) == 1)
    assert log.snapshots().answers(0, 1, 0) == [b"new"]


def test_a_deposed_owners_late_snapshot_hides_no_newer_one_even_after_compaction(log: KafkaLog) -> None:
    alter(log, log.cluster.snapshots, **COMPACTED_AT_ONCE)
    ann, bob = Writer(log, "ann"), Writer(log, "bob")
    first = ann.takeover(0)[0]
    ann.checkpoint(0, first, snapshots=[("aggregate:1", b"ann's")])
    second = bob.takeover(0)[0]
    bob.checkpoint(0, second, state=b"bob's", snapshots=[("aggregate:1", b"bob's")])
    ann.checkpoint(0, Position(second.offset - 1, first.epoch, 1), snapshots=[("aggregate:1", b"late")])
    name = f"{first.epoch}/1/aggregate:1"

    def compacted() -> bool:  # asking writes a record, which lets the brokers close the segment
        return sum(key == name for key, _ in kept(log, 0)) == 1

    until(compacted, seconds=60)
    snapshots = log.snapshots()
    found = snapshots.checkpoint(0, 1)
    assert found is not None
    assert (found.state, found.position) == (b"bob's", second)
    assert load(snapshots, 0, "aggregate:1") == b"bob's"


@pytest.mark.parametrize(("key", "value"), [(b"0/aggregate:1", b"nonsense"), (b"nonsense", b""), (None, b"")])
def test_a_snapshot_that_does_not_decode_is_named_and_not_left_out(
    key: bytes | None, value: bytes, log: KafkaLog
) -> None:
    ann = Writer(log)
    ann.takeover(0)

    async def interfere() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=list(log.cluster.brokers))
        await producer.start()
        await producer.send_and_wait(log.cluster.snapshots, value, key or b"", partition=0)
        await producer.stop()

    log.loop.call(interfere())
    with pytest.raises(JournalUnavailable, match=r"snapshots, partition 0: the record .* does not decode"):
        ann.takeover(0)
    ann.takeover(1)


# --- a shard on this log ----------------------------------------------------------------------------------------------


class Host:
    """Stands where an actor does: one shard of partition 0, its journal, and a clock."""

    def __init__(self, log: KafkaLog, producer: Producer | None = None) -> None:
        self.clock = FakeClock()
        self.producer = producer or Producer(log.cluster)
        self.snapshots = log._snapshots(self.producer)
        journal = KafkaJournal(log.cluster, log.loop, self.producer, self.snapshots, log.clock, lambda: None)
        self.journal = log._keep(journal)
        self.source = log.source()
        self.replied = Replied()
        self.shard = Shard(
            FixedOwnership([0]), self.journal, self.source, self.snapshots, self.clock, ShardLimits(), "a test",
            reply=self.replied,
        )  # fmt: skip
        self._number = 0

    def start(self) -> "Host":
        self.shard.start()
        assert self.shard.serving
        return self

    def ask(self, *commands: Command) -> list[Reply]:
        self._number += 1
        deadline = self.clock.monotonic() + 5
        envelopes = [CommandEnvelope(0, ANN, command, deadline, None, 1) for command in commands]
        self.shard.execute(CommandBatch(self._number, envelopes))
        replies: list[Reply] = []

        def answered() -> bool:
            self.shard.drain()
            replies.extend(self.replied.take_replies())
            return len(replies) == len(commands)

        until(answered)
        return replies

    def room(self) -> int:
        (reply,) = self.ask(CreateRoom(ANN, "Tea kitchen"))
        assert isinstance(reply, Accepted)
        assert isinstance(reply.answer, RoomAnswer)
        return reply.answer.room_id

    def state(self, room: int) -> bytes:
        owned = self.shard.owned(0)
        assert isinstance(owned, Serving)
        aggregate = owned.aggregates._get(room)
        assert aggregate is not None
        return encode_aggregate(aggregate)

    def capture(self) -> None:
        """The time for a checkpoint has come."""
        self.clock.advance(60)
        self.shard.tick()


class _NoCheckpoints(Producer):
    """Dies between the states and the checkpoint that counts on them."""

    died = False

    async def write(self, topic: str, partition: int, records: "list[Record]") -> Any:  # type: ignore[override]
        if any(key is not None and key.endswith(b"/checkpoint") for key, _ in records):
            self.died = True
            raise NotWritten("dead by now")
        return await super().write(topic, partition, records)


def test_a_snapshot_that_is_newer_than_the_checkpoint_is_not_changed_by_events_that_it_holds(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots_module, "_BATCH_BYTES_MAX", 1)
    dies = _NoCheckpoints(log.cluster)
    ann = Host(log, dies).start()
    room = ann.room()
    ann.ask(*(PostMessage(ANN, room, f"{i}") for i in range(5)))
    ann.ask(EditMessage(ANN, room, 5, "edited"))
    before = ann.state(room)
    ann.capture()
    until(lambda: dies.died)
    until(lambda: any(key.endswith(f"/aggregate:{room}") for key, _ in kept(log, 0)))

    bob = Host(log).start()
    assert bob.snapshots.checkpoint(0, 1) is None
    assert bob.state(room) == before
    (reply,) = bob.ask(PostMessage(ANN, room, "next"))
    assert isinstance(reply, Accepted)
    assert msgspec.to_builtins(reply.answer)["message"]["seq"] == 6


def test_an_owner_deposed_while_it_recovered_leaves_no_checkpoint_that_hides_messages(log: KafkaLog) -> None:
    """It reads up to where its own epoch begins, and not what another owner has written behind that."""
    ann = Host(log).start()
    room = ann.room()
    ann.ask(PostMessage(ANN, room, "ann's"))
    bob, cat = Host(log), Host(log)
    read = bob.source.read

    def deposed_first(*arguments: Any) -> Any:
        if not cat.shard.serving:
            cat.start()
            cat.ask(PostMessage(ANN, room, "cat's"))
        return read(*arguments)

    bob.source.read = deposed_first  # type: ignore[method-assign,assignment]
    bob.start()
    bob.capture()
    bob.journal.flush()
    bob.shard.drain()
    cat.ask(PostMessage(ANN, room, "cat's second"))
    dan = Host(log).start()
    assert dan.state(room) == cat.state(room)


# --- topics -----------------------------------------------------------------------------------------------------------


def test_preparing_again_changes_nothing(log: KafkaLog) -> None:
    ann = Writer(log)
    ann.takeover(0)
    ann.append(0, "hello")
    before = settings_of(log)
    name = log.loop.call(topics.check(log.cluster))
    assert log.loop.call(topics.prepare(log.cluster, 3)) == name
    assert settings_of(log) == before
    assert messages(log, 0) == ["hello"]


@pytest.mark.parametrize(
    ("which", "setting", "value"),
    [
        ("journal", "cleanup.policy", "compact"),
        ("journal", "retention.ms", "604800000"),
        ("journal", "retention.bytes", "1073741824"),
        ("journal", "unclean.leader.election.enable", "true"),
        ("snapshots", "cleanup.policy", "delete"),
        ("journal", "min.insync.replicas", "1"),
    ],
)
def test_topics_that_could_lose_messages_are_refused_and_left_as_they_are(
    which: str, setting: str, value: str, log: KafkaLog
) -> None:
    topic = getattr(log.cluster, which)
    alter(log, topic, **{setting: value})
    before = settings_of(log)
    for refuse in (topics.prepare(log.cluster, 3), topics.check(log.cluster)):
        with pytest.raises(WrongTopics) as raised:
            log.loop.call(refuse)
        (line,) = str(raised.value).splitlines()
        assert line.startswith(f"topic {topic} has {setting}={value}")
    assert settings_of(log) == before


def test_topics_that_make_takeovers_slow_may_be_used_and_the_log_says_how_to_set_them(
    log: KafkaLog, caplog: pytest.LogCaptureFixture
) -> None:
    topic = log.cluster.snapshots
    alter(log, topic, segment_ms="604800000", delete_retention_ms="1000")
    log.loop.call(topics.check(log.cluster))
    # Kafka's defaults hold for each setting that is not named here, and they are over their bounds, too.
    assert f"topic {topic} has segment.ms=604800000," in caplog.text
    assert f"--entity-name {topic} --add-config segment.ms=600000," in caplog.text


def test_another_number_of_partitions_is_refused(log: KafkaLog) -> None:
    other = msgspec.structs.replace(log.cluster, partitions=PARTITIONS * 2)
    with pytest.raises(WrongTopics) as raised:
        log.loop.call(topics.prepare(other, 3))
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"topic {name} has {PARTITIONS} partitions, not {PARTITIONS * 2}"
        for name in (log.cluster.journal, log.cluster.snapshots, log.cluster.inboxes)
    ]
    assert all(f"FALCON_PARTITIONS={PARTITIONS}" in line for line in lines)
    assert len(described(log, log.cluster.journal)["partitions"]) == PARTITIONS


def test_topics_with_a_log_of_before_its_format_are_refused_in_a_line(log: KafkaLog) -> None:
    async def write(*records: tuple[bytes, bytes | None]) -> None:
        producer = Producer(log.cluster)
        await producer.write(log.cluster.owners, 0, records)
        await producer.close()

    log.loop.call(write((b"instance", b"5ee0d1"), (topics.LOG, None)))
    for refuse in (topics.prepare(log.cluster, 3), topics.check(log.cluster)):
        with pytest.raises(WrongTopics) as raised:
            log.loop.call(refuse)
        (line,) = str(raised.value).splitlines()
        assert line.startswith(f"topic {log.cluster.journal} was written by a Falcon before format 1")
        assert "falcon export" in line and "falcon import" in line and "FALCON_KAFKA_PREFIX" in line


def test_topics_that_are_missing_are_named(log: KafkaLog) -> None:
    elsewhere = msgspec.structs.replace(log.cluster, prefix="elsewhere.")
    with pytest.raises(WrongTopics) as raised:
        log.loop.call(topics.check(elsewhere))
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        f"topic elsewhere.{name} is not there"
        for name in ("journal", "snapshots", "owners", "signals", "inboxes", "applied", "cuts")
    ]


def test_brokers_that_are_not_there_are_named() -> None:
    nowhere = KafkaCluster(("127.0.0.1:1",), PARTITIONS)
    with pytest.raises(JournalUnavailable, match=r"no Kafka answers at 127\.0\.0\.1:1 .*FALCON_KAFKA"):
        asyncio.run(topics.check(nowhere))


# --- the group --------------------------------------------------------------------------------------------------------


class Member:
    """On a loop of its own, so that it can be stopped."""

    def __init__(self, log: KafkaLog, name: str = "", session_seconds: float = SESSION_SECONDS) -> None:
        self.loop = LoopThread()
        self.name = name
        self._session_seconds = session_seconds
        self.history: list[frozenset[int]] = []
        self._left = False
        self._alive = threading.Event()
        self.member = self.loop.call(self._join(log.cluster))

    async def _join(self, cluster: KafkaCluster) -> GroupMember:
        self.member = GroupMember(cluster, "test", self._session_seconds, self._changed, self.name)
        await self.member.join()
        return self.member

    def _changed(self) -> None:
        self.history.append(self.member.assigned)

    @property
    def assigned(self) -> frozenset[int]:
        return self.member.assigned

    def leave(self) -> None:
        self._alive.set()
        if not self._left:
            self._left = True
            self.loop.call(self.member.leave(), 10)
            self.loop.close()

    def fall_silent(self) -> None:
        """Like one that was killed or stopped: from one moment to the next it says nothing any more."""
        self.loop.soon(self._alive.wait)


@pytest.fixture
def join(log: KafkaLog) -> Iterator[Callable[..., Member]]:
    members: list[Member] = []

    def one(name: str = "", session_seconds: float = SESSION_SECONDS) -> Member:
        members.append(Member(log, name, session_seconds))
        return members[-1]

    yield one
    for member in members:
        member.leave()


ALL: Final = frozenset(range(PARTITIONS))


def share(*members: Member) -> None:
    """Every member has some partitions, and no two have the same."""

    def shared() -> bool:
        return all(member.assigned for member in members) and sorted(
            partition for member in members for partition in member.assigned
        ) == sorted(ALL)

    until(shared)


def test_members_share_the_partitions_and_those_that_stay_are_not_disturbed(join: Callable[..., Member]) -> None:
    ann = join()
    until(lambda: ann.assigned == ALL)
    bob = join()
    share(ann, bob)
    assert len(ann.assigned) == len(bob.assigned) == PARTITIONS // 2
    stayed = ann.assigned
    assert all(stayed <= assigned for assigned in ann.history), "what stays was never taken away in between"


def test_a_member_that_joins_moves_no_partition_between_others_of_one_process(join: Callable[..., Member]) -> None:
    ann, bob = join(), join()
    share(ann, bob)
    before = ann.assigned, bob.assigned
    carl = join()
    share(ann, bob, carl)
    assert ann.assigned <= before[0]
    assert bob.assigned <= before[1]


def test_who_leaves_hands_over_at_once(join: Callable[..., Member]) -> None:
    ann, bob = (join(session_seconds=LONG_SESSION_SECONDS) for _ in range(2))
    share(ann, bob)
    bob.leave()
    until(lambda: ann.assigned == ALL, seconds=LONG_SESSION_SECONDS / 2)


def test_who_dies_is_missed_when_its_session_is_over(join: Callable[..., Member]) -> None:
    ann, bob = join(), join()
    share(ann, bob)
    bob.fall_silent()
    until(lambda: ann.assigned == ALL)


@pytest.fixture
def roster(log: KafkaLog) -> Iterator[GroupRoster]:
    made = GroupRoster(log.cluster, "test")
    yield made
    log.loop.call(made.close())


def test_one_of_the_members_has_another_removed_that_died(
    log: KafkaLog, roster: GroupRoster, join: Callable[..., Member]
) -> None:
    ann, bob = (join(name, LONG_SESSION_SECONDS) for name in ("ann", "bob"))
    share(ann, bob)
    bob.fall_silent()
    members = log.loop.call(roster.members())
    assert members.keys() == {"ann", "bob"}
    log.loop.call(roster.remove(members["bob"]))
    until(lambda: ann.assigned == ALL, seconds=LONG_SESSION_SECONDS / 2)
    log.loop.call(roster.remove(members["bob"]))  # as another watcher does


def test_one_that_was_removed_though_it_lives_joins_again_as_another(
    log: KafkaLog, roster: GroupRoster, join: Callable[..., Member]
) -> None:
    ann, bob = join("ann"), join("bob")
    share(ann, bob)
    before = log.loop.call(roster.members())
    log.loop.call(roster.remove(before["bob"]))
    until(lambda: log.loop.call(roster.members()).get("bob", before["bob"]) != before["bob"])
    share(ann, bob)


def test_who_starts_again_does_not_wait_for_the_process_that_died_there(
    log: KafkaLog, roster: GroupRoster, join: Callable[..., Member]
) -> None:
    dead = join("here~1", LONG_SESSION_SECONDS)
    until(lambda: dead.assigned == ALL)
    dead.fall_silent()
    log.loop.call(roster.remove_predecessors(lambda name: name == "here~1"))
    successor = join("here~2", LONG_SESSION_SECONDS)
    until(lambda: successor.assigned == ALL, seconds=LONG_SESSION_SECONDS / 2)


def test_a_group_of_which_nobody_has_heard_has_no_members_and_brokers_that_are_away_are_said(
    log: KafkaLog, roster: GroupRoster
) -> None:
    assert log.loop.call(roster.members()) == {}

    async def ask_nobody() -> None:
        nobody = GroupRoster(KafkaCluster(("127.0.0.1:1",), 1), "test")
        try:
            await nobody.members()
        finally:
            await nobody.close()

    with pytest.raises(JournalUnavailable, match=r"the group falcon\.test cannot be asked"):
        log.loop.call(ask_nobody())


def test_where_a_partition_ended_may_be_asked_while_the_reader_is_given_others(log: KafkaLog) -> None:
    reader = Reader(log.cluster, log.cluster.journal)

    async def ask_in_between() -> int:
        await reader.records({0: 0}, 10, 0.01)
        assert reader._consumer is not None
        reader._consumer.assign([TopicPartition(log.cluster.journal, 1)])  # the first half of being given partition 1
        try:
            return reader.end_seen(0)
        finally:
            await reader.close()

    assert log.loop.call(ask_in_between()) == 0
