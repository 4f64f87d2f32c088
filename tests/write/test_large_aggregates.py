"""Rooms with many members and accounts with many direct rooms are stored and read in parts."""

import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from falcon.domain.ids import counter_of, id_of
from falcon.features.accounts.rules import AccountAnswer, CreateAccount
from falcon.features.catalogue import Command
from falcon.features.claims.rules import ClaimText
from falcon.features.decider import EVOLVES
from falcon.features.messages.rules import Message, MessagePosted, PostMessage
from falcon.features.read_marks.rules import MoveRead
from falcon.features.rooms.rules import CreateRoom, DeleteRoom, Invitation, OpenDirect, PutMember, RemoveMember
from falcon.features.threads.rules import StartThread, ThreadAnswer
from falcon.journal.envelope import Recorded
from falcon.journal.ports import Checkpoint, JournalUnavailable, Snapshot
from falcon.write import snapshots
from falcon.write.limits import ShardLimits
from falcon.write.ownership import FixedOwnership
from falcon.write.protocol import Accepted, CommandBatch, CommandEnvelope, Reply, Unavailable
from falcon.write.shard import Shard
from falcon.write.snapshots import head_of
from tests.support.partition_owner import ANN, PartitionOwner
from tools.harness.clock import FakeClock
from tools.harness.memory.journal import MemoryJournal
from tools.harness.memory.log import MemoryLog
from tools.harness.replies import Replied

BOB = 1_001
MEMBERS = range(ANN, ANN + 10_000)


class CountingLog(MemoryLog):
    """``loaded``: the names of the snapshots that were."""

    def __init__(self) -> None:
        super().__init__(1)
        self.loaded: list[str] = []

    def load(self, partition: int, key: str, version: int) -> Snapshot | None:
        self.loaded.append(key)
        return super().load(partition, key, version)

    def names(self) -> list[str]:
        return [name for _, name in self._snapshots]


@pytest.fixture
def log() -> CountingLog:
    return CountingLog()


def owner(log: MemoryLog) -> PartitionOwner:
    new = PartitionOwner(log)
    new.recover(log.take(0))
    return new


def checkpoint(owner: PartitionOwner) -> Checkpoint:
    made = owner.captured()
    assert owner.log.write(made)
    owner.partition.checkpointed()
    return made


def size(made: Checkpoint) -> int:
    return sum(len(name) + len(data) for name, data in made.snapshots)


def passivate(owner: PartitionOwner) -> None:
    """All that is not in use leaves memory."""
    owner.partition.passivate()
    owner.partition.passivate()
    assert owner.partition.in_memory == 0


# --- what is written --------------------------------------------------------------------------------------------------


def test_a_read_mark_in_a_room_of_10_000_writes_8_kib_at_most(log: CountingLog) -> None:
    ann = owner(log)
    room = ann.room(MEMBERS)
    ann.post(room, "hello")
    assert size(checkpoint(ann)) > 100_000
    for reader in MEMBERS[10:40]:
        ann.ask(MoveRead(reader, room, 1))
        assert size(checkpoint(ann)) <= 8 << 10


def test_a_member_who_joins_or_leaves_writes_a_few_parts_at_most(log: CountingLog) -> None:
    ann = owner(log)
    room = ann.room(MEMBERS)
    checkpoint(ann)
    for guest in range(1, 300):
        ann.ask(PutMember(ANN, room, guest, "member", True))
        assert size(checkpoint(ann)) <= 24 << 10
    ann.ask(RemoveMember(ANN, room, MEMBERS[5]))
    assert size(checkpoint(ann)) <= 8 << 10
    passivate(ann)
    assert set(ann.state_of(room).members) == {*MEMBERS, *range(1, 300)} - {MEMBERS[5]}


