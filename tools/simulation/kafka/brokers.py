"""The brokers: nodes that are up, down or stopped; the topics on them; and how requests are served."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    NotCoordinatorForGroupError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    OffsetOutOfRangeError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
)

from tools.simulation.kafka.groups import Group
from tools.simulation.kafka.network import Connection, Fate, Network, Reply, Request
from tools.simulation.kafka.partitions import DEFAULTS, Appended, Entry, Numbered, Partition, Stored
from tools.simulation.threads import Loop

_EARLIEST: Final = -2
_CATCH_UP_SECONDS: Final = 0.5

T = TypeVar("T")


class Fetched(NamedTuple):
    """``committed``: where the partition ends for consumers. ``error``: instead of records."""

    records: list[Stored]
    committed: int
    error: KafkaError | None = None


@dataclass(eq=False)
class _Node:
    """``fenced``: the controller has missed it for so long that others lead where it led."""

    number: int
    up: bool = True
    paused: bool = False
    fenced: bool = False
    held: list[Callable[[], None]] = field(default_factory=list)
    serving: dict["asyncio.Task[None] | None", None] = field(default_factory=dict)
    absence: asyncio.TimerHandle | None = None

    @property
    def works(self) -> bool:
        return self.up and not self.paused


@dataclass
class _Topic:
    settings: dict[str, str]
    partitions: list[Partition]

    def copy(self) -> "_Topic":
        settings = dict(self.settings)
        return _Topic(settings, [each.copy(settings) for each in self.partitions])


class Copy(NamedTuple):
    """A copy of the brokers' data."""

    topics: dict[str, _Topic]


