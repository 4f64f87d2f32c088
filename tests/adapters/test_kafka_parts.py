"""A large room's snapshots are never mixed: owners come and go, and writes stop, fail or arrive late between its parts.

Whatever has happened, a new owner has the room that the log tells of.
"""

import asyncio
import random
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from falcon.adapters.kafka import snapshots as module
from falcon.adapters.kafka.producer import NotWritten
from falcon.domain import limits
from falcon.features.read_marks.rules import MoveRead
from falcon.features.rooms.rules import DeleteRoom, PutMember, RemoveMember, Room
from falcon.journal.ports import Checkpoint
from falcon.write import snapshots
from tests.adapters.kafka_model import CLUSTER, Brokers
from tests.adapters.test_kafka_snapshots import Pod
from tests.support.partition_owner import ANN, PartitionOwner
from tools.harness.memory.log import MemoryLog

TOPIC = CLUSTER.snapshots
SCHEDULES = 80
STEPS = 80


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMBERS_IN_PART", 3)
    monkeypatch.setattr(module, "_BATCH_BYTES_MAX", 1)  # so that a write can fail between any two records


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    made = Brokers()
    monkeypatch.setattr(module, "Reader", made.reader)
    monkeypatch.setattr(module, "_STALE_SECONDS", 0.0)
    return made


class Schedule:
    """Random acts on one room by one owner after another. The ones that were deposed may still write snapshots.

    ``versions``: one of them is each owner's.
    """

    def __init__(self, brokers: Brokers, seed: int, patch: pytest.MonkeyPatch, versions: Sequence[int]) -> None:
        self._brokers = brokers
        self._random = random.Random(seed)
        self._log = MemoryLog(1)
        self._unwritten: dict[Pod, Checkpoint] = {}
        self._pods: list[Pod] = []
        self._room = 0
        self._patch = patch
        self._versions = versions
        self._version_of: dict[Pod, int] = {}

    async def run(self) -> None:
        self._pods.append(await self._new_pod())
        self._room = self._pods[0].room(range(1, 12))
        acts = [self._change] * 6 + [self._save] * 4 + [self._take_over, self._arrive_late, self._compact]
        for _ in range(STEPS):
            await self._random.choice(acts)()
        await self._take_over()

    async def _new_pod(self) -> Pod:
        pod = Pod(self._brokers, self._log)
        self._version_of[pod] = self._random.choice(self._versions)
        return await self._acting(pod).take_over()

    def _acting(self, pod: Pod) -> Pod:
        """It acts now, and with its own version."""
        self._patch.setattr(snapshots, "VERSION", self._version_of[pod])
        return pod

    async def _change(self) -> None:
        owner = self._acting(self._pods[-1])
        member = self._random.randrange(1, 40)
        state = owner.state_of(self._room)
        if member not in state.members:
            owner.ask(PutMember(ANN, self._room, member, "member", True))
        elif self._random.random() < 0.3:
            owner.ask(RemoveMember(ANN, self._room, member))
        elif state.members[member].read_seq < state.last_seq:
            owner.ask(MoveRead(member, self._room, state.last_seq), by=member)
        else:
            owner.post(self._room, "hello")

    async def _save(self) -> None:
        """A write may be lost at any record. It is made again later, unless the pod has died."""
        pod = self._acting(self._random.choice(self._pods[-3:]))
        checkpoint = self._unwritten.pop(pod, None)
        if checkpoint is None:
            if not pod.partition.capture():
                return
            checkpoint = pod.partition.checkpoint()
        if self._random.random() < 0.4:
            self._brokers.fail_after(self._random.randrange(6))
        try:
            await pod.snapshots.save(checkpoint)
        except NotWritten:
            self._unwritten[pod] = checkpoint
        else:
            pod.partition.checkpointed()
        self._brokers.fail_after(None)

    async def _take_over(self) -> None:
        pod = await self._new_pod()
        self._pods.append(pod)
        found, told = pod.state_of(self._room), self._told()
        assert isinstance(found, Room)
        # It is not stored, and counts as far as it may go.
        assert found.last_mention >= told.last_mention
        assert replace(found, last_mention=told.last_mention) == told

    async def _arrive_late(self) -> None:
        if late := self._brokers.late:
            self._brokers.append(*late.pop(self._random.randrange(len(late))))

    async def _compact(self) -> None:
        self._brokers.compact(TOPIC, 0)

    def _told(self) -> Room:
        """The room as the log alone has it."""
        reader = PartitionOwner(self._log)
        (end,) = self._log.end().values()
        reader.recover(end)
        return reader.state_of(self._room)


@pytest.mark.parametrize("versions", [(snapshots.VERSION,), (9, 10)])
def test_a_new_owner_has_the_room_that_the_log_tells_of_whatever_happened_to_its_parts(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch, versions: Sequence[int]
) -> None:
    for seed in range(SCHEDULES):
        brokers.topics.clear()
        brokers.late.clear()
        asyncio.run(Schedule(brokers, seed, monkeypatch, versions).run())


def test_a_room_in_parts_leaves_nothing_but_what_its_head_counts_on(brokers: Brokers) -> None:
    async def run() -> None:
        log = MemoryLog(1)
        ann = await Pod(brokers, log).take_over()
        room = ann.room(range(1, 30))
        for reader in range(1, 30):
            ann.post(room, "hello")
            ann.ask(MoveRead(reader, room, 1), by=reader)
            await ann.checkpoint()
        bob = await Pod(brokers, log).take_over()
        bob.post(room, "hello")
        await bob.checkpoint()
        brokers.compact(TOPIC, 0)
        parted = snapshots.parted(bob.state_of(room))
        assert parted is not None
        parts = [record for record in brokers.topics[TOPIC, 0] if b"/part:" in (record.key or b"") and record.value]
        assert len(parts) == len(parted.parts)
        bob.ask(DeleteRoom(ANN, room))
        await bob.checkpoint()
        brokers.compact(TOPIC, 0)
        kept = {record.key for record in brokers.topics[TOPIC, 0] if record.value is not None}
        epoch = bob.partition.epoch
        assert kept == {
            f"{epoch}/{snapshots.VERSION}/aggregate:{room}".encode(),
            f"{epoch}/checkpoint".encode(),
            b"0/opened",
        }

    asyncio.run(run())
