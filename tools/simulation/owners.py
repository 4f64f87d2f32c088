"""Owners of partitions on simulated brokers, and nothing else: no edge, no tables, no group.

Shards with their own code down to the clients of Kafka; who should own what, the schedule says. So partitions come and
go within moments, and hours pass in which topics are compacted. People who ask again until they know hear things;
at the end that is held against the log, as are the places of the log that streams would continue from.
"""

import asyncio
import logging
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from aiokafka import TopicPartition
from aiokafka.structs import RecordMetadata

from falcon.adapters.kafka import fence, topics
from falcon.adapters.kafka.journal import KafkaJournal
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.producer import Producer, Record
from falcon.adapters.kafka.snapshots import KafkaSnapshots
from falcon.adapters.kafka.source import KafkaSource
from falcon.adapters.kafka.tail import KafkaTail
from falcon.adapters.sqlite.snapshot_cache import LocalSnapshotCache
from falcon.features.catalogue import Command
from falcon.features.messages.rules import MessageAnswer, MessagePosted, PostMessage
from falcon.features.rooms.rules import CreateRoom, PutMember, RoomAnswer
from falcon.journal.envelope import Position, Recorded
from falcon.telemetry.dispatchers import Dispatcher
from falcon.write.clock import SystemClock
from falcon.write.limits import ShardLimits
from falcon.write.protocol import Accepted, BatchReply, CommandBatch, CommandEnvelope, Rejected, Reply, Unavailable
from falcon.write.shard import Shard
from tools.harness.in_memory import folder_in_memory
from tools.harness.waiting import eventually_within
from tools.simulation.course import Outcome
from tools.simulation.http import network_loop
from tools.simulation.kafka.brokers import Brokers
from tools.simulation.kafka.cluster import SimulatedCluster
from tools.simulation.kafka.partitions import Appended, Entry, Numbered
from tools.simulation.threads import Process, Simulation

_PARTITIONS: Final = 3
_OWNERS: Final = 2
_ANN: Final = 1_000
_ROOMS: Final = 2  # of each partition
_APPEND_SECONDS: Final = 3.0  # after which a write is of unknown outcome
_TICK_SECONDS: Final = 0.1
_TURNS: Final = (10, 30)
_NIGHTS: Final = 6
_TURNS_A_DAY: Final = (4, 8)
_SNAPSHOTS_MAX: Final = 110  # 33 to 70 are alive; 200 and more are there if nothing old is compacted
_SETTLE_SECONDS: Final = 120.0
_LIMITS: Final = ShardLimits(
    checkpoint_events=4, checkpoint_seconds=2.0, passivate_seconds=1.0, hot_aggregates=2, refusal_age_seconds=1.0
)
_CHECKPOINTED_SECONDS: Final = 2.5  # after which all that was said is in a checkpoint
_REFUSAL_AGE_SECONDS: Final = 1.2  # older than a state may be that a refusal rests on
_CLEANED_SECONDS: Final = 20.0  # from one look of the brokers' cleaner to the next
_FOREIGN: Final = b"not Falcon's"
_WRITTEN_TWICE: Final = 0.1  # of the batches, where some are; a marker gets between two copies now and then
_BETWEEN_COPIES_SECONDS: Final = 1.0


@dataclass(eq=False)
class _Hanging:
    """A batch for ``at`` that is not written before ``over``; or it is ``written`` at once, and its answer hangs.

    ``checkpoint``: no other batch does. ``met``: there was one.
    """

    at: TopicPartition
    written: bool
    checkpoint: bool
    over: asyncio.Event = field(default_factory=asyncio.Event)
    met: bool = False

    def meets(self, at: TopicPartition, entries: Sequence[Entry]) -> bool:
        last = entries[-1].key or b""
        return not self.met and at == self.at and (not self.checkpoint or last.endswith(b"/checkpoint"))