def test_a_direct_room_of_an_account_that_has_20_000_writes_one_part_of_them(log: CountingLog) -> None:
    ann = owner(log)
    answer = ann.ask(CreateAccount("a bot")).answer
    assert isinstance(answer, AccountAnswer)
    bot = answer.account_id
    for peer in range(2_000, 22_000):
        ann.ask(OpenDirect(bot, peer))
    checkpoint(ann)
    made = ann.ask(OpenDirect(bot, 50_000)).answer
    assert size(checkpoint(ann)) <= 32 << 10
    passivate(ann)
    assert ann.ask(OpenDirect(bot, 50_000)).answer.room_id == made.room_id  # type: ignore[union-attr]


def test_a_small_room_is_one_snapshot(log: CountingLog) -> None:
    ann = owner(log)
    room = ann.room(MEMBERS[:200])
    assert [name for name, _ in checkpoint(ann).snapshots] == [snapshots.head_of(room)]


def test_a_room_of_100_000_has_no_snapshot_that_holds_others_up(log: CountingLog) -> None:
    ann = owner(log)
    ann.room(range(ANN, ANN + 100_000))
    assert max(len(data) for _, data in checkpoint(ann).snapshots) <= 16 << 10


# --- what is read -----------------------------------------------------------------------------------------------------


def test_a_message_in_a_large_room_reads_its_head_and_the_part_of_its_author(log: CountingLog) -> None:
    ann = owner(log)
    room = ann.room(MEMBERS)
    checkpoint(ann)
    passivate(ann)
    log.loaded.clear()
    ann.ask(PostMessage(BOB, room, "hello"))
    ann.ask(PostMessage(BOB, room, "again"))
    assert len(log.loaded) == 2


def test_the_last_admin_of_a_large_room_is_known_without_reading_all_members(log: CountingLog) -> None:
    ann = owner(log)
    room = ann.room(MEMBERS)
    checkpoint(ann)
    passivate(ann)
    log.loaded.clear()
    ann.ask(PutMember(ANN, room, BOB, "admin", True))
    ann.ask(RemoveMember(ANN, room, ANN))
    assert len(log.loaded) <= 3


# --- epochs -----------------------------------------------------------------------------------------------------------


def test_a_new_owner_writes_a_large_room_once_as_its_own_and_the_parts_before_go(log: CountingLog) -> None:
    ann = owner(log)
    room = ann.room(MEMBERS)
    ann.post(room, "hello")
    whole = size(checkpoint(ann))
    bob = owner(log)
    bob.ask(MoveRead(BOB, room, 1))
    before = len(log.loaded)
    assert size(checkpoint(bob)) == pytest.approx(whole, rel=0.01)
    assert len(log.loaded) > before, "parts that were not in use are copied as they are"
    assert {name.split(":")[2] for name in log.names() if name.startswith("part:")} == {f"{bob.partition.epoch:019d}"}
    bob.ask(MoveRead(BOB + 1, room, 1))
    assert size(checkpoint(bob)) <= 8 << 10
    assert all(bob.state_of(room).members[member].read_seq == 1 for member in (ANN, BOB, BOB + 1))
    assert len(bob.state_of(room).members) == len(MEMBERS)


def test_members_are_there_while_the_first_checkpoint_of_an_epoch_is_on_its_way(log: CountingLog) -> None:
    ann = owner(log)
    room = ann.room(MEMBERS)
    checkpoint(ann)
    bob = owner(log)
    bob.post(room, "hello")
    made = bob.captured()
    assert len(bob.state_of(room).members.items()) == len(MEMBERS)
    assert log.write(made)
    bob.partition.checkpointed()


def test_a_deleted_room_leaves_no_part_behind(log: CountingLog) -> None:
    ann = owner(log)
    room = ann.room(MEMBERS)
    checkpoint(ann)
    ann.ask(DeleteRoom(ANN, room))
    checkpoint(ann)
    assert log.names() == [snapshots.head_of(room)]


# --- parts that are missing -------------------------------------------------------------------------------------------


