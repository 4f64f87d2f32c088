"""The simulated brokers and their records: with writes of unknown outcome, over days, and by the seed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

import pytest
from aiokafka import TopicPartition

from falcon.adapters.kafka import fence
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer
from falcon.adapters.kafka.reader import Reader, read_compacted
from falcon.adapters.kafka.tail import KafkaTail
from falcon.journal.ports import JournalUnavailable
from falcon.streams.tail import WrongPlace
from tools.simulation.kafka.brokers import Brokers
from tools.simulation.kafka.cluster import SimulatedCluster
from tools.simulation.threads import Simulation

TOPIC: Final = "chat"
AT: Final = TopicPartition(TOPIC, 0)
HOUR: Final = 3_600.0
DAY: Final = 24 * HOUR


class World:
    """Brokers with one topic of one partition, and Ann and Bob who write to it."""

    def __init__(self, brokers: Brokers) -> None:
        self.brokers = brokers
        self.ann_cluster = self._cluster("ann")
        self.ann = Producer(self.ann_cluster)
        self.bob = Producer(self._cluster("bob"))

    def _cluster(self, client: str, append_seconds: float = 2.0) -> SimulatedCluster:
        return SimulatedCluster(("simulated:1",), 1, append_seconds=append_seconds, servers=self.brokers, client=client)

    async def write(self, producer: Producer, *texts: str, key: bytes | None = None) -> int:
        written = await producer.write(TOPIC, 0, [(key, text.encode()) for text in texts])
        return int(written.offset)

    async def read(self, offset: int = 0) -> list[str]:
        """Up to what is called the end by now."""
        reader = Reader(self._cluster("reader"), TOPIC)
        try:
            end = (await reader.ends([0]))[0]
            found: list[str] = []
            while offset < end:
                for record in (await reader.records({0: offset}, 100, 0.2)).get(0, []):
                    offset = record.offset + 1
                    found.append("-" if record.value is None else record.value.decode())
            return found
        finally:
            await reader.close()

    @property
    def leader(self) -> int:
        return self.brokers.partition(AT).leader


def course(
    work: Callable[[World], Awaitable[None]], settings: Mapping[str, str] = MappingProxyType({}), seed: int = 0
) -> Simulation:
    """Run something with brokers of its own."""
    simulation = Simulation(seed)

    async def run() -> None:
        brokers = Brokers(asyncio.get_running_loop(), seed=seed)
        await brokers.create_topic(TOPIC, 1, 3, {**settings, "min.insync.replicas": "2"})
        await work(World(brokers))

    simulation.run(lambda: asyncio.run(run()))
    return simulation


# --- outcomes that are unknown ----------------------------------------------------------------------------------------


def test_a_batch_whose_answer_is_lost_is_sent_again_and_stands_there_once() -> None:
    async def work(world: World) -> None:
        patient = Producer(world._cluster("ann", 60.0))
        await world.write(patient, "0")
        world.brokers.network.unanswered = 0.5
        assert [await world.write(patient, f"{i}") for i in range(1, 9)] == list(range(1, 9))
        world.brokers.heal()
        assert await world.read() == [f"{i}" for i in range(9)]

    course(work)


def test_what_was_given_up_may_be_written_later_behind_what_others_wrote() -> None:
    async def work(world: World) -> None:
        await world.write(world.ann, "first")
        world.brokers.network.cut("ann", world.leader)
        with pytest.raises(NotWritten):
            await world.write(world.ann, "late")
        await world.write(world.bob, "bob's")
        assert await world.read() == ["first", "bob's"]
        world.brokers.heal()
        assert await world.read() == ["first", "bob's", "late"]

    course(work)


def test_what_a_leader_took_and_no_follower_has_is_lost_with_it_and_was_never_acknowledged() -> None:
    async def work(world: World) -> None:
        await world.write(world.ann, "first")
        leader = world.leader
        for node in {1, 2, 3} - {leader}:
            world.brokers.pause(node)
        writing = asyncio.ensure_future(world.write(world.ann, "lost"))
        await asyncio.sleep(0.5)
        assert world.brokers.partition(AT).log.end == 2
        world.brokers.kill(leader)
        with pytest.raises(NotWritten):
            await writing
        for node in {1, 2, 3} - {leader}:
            world.brokers.resume(node)
        await asyncio.sleep(10)
        assert world.leader != leader
        assert await world.write(world.bob, "bob's") == 1
        world.brokers.heal()
        assert await world.read() == ["first", "bob's"]

    course(work)


def test_what_was_acknowledged_outlives_any_one_leader() -> None:
    async def work(world: World) -> None:
        ann = Producer(world._cluster("ann", 60.0))
        for i in range(6):
            assert await world.write(ann, f"{i}") == i
            world.brokers.kill(world.leader)
            await asyncio.sleep(10)
            assert await world.read() == [f"{each}" for each in range(i + 1)]
            world.brokers.heal()
            await asyncio.sleep(1)

    course(work)


def test_without_enough_replicas_nothing_is_taken_and_with_them_it_goes_on() -> None:
    async def work(world: World) -> None:
        for node in {1, 2, 3} - {world.leader}:
            world.brokers.shut_down(node)
        with pytest.raises(NotWritten):
            await world.write(world.ann, "not taken")
        world.brokers.heal()
        await asyncio.sleep(1)
        await world.write(world.ann, "taken")
        assert await world.read() == ["taken"]

    course(work)


def test_just_after_a_change_of_leader_the_end_may_be_stale() -> None:
    async def work(world: World) -> None:
        world.brokers._replication_max = 1.0
        await world.write(world.ann, "first")
        world.brokers.shut_down(world.leader)
        reader = Reader(world.ann_cluster, TOPIC)
        assert await reader.ends([0]) == {0: 0}
        await asyncio.sleep(2)
        assert await reader.ends([0]) == {0: 1}
        await reader.close()

    course(work)


def test_a_place_that_a_new_leader_does_not_show_yet_is_waited_for() -> None:
    """A client took an event from a server that had read on before the old leader ended."""

    async def work(world: World) -> None:
        cluster = world.ann_cluster
        await world.brokers.create_topic(cluster.journal, 1, 3, {"min.insync.replicas": "2"})
        world.brokers._replication_max = 1.0
        written = await world.ann.write(cluster.journal, 0, [(None, fence.marker("ann"))])
        world.brokers.shut_down(world.brokers.partition(TopicPartition(cluster.journal, 0)).leader)
        tail = KafkaTail(cluster)
        assert await tail.ends({0: None}) == {0: written.offset}, "the end is stale"
        assert await tail.position(0, written.offset + 1) == fence.opened_by(written.offset)
        with pytest.raises(JournalUnavailable):  # a leader whose followers hang would show it later
            await tail.position(0, written.offset + 2)
        with pytest.raises(WrongPlace):
            await tail.position(0, written.offset + 20_000)
        await tail.close()

    course(work)


# --- days -------------------------------------------------------------------------------------------------------------

COMPACTED: Final = {
    "cleanup.policy": "compact",
    "segment.ms": str(round(HOUR * 1000)),
    "min.compaction.lag.ms": str(round(HOUR * 1000)),
    "delete.retention.ms": str(round(DAY * 1000)),
}


async def compacted(cluster: KafkaCluster) -> list[tuple[int, bytes, bytes | None]]:
    reader = Reader(cluster, TOPIC)
    try:
        end = (await reader.ends([0]))[0]
        return [
            (record.offset, record.key, record.value)
            async for records in read_compacted(reader, 0, end - 1)
            for record in records
        ]
    finally:
        await reader.close()


def test_of_a_key_the_newest_is_left_once_its_segment_is_closed_and_old_enough() -> None:
    async def work(world: World) -> None:
        for i in range(24):
            await world.write(world.ann, f"{i}", key=b"ann")
            await world.write(world.bob, f"{i}", key=b"bob")
            await asyncio.sleep(HOUR / 2)
        left = await compacted(world.ann_cluster)
        assert len(left) < 16
        assert [value for _, key, value in left if key == b"ann"][-1] == b"23"
        assert sorted({key for _, key, _ in left}) == [b"ann", b"bob"]

    course(work, COMPACTED)


def test_without_a_closed_segment_nothing_is_compacted_however_long_it_lasts() -> None:
    async def work(world: World) -> None:
        for i in range(100):
            await world.write(world.ann, f"{i}", key=b"ann")
            await asyncio.sleep(HOUR)
        assert len(await compacted(world.ann_cluster)) == 100

    course(work, {**COMPACTED, "segment.ms": str(round(7 * DAY * 1000))})


def test_a_deletion_is_seen_for_a_day_and_then_goes_too() -> None:
    async def work(world: World) -> None:
        await world.write(world.ann, "hers", key=b"ann")
        await world.ann.write(TOPIC, 0, [(b"ann", None)])
        seen: list[int] = []
        for hour in range(40):
            await asyncio.sleep(HOUR)
            await world.write(world.bob, f"{hour}", key=b"bob")
            seen.append(sum(key == b"ann" for _, key, _ in await compacted(world.ann_cluster)))
        assert seen[0] == 2
        assert set(seen[4:24]) == {1}
        assert seen[-1] == 0

    course(work, COMPACTED)


def test_what_is_too_old_is_forgotten_and_nobody_can_read_it() -> None:
    async def work(world: World) -> None:
        for i in range(10):
            await world.write(world.ann, f"{i}")
            await asyncio.sleep(HOUR)
        reader = Reader(world.ann_cluster, TOPIC)
        consumer = await reader._started()
        first = (await consumer.beginning_offsets([AT]))[AT]
        await reader.close()
        assert 5 < first < 10
        assert await world.read(first) == [f"{i}" for i in range(first, 10)]

    course(work, {"segment.ms": "1000", "retention.ms": str(round(2 * HOUR * 1000))})


# --- the seed ---------------------------------------------------------------------------------------------------------


def weather(seed: int) -> tuple[list[str], int]:
    """The log after a minute in which brokers and the network fail as the seed says."""
    found: list[str] = []

    async def work(world: World) -> None:
        network, chance = world.brokers.network, world.brokers.random
        network.delay_max, network.unanswered, network.late = 0.2, 0.1, 0.05
        world.brokers._replication_max = 0.3
        writers = [asyncio.ensure_future(_keep_writing(world, name)) for name in ("ann", "bob")]
        for _ in range(12):
            await asyncio.sleep(5)
            node = chance.choice([1, 2, 3])
            chance.choice([world.brokers.kill, world.brokers.pause, world.brokers.shut_down])(node)
            await asyncio.sleep(chance.uniform(0, 10))
            world.brokers.start(node)
            world.brokers.resume(node)
        for writer in writers:
            writer.cancel()
        world.brokers.heal()
        await asyncio.sleep(30)
        found.extend(await world.read())

    return found, course(work, seed=seed).trace


acknowledged: dict[str, int] = {}


async def _keep_writing(world: World, name: str) -> None:
    producer = Producer(world._cluster(name))
    number = 0
    while True:
        number += 1
        try:
            acknowledged[f"{name} {number}"] = await world.write(producer, f"{name} {number}")
        except NotWritten:
            continue


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_is_the_same_log_in_which_all_that_was_acknowledged_stands(seed: int) -> None:
    acknowledged.clear()
    found, trace = weather(seed)
    assert len(acknowledged) > 20
    for text, offset in acknowledged.items():
        assert found[offset] == text
    assert len(found) == len(set(found)), "an idempotent producer's batch stands there twice"
    assert weather(seed) == (found, trace)