class Brokers:
    """All servers of a cluster, on one event loop with its time.

    ``session_seconds``: after so much silence of a node, others lead where it led. ``replication_max``: the most
    seconds in which a follower fetches new records.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        nodes: int = 3,
        seed: int = 0,
        session_seconds: float = 6.0,
        replication_max: float = 0.0,
        group_delay_seconds: float = 0.0,
    ) -> None:
        assert isinstance(loop, Loop)
        self.loop = loop
        self.random = random.Random(seed)
        self.network = Network(loop, self.random)
        self._session_seconds = session_seconds
        self._replication_max = replication_max
        self._group_delay_seconds = group_delay_seconds
        self._nodes = {number: _Node(number) for number in range(1, nodes + 1)}
        self._topics: dict[str, _Topic] = {}
        self._groups: dict[str, Group] = {}
        self._coordinator = 1
        self._producers = 0
        self.given: Counter[tuple[str, str]] = Counter()  # records, by client and topic

    # --- the way in: from any loop ------------------------------------------------------------------------------------

    async def ask(
        self, client: str, node: int, connection: Connection, request: Callable[[], Awaitable[T]], seconds: float
    ) -> T:
        """On the client's loop. Raises what the request raises; KafkaConnectionError; RequestTimedOutError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        reply = Reply(loop, answer)
        self.network.pass_on(client, node, connection, lambda fate: self._take(client, node, fate, request, reply))
        late = RequestTimedOutError(f"node {node} did not answer within {seconds:g} s")
        timer = loop.call_later(seconds, lambda: None if answer.done() else answer.set_exception(late))
        try:
            return await answer
        finally:
            timer.cancel()

    def _take(self, client: str, number: int, fate: Fate, request: Request, reply: Reply[Any]) -> None:
        node = self._nodes[number]
        if not node.up:
            reply.fail(KafkaConnectionError(f"node {number} refuses the connection"))
        elif node.paused:
            node.held.append(lambda: self._take(client, number, fate, request, reply))
        else:
            node.serving[self.loop.create_task(self._serve(client, node, fate, request, reply))] = None

    async def _serve(self, client: str, node: _Node, fate: Fate, request: Request, reply: Reply[Any]) -> None:
        try:
            answer = await request()
        except asyncio.CancelledError:
            reply.fail(KafkaConnectionError(f"node {node.number} has died"))
            raise
        except KafkaError as error:
            failure = error

            def give() -> None:
                reply.fail(failure)
        else:

            def give() -> None:
                reply.give(answer)

        finally:
            node.serving.pop(asyncio.current_task(), None)
        self._answer(client, node, fate, give, reply)

    def _answer(self, client: str, node: _Node, fate: Fate, give: Callable[[], None], reply: Reply[Any]) -> None:
        if node.paused:
            node.held.append(lambda: self._answer(client, node, fate, give, reply))
        else:
            self.network.give_back(client, node.number, fate, give, reply)

    # --- what nodes do when they are asked ----------------------------------------------------------------------------

    @property
    def nodes(self) -> list[int]:
        return list(self._nodes)

    async def leaders(self, topic: str) -> dict[int, int]:
        """By partition; -1 for none. Empty for a topic that does not exist."""
        known = self._topics.get(topic)
        return {} if known is None else {number: each.leader for number, each in enumerate(known.partitions)}

    async def producer_id(self) -> int:
        self._producers += 1
        return self._producers

    async def produce(
        self, node: int, at: TopicPartition, entries: Sequence[Entry], numbered: Numbered, seconds: float
    ) -> Appended:
        """Append with acks=all. Raises aiokafka's errors for the brokers' answers."""
        partition = self._led(node, at)
        partition.log.tidy(self._now, partition.committed)
        if not partition.enough:
            raise NotEnoughReplicasError(str(at))
        epoch = partition.epoch
        appended = partition.log.append(entries, self._now, numbered)
        self._replicate(partition)
        until = self.loop.time() + seconds
        while partition.committed < appended.end:
            if partition.epoch != epoch:
                raise NotLeaderForPartitionError(str(at))
            if not partition.enough:
                raise NotEnoughReplicasAfterAppendError(str(at))
            if not await self._wait_for_more([partition], until):
                raise RequestTimedOutError(str(at))
        if partition.epoch != epoch:
            raise NotLeaderForPartitionError(str(at))
        return appended

    async def fetch(
        self, node: int, offsets: Mapping[TopicPartition, int], bytes_max: int, seconds: float
    ) -> dict[TopicPartition, Fetched]:
        """Returns as soon as there are records, or an error; after ``seconds`` at the latest."""
        until = self.loop.time() + seconds
        while True:
            found = {at: self._fetched(node, at, offset, bytes_max) for at, offset in offsets.items()}
            if any(each.records or each.error for each in found.values()):
                return found
            if not await self._wait_for_more([self.partition(at) for at in offsets], until):
                return found

    async def list_offsets(self, node: int, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """The beginnings (-2) or ends (-1) of partitions for consumers. Just after a change of leader the end may be
        stale."""
        found: dict[TopicPartition, int] = {}
        for at, when in times.items():
            partition = self._led(node, at)
            partition.log.tidy(self._now, partition.committed)
            found[at] = partition.log.start if when == _EARLIEST else partition.committed
        return found

    async def coordinator(self, group: str) -> int:
        """Raises CoordinatorNotAvailableError."""
        if self._nodes[self._coordinator].fenced:
            raise CoordinatorNotAvailableError(group)
        return self._coordinator

    def group(self, node: int, name: str) -> Group:
        """Raises NotCoordinatorForGroupError."""
        if node != self._coordinator:
            raise NotCoordinatorForGroupError(name)
        return self._groups.setdefault(name, Group(self.loop, self._group_delay_seconds))

    # --- topics -------------------------------------------------------------------------------------------------------

    async def create_topic(self, name: str, partitions: int, replicas: int, settings: Mapping[str, str]) -> bool:
        """Returns True if the topic was made, False if it exists."""
        if name in self._topics:
            return False
        changed = {**DEFAULTS, **settings}
        nodes = list(self._nodes)
        placed = [[nodes[(number + i) % len(nodes)] for i in range(replicas)] for number in range(partitions)]
        self._topics[name] = _Topic(changed, [Partition(changed, each) for each in placed])
        living = self._living()
        for partition in self._topics[name].partitions:
            partition.in_sync &= living or partition.in_sync
            partition.elect(living)
        return True

    async def delete_topic(self, name: str) -> None:
        """Raises UnknownTopicOrPartitionError."""
        if self._topics.pop(name, None) is None:
            raise UnknownTopicOrPartitionError(name)

    async def topic(self, name: str) -> list[Partition] | None:
        known = self._topics.get(name)
        return None if known is None else known.partitions

    async def settings(self, name: str) -> dict[str, str]:
        """Raises UnknownTopicOrPartitionError."""
        if name not in self._topics:
            raise UnknownTopicOrPartitionError(name)
        return dict(self._topics[name].settings)

    async def alter_settings(self, name: str, settings: Mapping[str, str]) -> None:
        """Settings that are not given become the defaults again. Raises UnknownTopicOrPartitionError."""
        if name not in self._topics:
            raise UnknownTopicOrPartitionError(name)
        known = self._topics[name].settings
        known.clear()
        known.update({**DEFAULTS, **settings})

    async def delete_records(self, at: TopicPartition, before: int) -> None:
        """Raises UnknownTopicOrPartitionError."""
        self.partition(at).log.trim(before)

    def partition(self, at: TopicPartition) -> Partition:
        """Raises UnknownTopicOrPartitionError."""
        topic = self._topics.get(at.topic)
        if topic is None or not 0 <= at.partition < len(topic.partitions):
            raise UnknownTopicOrPartitionError(str(at))
        partition: Partition = topic.partitions[at.partition]
        return partition

    def copy(self) -> Copy:
        """The data on the disks of all brokers at this moment."""
        return Copy({name: topic.copy() for name, topic in self._topics.items()})

    def put_back(self, copied: Copy) -> None:
        """Stands in for what is there; the brokers are down. Of members they know nothing then."""
        assert not any(node.up for node in self._nodes.values()), "the brokers must be stopped"
        self._topics = {name: topic.copy() for name, topic in copied.topics.items()}
        self._groups.clear()

    async def close(self) -> None:
        for node in self._nodes.values():
            serving = [task for task in node.serving if task is not None]
            self.kill(node.number)
            if serving:
                await asyncio.wait(serving)

    # --- faults: on the brokers' loop ---------------------------------------------------------------------------------

    def kill(self, number: int) -> None:
        """At once. What it had in hand is lost to the people who wait for it; the others miss it after a while."""
        node = self._nodes[number]
        node.up, node.paused = False, False
        node.held.clear()
        for task in node.serving:
            if task is not None:
                task.cancel()
        node.serving = {}
        self._missed_later(node)

    def shut_down(self, number: int) -> None:
        """In order: others lead before it ends."""
        self.kill(number)
        self._fence(self._nodes[number])

    def pause(self, number: int) -> None:
        """It does nothing until ``resume``, as in a long stop of its process; what it is sent waits there."""
        node = self._nodes[number]
        if node.works:
            node.paused = True
            self._missed_later(node)

    def resume(self, number: int) -> None:
        node = self._nodes[number]
        if not node.paused:
            return
        node.paused = False
        held, node.held = node.held, []
        self._back(node)
        for each in held:
            each()

    def start(self, number: int) -> None:
        node = self._nodes[number]
        if not node.up:
            node.up = True
            self._back(node)

    def heal(self) -> None:
        """Every node works, and everything that is sent arrives."""
        for number in self._nodes:
            self.start(number)
            self.resume(number)
        self.network.heal()

    def _missed_later(self, node: _Node) -> None:
        if node.absence is None and not node.fenced:
            node.absence = self.loop.call_later(self._session_seconds, self._fence, node)

    def _fence(self, node: _Node) -> None:
        if node.absence is not None:
            node.absence.cancel()
            node.absence = None
        node.fenced = True
        living = self._living()
        for partition in self._partitions():
            if len(partition.in_sync) > 1:
                partition.in_sync.discard(node.number)
            partition.elect(living)
            self._replicate(partition)
            partition.wake()
        if self._coordinator == node.number and living:
            self._coordinator = min(living)
            for group in self._groups.values():
                group.coordinator_moved()

    def _back(self, node: _Node) -> None:
        if node.absence is not None:
            node.absence.cancel()
            node.absence = None
        node.fenced = False
        living = self._living()
        if self._nodes[self._coordinator].fenced:
            self._coordinator = node.number
            for group in self._groups.values():
                group.coordinator_moved()
        for partition in self._partitions():
            partition.elect(living)
            self._replicate(partition)
            partition.wake()
        self.loop.call_later(self._catch_up_seconds(), self._catch_up, node)

    def _catch_up(self, node: _Node) -> None:
        """Fetch what it missed; from then on it is in sync. Without a leader it waits for one."""
        waits = False
        for partition in self._partitions():
            if not node.works or node.number not in partition.replicas:
                continue
            if partition.leader < 0 or not self._nodes[partition.leader].works:
                waits = True
                continue
            if partition.leader != node.number:
                partition.fetched_by(node.number)
            partition.in_sync.add(node.number)
            partition.wake()
        if waits:
            self.loop.call_later(_CATCH_UP_SECONDS, self._catch_up, node)

    def _catch_up_seconds(self) -> float:
        return self.random.uniform(0, _CATCH_UP_SECONDS) if self._replication_max else 0.0

    def _living(self) -> set[int]:
        return {number for number, node in self._nodes.items() if not node.fenced}

    def _partitions(self) -> list[Partition]:
        return [partition for topic in self._topics.values() for partition in topic.partitions]

    # --- replication --------------------------------------------------------------------------------------------------

    @property
    def _now(self) -> int:
        return round(time.time() * 1000)

    def _led(self, node: int, at: TopicPartition) -> Partition:
        """Raises NotLeaderForPartitionError, UnknownTopicOrPartitionError."""
        partition = self.partition(at)
        if partition.leader != node:
            raise NotLeaderForPartitionError(str(at))
        return partition

    def _fetched(self, node: int, at: TopicPartition, offset: int, bytes_max: int) -> Fetched:
        try:
            partition = self._led(node, at)
            partition.log.tidy(self._now, partition.committed)
            return Fetched(partition.log.read(offset, partition.committed, bytes_max), partition.committed)
        except KafkaError as error:
            return Fetched([], -1 if not isinstance(error, OffsetOutOfRangeError) else 0, error)

    def _replicate(self, partition: Partition) -> None:
        """Followers fetch what the leader has got; once all that are in sync have it, it is committed."""
        if partition.leader < 0:
            return
        partition.replicas[partition.leader].end = partition.log.end
        if self._replication_max:
            for node in partition.replicas:
                if node != partition.leader:
                    wait = self.random.uniform(0, self._replication_max)
                    self.loop.call_later(wait, self._follow, partition, node, partition.epoch)
            if partition.in_sync == {partition.leader}:
                self._commit(partition)
            return
        for _ in range(2):  # the second time they hear what is committed
            for node in partition.replicas:
                self._follow(partition, node, partition.epoch)
            self._commit(partition)

    def _follow(self, partition: Partition, node: int, epoch: int) -> None:
        leads = partition.epoch == epoch and partition.leader >= 0 and self._nodes[partition.leader].works
        if leads and node != partition.leader and self._nodes[node].works:
            partition.fetched_by(node)
            self._commit(partition)

    def _commit(self, partition: Partition) -> None:
        if partition.commit():
            partition.wake()

    async def _wait_for_more(self, partitions: Sequence[Partition], until: float) -> bool:
        """Wait until something is committed in one of them, or a leader changes. False once it is too late."""
        if self.loop.time() >= until:
            return False
        waiting: asyncio.Future[None] = self.loop.create_future()
        timer = self.loop.call_at(until, lambda: None if waiting.done() else waiting.set_result(None))
        for partition in partitions:
            partition.watched_by[waiting] = None
        try:
            await waiting
        finally:
            timer.cancel()
            for partition in partitions:
                partition.watched_by.pop(waiting, None)
        return self.loop.time() < until