class _Brokers(Brokers):
    """A batch may hang there, while what is sent after it passes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        super().__init__(loop, seed=seed, replication_max=0.005)
        self._hanging: list[_Hanging] = []

    def hang(self, at: TopicPartition, *, written: bool = False, checkpoint: bool = False) -> _Hanging:
        """The next such batch hangs until it is let go."""
        hanging = _Hanging(at, written, checkpoint)
        self._hanging.append(hanging)
        return hanging

    def let_go(self, *hanging: _Hanging) -> None:
        for each in hanging:
            self._hanging.remove(each)
            self.loop.call_soon_threadsafe(each.over.set)

    async def produce(
        self, node: int, at: TopicPartition, entries: Sequence[Entry], numbered: Numbered, seconds: float
    ) -> Appended:
        hanging = next((each for each in self._hanging if each.meets(at, entries)), None)
        if hanging is None:
            return await super().produce(node, at, entries, numbered, seconds)
        hanging.met = True
        if not hanging.written:
            await hanging.over.wait()
        appended = await super().produce(node, at, entries, numbered, seconds)
        await hanging.over.wait()
        return appended


class _Stutter(Producer):
    """Deduplication that fails: some batches are written twice, markers too, and the answer is that of either copy."""

    def __init__(self, cluster: SimulatedCluster, seed: str) -> None:
        super().__init__(cluster)
        self._random = random.Random(seed)

    async def write(self, topic: str, partition: int, records: Sequence[Record]) -> RecordMetadata:
        written = [await super().write(topic, partition, records)]
        if self._random.random() < _WRITTEN_TWICE:
            await asyncio.sleep(self._random.choice([0.0, self._random.uniform(0, _BETWEEN_COPIES_SECONDS)]))
            written.append(await super().write(topic, partition, records))
        return self._random.choice(written)


class _Assigned:
    """Ownership, as the schedule says."""

    reclaims = True

    def __init__(self, partitions: Collection[int]) -> None:
        self._partitions = frozenset(partitions)
        self.assignments = 1
        self.came: Counter[int] = Counter(self._partitions)  # how often each partition did

    def assign(self, partitions: Collection[int]) -> None:
        self.came.update(frozenset(partitions) - self._partitions)
        self._partitions = frozenset(partitions)
        self.assignments += 1

    @property
    def assigned(self) -> Collection[int]:
        return self._partitions

    def doubt(self) -> None:
        """It is asked, and hears the same."""
        self.assignments += 1

    def opened(self, epochs: Mapping[int, int]) -> None:
        """The people know."""

    def leave(self) -> None:
        """Does not wait."""

    def close(self) -> None:
        """Does not wait."""


@dataclass(eq=False)
class _Owner:
    process: Process
    ownership: _Assigned
    commands: deque[CommandBatch] = field(default_factory=deque)
    woken: threading.Event = field(default_factory=threading.Event)

    def send(self, batch: CommandBatch) -> None:
        self.commands.append(batch)
        self.woken.set()


@dataclass(eq=False)
class _Intent:
    """A command that a client wants done once. ``told``: the answer to each attempt, None for none yet. ``asked``: the
    owner of each attempt. ``meek``: the client takes a refusal for the end.

    ``stays``: with which owner the partition was at each attempt, and for which time. ``over``: its key is forgotten,
    or it has none. ``by``: whose it is.
    """

    key: str
    command: Command
    partition: int
    meek: bool
    told: list[Reply | None] = field(default_factory=list)
    asked: list[_Owner] = field(default_factory=list)
    stays: set[tuple[str, int]] = field(default_factory=set)
    over: bool = False
    by: int = _ANN

    @property
    def definite(self) -> list[Accepted | Rejected]:
        return [reply for reply in self.told if isinstance(reply, Accepted | Rejected)]

    @property
    def refused(self) -> bool:
        """One and the same owner has had it all the time, and says in the end that nothing was done."""
        last = self.told[-1] if self.told else None
        return isinstance(last, Unavailable) and last.reason in ("expired", "overloaded", "unavailable")

    @property
    def not_done(self) -> bool:
        """It was asked once, of an owner that says that it has not done it and does not own the partition."""
        return len(self.told) == 1 and isinstance(self.told[0], Unavailable) and self.told[0].reason == "not_mine"

    @property
    def settled(self) -> bool:
        return bool(self.definite) or (self.meek and self.refused)


class Owners:
    """``violations``: what was found to be wrong at the end of ``run``. ``twice``: some batches are written twice."""

    def __init__(self, simulation: Simulation, folder: Path, seed: int, *, twice: bool = False) -> None:
        self.violations: list[str] = []
        self._seed = seed
        self._twice = twice
        self._simulation = simulation
        self._folder = folder
        self._random = random.Random(f"owners {seed}")
        self._owners: list[_Owner] = []
        self._intents: list[_Intent] = []
        self._rooms: dict[int, list[int]] = defaultdict(list)
        self._batches: dict[int, list[tuple[_Intent, int]]] = {}
        self._born = 0
        self._guests = 0

    async def run(self, nights: int) -> None:
        self._brokers = _Brokers(network_loop(self._simulation, Process("kafka")), seed=self._random.randrange(2**32))
        self._brokers.network.delay_max = 0.002
        await topics.prepare(self._cluster("prepare"), 3)
        for _ in range(_OWNERS):
            self._bear(())
        self._share()
        for partition in range(_PARTITIONS):
            for number in range(_ROOMS):
                await self._open_room(partition, number)
        for _ in range(self._random.randint(*_TURNS)):
            await self._turn()
        for _ in range(nights):
            await (self._night if self._random.random() < 0.5 else self._late_snapshot)()
            for _ in range(self._random.randint(*_TURNS_A_DAY)):
                await self._turn()
        if nights:
            await self._judge_snapshots()
        await self._heal()
        self._end_owners()
        await asyncio.to_thread(self._judge_log)
        await self._judge_places()

    def _cluster(self, client: str) -> SimulatedCluster:
        return SimulatedCluster(
            ("kafka:1",), _PARTITIONS, servers=self._brokers, client=client, append_seconds=_APPEND_SECONDS
        )

    # --- owners -------------------------------------------------------------------------------------------------------

    def _bear(self, partitions: Collection[int]) -> _Owner:
        self._born += 1
        owner = _Owner(Process(f"owner-{self._born}"), _Assigned(partitions))
        self._owners.append(owner)
        self._simulation.spawn(partial(self._live, owner), owner.process.name, owner.process)
        return owner

    def _live(self, owner: _Owner) -> None:
        name = owner.process.name
        cluster, loop, wake = self._cluster(name), LoopThread(), owner.woken.set
        producer = _Stutter(cluster, f"{name} {self._seed}") if self._twice else Producer(cluster)
        clock = SystemClock()
        snapshots = KafkaSnapshots(cluster, producer, LocalSnapshotCache(self._folder / f"{name}.db"))
        recoveries, retries = Dispatcher("recovery", threads=1, queue=1), Dispatcher("retries", threads=1, queue=1)

        def on(dispatcher: Dispatcher, job: partial[None]) -> None:
            def run() -> None:
                job()
                wake()

            dispatcher.submit(run)

        shard = Shard(
            owner.ownership,
            KafkaJournal(cluster, loop, producer, snapshots, clock, wake),
            KafkaSource(cluster, loop),
            snapshots,
            clock,
            _LIMITS,
            name,
            reply=self._told,
            recovery_source=KafkaSource(cluster, loop),
            background=partial(on, recoveries),
            reading=partial(on, retries),
        )
        shard.start()
        ticked = time.monotonic()
        while True:
            owner.woken.wait(_TICK_SECONDS)
            owner.woken.clear()
            while owner.commands:
                shard.execute(owner.commands.popleft())
            shard.drain()
            if time.monotonic() - ticked >= _TICK_SECONDS:
                ticked = time.monotonic()
                shard.tick()

    def _told(self, batch: BatchReply) -> None:
        for index, reply in batch.replies:
            intent, place = self._batches[batch.number][index]
            intent.told[place] = reply

    def _share(self) -> None:
        """Each partition is assigned to one owner."""
        shares: list[set[int]] = [set() for _ in self._owners]
        for partition in range(_PARTITIONS):
            shares[self._random.randrange(len(shares))].add(partition)
        for owner, share in zip(self._owners, shares, strict=True):
            owner.ownership.assign(share)
            owner.woken.set()

    def _give(self, owner: _Owner, partitions: Collection[int], rest: _Owner) -> None:
        """Some to one, and all others to another."""
        for each in self._owners:
            if each not in (owner, rest):
                each.ownership.assign(())
        others = frozenset(range(_PARTITIONS)) - frozenset(partitions)
        for each, share in ((rest, others), (owner, partitions)):
            each.ownership.assign(share)
            each.woken.set()

    def _owner_of(self, partition: int) -> _Owner:
        return next(owner for owner in self._owners if partition in owner.ownership.assigned)

    # --- what people do -----------------------------------------------------------------------------------------------

    async def _open_room(self, partition: int, number: int) -> None:
        intent = self._want(CreateRoom(_ANN, f"Room {number}"), partition, meek=False)
        await self._insist(intent)
        (answer, *_) = intent.definite
        assert isinstance(answer, Accepted)
        assert isinstance(answer.answer, RoomAnswer)
        self._rooms[partition].append(answer.answer.room_id)

    def _want(self, command: Command, partition: int, *, meek: bool) -> _Intent:
        intent = _Intent(f"key {len(self._intents)}", command, partition, meek)
        self._intents.append(intent)
        return intent

    def _post(self) -> None:
        partition = self._random.randrange(_PARTITIONS)
        room = self._random.choice(self._rooms[partition])
        self._ask(self._message(partition, room, meek=self._random.random() < 0.3))
        if self._twice:
            self._ask_once(partition, room)

    def _ask_once(self, partition: int, room: int) -> None:
        """Without a key, and never again: who hears that nothing was done takes that for the end."""
        text = f"once {len(self._intents)}"
        asked = _Intent("", PostMessage(_ANN, room, text), partition, meek=True, over=True)
        self._intents.append(asked)
        self._ask(asked)

    def _message(self, partition: int, room: int, *, meek: bool = False) -> _Intent:
        return self._want(PostMessage(_ANN, room, f"message {len(self._intents)}"), partition, meek=meek)

    def _ask(self, intent: _Intent, owner: _Owner | None = None) -> None:
        self._ask_for([intent], owner or (intent.asked[-1] if intent.meek and intent.asked else None))

    def _ask_for(self, intents: Sequence[_Intent], owner: _Owner | None = None) -> None:
        """All at once, in one partition."""
        owner = owner or self._owner_of(intents[0].partition)
        number, deadline = len(self._batches) + 1, time.monotonic() + self._random.choice([0.3, 5.0])
        self._batches[number] = [(intent, len(intent.told)) for intent in intents]
        for intent in intents:
            intent.told.append(None)
            intent.asked.append(owner)
            intent.stays.add((owner.process.name, owner.ownership.came[intent.partition]))
        envelopes = [
            CommandEnvelope(intent.partition, intent.by, intent.command, deadline, intent.key or None, 1)
            for intent in intents
        ]
        owner.send(CommandBatch(number, envelopes))

    def _ask_again(self) -> None:
        """Retry commands of unknown outcome, and now and then one of known outcome."""
        known = [each for each in self._intents if not each.over]
        waiting = [each for each in known if not each.settled] or [each for each in known if not each.meek]
        if waiting:
            self._ask(self._random.choice(waiting))

    async def _insist(self, intent: _Intent, owner: _Owner | None = None) -> None:
        until = self._simulation.now + _SETTLE_SECONDS
        while not intent.settled and self._simulation.now < until:
            self._ask(intent, owner)
            await eventually_within(lambda: intent.told[-1] is not None, 6.0)
            await asyncio.sleep(0.05)
        if not intent.settled:
            self.violations.append(f"{intent.key} in partition {intent.partition} is not settled in time")

    # --- what happens -------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        for _ in range(self._random.randint(1, 6)):
            self._post()
        for _ in range(self._random.randint(0, 3)):
            self._ask_again()
        happenings = {
            self._quiet: 6.0,
            self._move: 6.0,
            self._kill: 1.0,
            self._stop: 2.0,
            self._cut: 2.0,
            self._trouble: 3.0,
            self._broker: 1.0,
            self._night: 1.0,
            self._topic: 0.5,
            self._depose: 0.5,
            self._late_checkpoint: 0.5,
        }
        [happening] = self._random.choices(list(happenings), list(happenings.values()))
        await happening()

    async def _quiet(self) -> None:
        await asyncio.sleep(self._random.choice([0.0, 0.02, 0.3, 2.0]))

    async def _move(self) -> None:
        self._share()
        await asyncio.sleep(self._random.choice([0.0, 0.05, 1.0, 4.0]))

    async def _kill(self) -> None:
        owner = self._random.choice(self._owners)
        self._owners.remove(owner)
        self._simulation.kill(owner.process)
        await asyncio.sleep(self._random.uniform(0, 0.5))
        self._bear(())
        self._share()

    async def _stop(self) -> None:
        """One is stopped, and others are assigned what it has; then it continues."""
        owner = self._random.choice(self._owners)
        self._simulation.stop(owner.process)
        await asyncio.sleep(self._random.uniform(0, 2))
        if self._random.random() < 0.7:
            self._share()
        await asyncio.sleep(self._random.uniform(0, 8))
        self._simulation.go_on(owner.process)

    async def _cut(self) -> None:
        """What it sends meanwhile arrives later: an append or a checkpoint of long ago."""
        owner, network = self._random.choice(self._owners), self._brokers.network
        nodes = self._random.sample(self._brokers.nodes, self._random.randint(1, 3))
        for node in nodes:
            self._brokers.loop.call_soon_threadsafe(network.cut, owner.process.name, node)
        await asyncio.sleep(self._random.uniform(0, 5))
        if self._random.random() < 0.5:
            self._share()
            await asyncio.sleep(self._random.uniform(0, 3))
        for node in nodes:
            self._brokers.loop.call_soon_threadsafe(network.join, owner.process.name, node)

    async def _trouble(self) -> None:
        network = self._brokers.network
        network.unanswered, network.late = self._random.uniform(0, 0.3), self._random.uniform(0, 0.3)
        network.late_seconds, network.delay_max = self._random.choice([1.0, 6.0]), 0.05
        for _ in range(self._random.randint(1, 6)):
            self._post()
            if self._random.random() < 0.4:
                self._share()
            await asyncio.sleep(self._random.uniform(0, 0.8))
        network.unanswered = network.late = 0.0
        network.delay_max = 0.002

    async def _broker(self) -> None:
        node = self._random.choice(self._brokers.nodes)
        self._brokers.loop.call_soon_threadsafe(self._random.choice([self._brokers.kill, self._brokers.pause]), node)
        await asyncio.sleep(self._random.uniform(0, 9))
        self._brokers.loop.call_soon_threadsafe(self._brokers.start, node)
        self._brokers.loop.call_soon_threadsafe(self._brokers.resume, node)

    async def _night(self) -> None:
        """All owners end, and hours pass in which topics are compacted and keys are forgotten."""
        for intent in self._intents:
            intent.over = True
        self._end_owners()
        self._owners.clear()
        await asyncio.sleep(self._random.uniform(4_000, 9_000))
        for _ in range(_OWNERS):
            self._bear(())
        self._share()
        await asyncio.sleep(self._random.uniform(0, 40))

    async def _topic(self) -> None:
        """One partition of the snapshots cannot be written, or not be read, while one new owner takes all over. The
        others must not suffer from that."""
        bad = self._random.randrange(_PARTITIONS)
        partition = self._brokers.partition(TopicPartition(self._cluster("").snapshots, bad))
        before = partition.leader
        if self._random.random() < 0.5:
            partition.leader = -1
        else:
            now = round(time.time() * 1000)
            partition.log.append([Entry(_FOREIGN, b"", now)], now)
            self._brokers._replicate(partition)
        gone = self._owners.pop()
        self._simulation.kill(gone.process)
        for owner in self._owners:
            owner.ownership.assign(())
        self._bear(range(_PARTITIONS))
        until = self._simulation.now + 20.0
        others = [each for each in range(_PARTITIONS) if each != bad]
        for each in others:
            intent = self._message(each, self._rooms[each][0])
            while not intent.settled and self._simulation.now < until:
                self._ask(intent)
                await asyncio.sleep(0.5)
            if not intent.settled:
                self.violations.append(f"partition {each} is not served while the snapshots of {bad} are in trouble")
        partition.leader = before
        for segment in partition.log._segments:
            segment.records = [record for record in segment.records if record.key != _FOREIGN]

    async def _depose(self) -> None:
        """A partition has a new owner, and the old one is not told. A guest, whom only the new one knows, asks the old
        one, and takes a refusal for final."""
        old, new = self._random.sample(self._owners, 2)
        self._give(old, range(_PARTITIONS), new)
        partition = self._random.randrange(_PARTITIONS)
        room = self._random.choice(self._rooms[partition])
        await self._insist(self._message(partition, room))
        await asyncio.sleep(self._random.uniform(0, 6))
        self._guests += 1
        guest = _ANN + self._guests
        new.ownership.assign({partition})
        await self._insist(self._want(PutMember(_ANN, room, guest, "member", True), partition, meek=False), new)
        await asyncio.sleep(_REFUSAL_AGE_SECONDS)
        asked = _Intent("", PostMessage(guest, room, f"guest {guest}"), partition, meek=True, over=True, by=guest)
        self._intents.append(asked)
        self._ask(asked, old)
        await asyncio.sleep(self._random.uniform(0, 3))
        self._share()

    async def _late_checkpoint(self) -> None:
        """The answer to an owner's checkpoint hangs, while the partition moves away, and comes when it is back.

        What the owner writes then passes the one that hangs: its producer is another one after a write that failed.
        """
        owner, other = self._random.sample(self._owners, 2)
        partition, failing = self._random.sample(range(_PARTITIONS), 2)
        room, another = self._random.sample(self._rooms[partition], 2)
        self._give(owner, range(_PARTITIONS), other)
        for number in (partition, failing):
            await self._insist(self._message(number, self._rooms[number][0]))
        await asyncio.sleep(_CHECKPOINTED_SECONDS)
        failed = self._brokers.hang(TopicPartition(self._cluster("").journal, failing))
        self._ask(self._message(failing, self._rooms[failing][0]))
        fails_at = self._simulation.now + _APPEND_SECONDS
        await asyncio.sleep(self._random.uniform(0.8, 1.8))
        late = self._hang_checkpoint(partition, written=True)
        self._say(partition, room)
        await asyncio.sleep(0.1)
        self._give(other, {partition}, owner)
        await self._insist(self._message(partition, room))
        self._say(partition, room)
        await asyncio.sleep(max(0.3, fails_at - self._simulation.now + 0.1))
        self._give(owner, range(_PARTITIONS), other)
        await self._insist(self._message(partition, another))
        self._brokers.let_go(failed, late)
        await asyncio.sleep(0.1)
        self._say(partition, room)
        await asyncio.sleep(self._random.uniform(0, 3))

    async def _late_snapshot(self) -> None:
        """A checkpoint that timed out gets in after newer ones, and the topic is compacted in the night."""
        partition = self._random.randrange(_PARTITIONS)
        room, another = self._random.sample(self._rooms[partition], 2)
        await self._insist(self._message(partition, room))
        await asyncio.sleep(_CHECKPOINTED_SECONDS)
        late = self._hang_checkpoint(partition, written=False)
        self._say(partition, room)
        await asyncio.sleep(_APPEND_SECONDS + self._random.uniform(1, 3))
        self._say(partition, room)
        await asyncio.sleep(_CHECKPOINTED_SECONDS)
        self._brokers.let_go(late)
        await asyncio.sleep(0.1)
        self._say(partition, another)
        await asyncio.sleep(_CHECKPOINTED_SECONDS)
        await self._night()
        await asyncio.sleep(_CLEANED_SECONDS)
        first, second = self._owners
        for owner in (first, second):
            self._give(owner, range(_PARTITIONS), second if owner is first else first)
            await self._insist(self._message(partition, another))
        self._say(partition, room)

    def _hang_checkpoint(self, partition: int, *, written: bool) -> _Hanging:
        at = TopicPartition(self._cluster("").snapshots, partition)
        return self._brokers.hang(at, written=written, checkpoint=True)

    def _say(self, partition: int, room: int) -> None:
        """Send so much at once that a checkpoint follows, which holds all of it."""
        self._ask_for([self._message(partition, room) for _ in range(_LIMITS.checkpoint_events)])

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        self._brokers.loop.call_soon_threadsafe(self._brokers.heal)
        for owner in self._owners:
            self._simulation.go_on(owner.process)
        await asyncio.sleep(1.0)
        self._share()
        for partition, rooms in self._rooms.items():
            for room in rooms:
                self._want(PostMessage(_ANN, room, f"last of {room}"), partition, meek=False)
        for intent in self._intents:
            if not (intent.meek or intent.over):
                await self._insist(intent)

    def _end_owners(self) -> None:
        for owner in self._owners:
            self._simulation.kill(owner.process)

    def _read(self, source: KafkaSource) -> list[Recorded]:
        cursor, end = dict.fromkeys(range(_PARTITIONS), Position()), source.end()
        events: list[Recorded] = []
        while any(cursor[partition].offset < end[partition].offset for partition in cursor):
            found, cursor = source.read(cursor, 1_000)  # type: ignore[assignment]
            events += found
        return events

    def _judge_log(self) -> None:
        loop = LoopThread()
        source = KafkaSource(self._cluster("audit"), loop)
        events = self._read(source)
        source.close()
        loop.close()
        posted = [each.envelope.event.message for each in events if isinstance(each.envelope.event, MessagePosted)]
        for room in (room for rooms in self._rooms.values() for room in rooms):
            seqs = [message.seq for message in posted if message.room_id == room]
            if seqs != list(range(1, len(seqs) + 1)):
                self.violations.append(f"room {room} has the seqs {seqs}")
        texts = {message.text: message for message in posted}
        if len(texts) != len(posted):
            self.violations.append("a message was posted twice")
        keys = {each.envelope.command.key for each in events if each.envelope.command is not None}
        for intent in self._intents:
            self._judge_intent(intent, keys)
            for reply in intent.definite:
                if isinstance(reply, Accepted) and isinstance(reply.answer, MessageAnswer):
                    told = reply.answer.message
                    if texts.get(told.text) != told:
                        self.violations.append(f"{told.text} was acknowledged, and the log has {texts.get(told.text)}")
                elif isinstance(reply, Rejected):
                    self.violations.append(f"{intent.key or intent.command} was refused for good: {reply.rejection}")
            if isinstance(intent.command, PostMessage) and intent.not_done and intent.command.text in texts:
                self.violations.append(f"{intent.command.text}: the owner said that nothing was done, and it is there")

    def _judge_intent(self, intent: _Intent, keys: Collection[str]) -> None:
        if not intent.meek or intent.definite or intent.key not in keys or len(intent.stays) > 1:
            return
        if intent.refused and all(not isinstance(e, Unavailable) or e.reason != "not_mine" for e in intent.told):
            self.violations.append(f"{intent.key} was refused ({intent.told[-1]}) by the owner that had done it")

    async def _judge_snapshots(self) -> None:
        """After two more nights, in which everything old is compacted."""
        for _ in range(2):
            await self._night()
            await asyncio.sleep(60.0)
        for partition in range(_PARTITIONS):
            at = TopicPartition(self._cluster("").snapshots, partition)
            records = self._brokers.partition(at).log.read(0, 10**9, 10**9)
            if len(records) > _SNAPSHOTS_MAX:
                self.violations.append(f"a takeover of partition {partition} reads {len(records)} records")

    async def _judge_places(self) -> None:
        """A reader that continues from an offset has the position there of one that reads the log from its start."""
        cluster = self._cluster("audit")
        tail = KafkaTail(cluster)
        for partition in range(_PARTITIONS):
            position, stood = Position(), {0: Position()}
            records = self._brokers.partition(TopicPartition(cluster.journal, partition)).log.read(0, 10**9, 10**9)
            for record in records:
                position, _ = fence.judge(position, record.value or b"")
                stood[position.offset] = position
            for offset in self._random.sample(sorted(stood), min(25, len(stood))):
                found = await tail.position(partition, offset)
                if found != stood[offset]:
                    self.violations.append(
                        f"partition {partition}: who reads up to offset {offset} stands at {stood[offset]}, "
                        f"and who goes on there at {found}"
                    )
        await tail.close()


def explore(outcome: Outcome, folder: Path) -> None:
    """Days, nights, and days on which some batches are written twice: one schedule each in turn."""
    ways: tuple[Callable[[int], list[str]], ...] = (run, run_with_batches_twice, run_for_nights)
    outcome.violations += ways[outcome.seed % len(ways)](outcome.seed)


def run_for_nights(seed: int) -> list[str]:
    """The violations. What a takeover reads follows from what is alive, and not from the number of nights."""
    return run(seed, _NIGHTS)


def run_with_batches_twice(seed: int) -> list[str]:
    """The violations. No verdict of the fence rests on the deduplication of brokers."""
    return run(seed, twice=True)


def run(seed: int, nights: int = 0, *, twice: bool = False) -> list[str]:
    """The violations."""
    simulation = Simulation(seed)
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(dir=folder_in_memory()) as folder:
        owners = Owners(simulation, Path(folder), seed, twice=twice)
        simulation.run(lambda: asyncio.run(owners.run(nights)))
    return owners.violations