class LossyLog(CountingLog):
    """``fault``: of the disk that has the snapshots."""

    fault: JournalUnavailable | None = None

    def lose_parts(self) -> None:
        for name in [name for name in self.names() if name.startswith("part:")]:
            del self._snapshots[0, name]

    def damage(self, kind: str) -> None:
        """Only zeros are left of these snapshots."""
        for name in [name for name in self.names() if name.startswith(kind)]:
            version, data = self._snapshots[0, name]
            self._snapshots[0, name] = (version, bytes(len(data)))

    def load(self, partition: int, key: str, version: int) -> Snapshot | None:
        if self.fault is not None:
            raise self.fault
        return super().load(partition, key, version)


class Host:
    """A shard that owns partition 0, and asks for a checkpoint when the test says so."""

    def __init__(self, log: MemoryLog) -> None:
        self.clock = FakeClock()
        self.replied = Replied()
        journal = MemoryJournal(log, lambda: None)
        limits = ShardLimits(hot_aggregates=1, checkpoint_events=1_000_000)
        self.shard = Shard(FixedOwnership([0]), journal, log, log, self.clock, limits, "a test", reply=self.replied)
        self.shard.start()

    def ask(self, *commands: Command) -> list[Reply]:
        deadline = self.clock.monotonic() + 5
        self.shard.execute(CommandBatch(1, [CommandEnvelope(0, ANN, each, deadline) for each in commands]))
        self.shard.drain()
        return self.replied.take_replies()

    def done(self, command: Command) -> Any:
        """The answer."""
        (reply,) = self.ask(command)
        assert isinstance(reply, Accepted), reply
        return reply.answer

    def large_room(self) -> int:
        invited = tuple(Invitation(member, "member") for member in MEMBERS)
        room_id: int = self.done(CreateRoom(ANN, "Everyone", members=invited)).room_id
        return room_id

    def minute(self) -> None:
        self.clock.advance(60)
        self.shard.tick()
        self.shard.drain()


@pytest.fixture
def lossy() -> LossyLog:
    return LossyLog()


def test_a_takeover_that_finds_a_part_missing_reads_the_log_alone(
    lossy: LossyLog, caplog: pytest.LogCaptureFixture
) -> None:
    ann = Host(lossy)
    room = ann.large_room()
    ann.minute()
    ann.done(PostMessage(BOB, room, "behind the checkpoint"))
    lossy.lose_parts()
    bob = Host(lossy)
    assert bob.shard.serving
    assert f"part:{room}:" in caplog.text
    assert bob.done(PostMessage(BOB, room, "hello")).message.seq == 2
    bob.minute()
    lossy.loaded.clear()
    cat = Host(lossy)
    assert cat.done(PostMessage(BOB, room, "again")).message.seq == 3
    assert lossy.loaded != [], "the parts are stored again"


def test_a_command_that_finds_a_part_missing_is_decided_when_it_is_asked_again(lossy: LossyLog) -> None:
    ann = Host(lossy)
    room, other = ann.large_room(), ann.done(CreateRoom(ANN, "Tea")).room_id
    ann.done(PostMessage(ANN, room, "kept"))
    ann.minute()
    bob = Host(lossy)
    lossy.lose_parts()
    decided, *refused = bob.ask(PostMessage(ANN, other, "1"), PostMessage(ANN, room, "2"), PostMessage(ANN, other, "3"))
    assert decided == Unavailable("outcome_unknown"), "it was decided with the others, and not written"
    assert refused == [Unavailable("unavailable")] * 2
    bob.minute()
    assert bob.done(PostMessage(ANN, room, "hello")).message.seq == 2
    assert bob.done(PostMessage(ANN, other, "hello")).message.seq == 1


def test_a_checkpoint_that_finds_a_part_missing_takes_no_process_down(lossy: LossyLog) -> None:
    ann = Host(lossy)
    room = ann.large_room()
    ann.minute()
    bob = Host(lossy)
    bob.done(PostMessage(BOB, room, "in memory is one part"))
    lossy.lose_parts()
    bob.minute()
    bob.minute()
    assert bob.done(PostMessage(BOB + 1, room, "hello")).message.seq == 2
    assert len([name for name in lossy.names() if name.startswith("part:")]) > 30


# --- states that cannot be read ---------------------------------------------------------------------------------------


def test_a_command_that_needs_a_state_that_cannot_be_read_is_refused_until_it_can(
    lossy: LossyLog, caplog: pytest.LogCaptureFixture
) -> None:
    ann = Host(lossy)
    room = ann.large_room()
    ann.minute()
    bob = Host(lossy)
    lossy.fault = JournalUnavailable("the file is damaged")
    assert bob.ask(PostMessage(BOB, room, "hello")) == [Unavailable("unavailable")]
    assert "partition 0 refused a command: the file is damaged" in caplog.text
    lossy.fault = None
    assert bob.done(PostMessage(BOB, room, "hello")).message.seq == 1


def test_a_room_that_cannot_be_read_denies_no_other_room_of_its_partition(lossy: LossyLog) -> None:
    ann = Host(lossy)
    room, other = ann.large_room(), ann.done(CreateRoom(ANN, "Tea")).room_id
    ann.minute()
    bob = Host(lossy)
    bob.done(PostMessage(ANN, other, "1"))
    epochs = list(lossy.epochs)
    lossy.fault = JournalUnavailable("the file is damaged")
    for seq in range(2, 12, 2):
        refused, before, after = bob.ask(
            PostMessage(ANN, other, "before"), PostMessage(BOB, room, "hello"), PostMessage(ANN, other, "after")
        )
        assert refused == Unavailable("unavailable")
        assert [reply.answer.message.seq for reply in (before, after)] == [seq, seq + 1]  # type: ignore[union-attr]
        bob.shard.tick()
    assert lossy.epochs == epochs, "it was not taken over again"


def test_a_decision_that_cannot_be_carried_through_leaves_nothing_behind(
    lossy: LossyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = Host(lossy)
    room = ann.done(CreateRoom(ANN, "Tea")).room_id
    with monkeypatch.context() as patch:
        damaged: Any = Mock(side_effect=JournalUnavailable("the file is damaged"))
        patch.setitem(EVOLVES, MessagePosted, damaged)  # type: ignore[misc]
        assert ann.ask(PostMessage(ANN, room, "hello")) == [Unavailable("unavailable")]
    ann.minute()
    assert ann.done(PostMessage(ANN, room, "hello again")).message.seq == 1


# --- states that are damaged ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damaged", ["aggregate:", "part:"])
def test_a_command_that_finds_a_damaged_state_is_decided_when_it_is_asked_again(
    lossy: LossyLog, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    ann = Host(lossy)
    room = ann.large_room()
    ann.done(PostMessage(ANN, room, "kept"))
    ann.minute()
    bob = Host(lossy)
    lossy.damage(damaged)
    assert bob.ask(PostMessage(BOB, room, "hello")) == [Unavailable("unavailable")]
    bob.minute()
    assert caplog.text.count("partition 0 uses no snapshots") == 1
    assert bob.done(PostMessage(BOB, room, "hello")).message.seq == 2
    bob.minute()
    assert Host(lossy).done(PostMessage(BOB, room, "again")).message.seq == 3
    assert caplog.text.count("partition 0 uses no snapshots") == 1, "the next checkpoint has replaced it"


def test_a_command_that_finds_a_damaged_import_is_decided_when_it_is_asked_again(lossy: LossyLog) -> None:
    command = CreateAccount("Dora", imported_as="old:7")
    ann = Host(lossy)
    dora = ann.done(command).account_id
    ann.minute()
    bob = Host(lossy)
    lossy.damage("import:")
    assert bob.ask(command) == [Unavailable("unavailable")]
    bob.minute()
    assert bob.done(command).account_id == dora


def test_a_checkpoint_replaces_a_damaged_state(lossy: LossyLog) -> None:
    ann = Host(lossy)
    room = ann.large_room()
    ann.minute()
    ann.done(PostMessage(BOB, room, "hello"))
    lossy.damage("aggregate:")
    ann.minute()
    assert Host(lossy).done(PostMessage(BOB, room, "hello again")).message.seq == 2


def test_a_checkpoint_that_cannot_read_what_it_changes_takes_no_process_down(lossy: LossyLog) -> None:
    ann = Host(lossy)
    room = ann.large_room()
    ann.minute()
    ann.done(PostMessage(BOB, room, "hello"))
    lossy.fault = JournalUnavailable("the file is damaged")
    ann.minute()
    lossy.fault = None
    ann.minute()
    assert ann.done(PostMessage(BOB, room, "hello again")).message.seq == 2
    ann.minute()
    assert Host(lossy).done(PostMessage(BOB, room, "and again")).message.seq == 3


# --- many small ones --------------------------------------------------------------------------------------------------


def taken_over(command: Callable[[int], Command]) -> tuple[int, int, float]:
    """Bytes of the log, bytes of states, and seconds of CPU to replay 2,000 of a kind."""
    before, after = PartitionOwner(MemoryLog(1)), PartitionOwner(MemoryLog(1))
    for each in (before, after):
        each.recover(each.log.take(0))
    for number in range(2_000):
        before.partition.execute(CommandEnvelope(0, ANN, command(number), 1e18), 1_000)
    append = before.partition.pop_append()
    assert append is not None
    recorded = [Recorded(offset, envelope) for offset, envelope in enumerate(append.envelopes)]
    began = time.process_time()
    for event in recorded:
        after.partition.replay(event)
    seconds = time.process_time() - began
    return sum(len(each.data) for each in append.records), size(after.captured()), seconds


def test_a_takeover_takes_no_more_for_claims_than_for_as_many_rooms() -> None:
    rooms = [taken_over(lambda n: CreateRoom(ANN, f"Room {n}")) for _ in range(3)]
    claims = [taken_over(lambda n: ClaimText("handle", f"handle {n}", ANN, n + 1)) for _ in range(3)]
    assert (claims[0][0] < rooms[0][0], claims[0][1] < rooms[0][1]) == (True, True), (claims, rooms)
    assert min(each[2] for each in claims) < 2 * min(each[2] for each in rooms)


def threads_started(owner: PartitionOwner, count: int) -> list[int]:
    """The threads of so many messages of a room."""
    room = owner.room()
    started = []
    for number in range(count):
        seq = owner.post(room, "Tea?")
        answer = owner.ask(
            StartThread(ANN, room, seq, Message(room, seq, ANN, "Tea?", 1_000), known_number=number)
        ).answer
        assert isinstance(answer, ThreadAnswer)
        started.append(answer.thread_id)
    return started


def test_a_takeover_takes_nothing_for_threads_that_are_not_in_use(log: CountingLog) -> None:
    """A partition's own state is as large, no thread is read, and memory holds none."""
    few, many = CountingLog(), log
    states = []
    for each, count in ((few, 1), (many, 300)):
        before = owner(each)
        started = threads_started(before, count)
        states.append(len(checkpoint(before).state))
        each.loaded.clear()
        after = owner(each)
        assert (each.loaded, after.partition.in_memory) == ([], 0)
        after.post(started[-1], "Green")
        assert len(each.loaded) == 2, "the thread and its room"
    assert max(states) - min(states) <= 2


def test_a_state_whose_id_was_not_counted_is_never_loaded(log: CountingLog) -> None:
    """Neither a thread that an owner made whose events are void."""
    ann = owner(log)
    (thread,) = threads_started(ann, 1)
    checkpoint(ann)
    made = log._snapshots[0, head_of(thread)]
    uncounted = id_of(counter_of(thread, 1) + 1, 0, 1)
    log._snapshots[0, head_of(uncounted)] = made
    log.loaded.clear()
    bob = owner(log)
    assert bob.partition._room(uncounted) is None and log.loaded == []
    assert bob.partition._room(thread) is not None and log.loaded == [head_of(thread)]
