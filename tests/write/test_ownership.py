"""A shard whose partitions come and go, and one that was deposed without knowing it."""

from collections.abc import Callable, Collection, Mapping

import pytest

from falcon.domain.answers import PositionAnswer
from falcon.domain.commands import ReadPosition
from falcon.domain.rejections import NotAMember
from falcon.features.catalogue import Command
from falcon.features.messages.rules import MessageAnswer, PostMessage
from falcon.features.rooms.rules import CreateRoom, RoomAnswer
from falcon.write import ownership_cycle, recovery
from falcon.write.limits import ShardLimits
from falcon.write.protocol import Accepted, CommandBatch, CommandEnvelope, Rejected, Reply, Unavailable
from falcon.write.recovery import at_once
from falcon.write.shard import Shard
from tools.harness.clock import FakeClock
from tools.harness.memory.journal import Fate, MemoryJournal
from tools.harness.memory.log import MemoryLog
from tools.harness.replies import Replied

ANN, BOB = 1_000, 1_001
PARTITIONS = 4


class Group:
    """Stands where a consumer group does: says who should own what, and hears who does."""

    reclaims = True

    def __init__(self, *partitions: int) -> None:
        self.partitions: Collection[int] = frozenset(partitions)
        self.told: dict[int, int] = {}
        self.assignments = 1
        self.doubts = 0
        self.left = False

    def assign(self, *partitions: int) -> None:
        self.partitions = frozenset(partitions)
        self.assignments += 1

    def doubt(self) -> None:
        self.doubts += 1

    @property
    def assigned(self) -> Collection[int]:
        return self.partitions

    def opened(self, epochs: Mapping[int, int]) -> None:
        self.told.update(epochs)

    def leave(self) -> None:
        self.left = True

    def close(self) -> None:
        self.left = True


class Owner:
    """A process with a shard, as one of several on the same log."""

    def __init__(
        self, log: MemoryLog, clock: FakeClock, *partitions: int, held: bool = False, background: bool = False
    ) -> None:
        self.clock = clock
        self.group = Group(*partitions)
        self.journal = MemoryJournal(log, lambda: None, held=held)
        self.recoveries: list[Callable[[], None]] = []
        self.replied = Replied()
        self.shard = Shard(
            self.group,
            self.journal,
            log,
            log,
            clock,
            ShardLimits(refusal_age_seconds=1.0),
            "a test",
            reply=self.replied,
            background=self.recoveries.append if background else at_once,
        )
        self.shard.start()
        self._number = 0

    def assign(self, *partitions: int) -> None:
        self.group.assign(*partitions)
        self.shard.tick()

    def send(self, *commands: Command, by: int = ANN, key: str | None = None) -> None:
        self._number += 1
        deadline = self.clock.monotonic() + 5
        envelopes = [CommandEnvelope(_partition(c), by, c, deadline, key) for c in commands]
        self.shard.execute(CommandBatch(self._number, envelopes))

    def replies(self) -> list[Reply]:
        self.shard.drain()
        replies = [reply for batch in self.replied.take() for reply in batch.replies]
        return [reply for _, reply in sorted(replies, key=lambda item: item[0])]

    def ask(self, command: Command, by: int = ANN, key: str | None = None) -> Reply:
        self.send(command, by=by, key=key)
        (reply,) = self.replies()
        return reply

    def room(self) -> int:
        reply = self.ask(CreateRoom(ANN, "Tea kitchen"))
        assert isinstance(reply, Accepted)
        assert isinstance(reply.answer, RoomAnswer)
        return reply.answer.room_id


def _partition(command: Command) -> int:
    return 0 if isinstance(command, CreateRoom | ReadPosition) else command.room_id % PARTITIONS  # type: ignore[union-attr]


def seq(reply: Reply) -> int:
    assert isinstance(reply, Accepted), reply
    assert isinstance(reply.answer, MessageAnswer)
    return reply.answer.message.seq


def reason(reply: Reply) -> str:
    assert isinstance(reply, Unavailable), reply
    return reply.reason


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(PARTITIONS)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_partition_that_comes_is_served_and_made_known(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock)
    assert reason(ann.ask(CreateRoom(ANN, "Tea"))) == "not_mine"
    ann.assign(0, 1)
    assert ann.group.told == {0: log.epochs[0], 1: log.epochs[1]}
    assert ann.room() % PARTITIONS == 0


def test_a_partition_that_goes_is_somebody_elses(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock, 0, 1)
    room = ann.room()
    ann.assign(1)
    assert reason(ann.ask(PostMessage(ANN, room, "hello"))) == "not_mine"


def test_a_partition_that_stays_is_not_disturbed(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock, 0, 1)
    room, epoch = ann.room(), log.epochs[0]
    ann.assign(0)
    ann.assign(0, 3)
    assert log.epochs[0] == epoch
    assert seq(ann.ask(PostMessage(ANN, room, "hello"))) == 1


def test_what_is_in_flight_when_a_partition_goes_is_answered(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock, 0)
    room = ann.room()
    ann.journal._held = True
    ann.send(PostMessage(ANN, room, "hello"))
    ann.assign()
    assert ann.replies() == []
    ann.journal.settle(Fate.WRITTEN)
    (reply,) = ann.replies()
    assert seq(reply) == 1


def test_a_moved_room_goes_on_where_it_was(log: MemoryLog, clock: FakeClock) -> None:
    ann, bob = Owner(log, clock, 0), Owner(log, clock)
    room = ann.room()
    ann.ask(PostMessage(ANN, room, "from ann's process"))
    bob.assign(0)
    ann.assign()
    assert seq(bob.ask(PostMessage(ANN, room, "from bob's"))) == 2


def test_a_long_recovery_on_the_own_thread_goes_block_by_block_and_lets_the_process_live(
    log: MemoryLog, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = Owner(log, clock, 0), Owner(log, clock, 1)
    room = ann.room()
    for number in range(20):
        assert seq(ann.ask(PostMessage(ANN, room, "hello"))) == number + 1
    monkeypatch.setattr(recovery, "_READ_EVENTS", 5)
    monkeypatch.setattr(ownership_cycle, "_TURN_SECONDS", 0.0)
    bob.assign(0, 1)
    turns = 0
    while isinstance(reply := bob.ask(PostMessage(ANN, room, "hello")), Unavailable):
        assert 1 in bob.group.told
        turns += 1
    assert seq(reply) == 21
    assert turns >= 3


def test_a_deposed_owner_that_does_not_know_it_yet_does_nothing_and_says_so(log: MemoryLog, clock: FakeClock) -> None:
    ann, bob = Owner(log, clock, 0), Owner(log, clock)
    room = ann.room()
    bob.assign(0)
    assert reason(ann.ask(PostMessage(ANN, room, "too late"))) == "not_mine"
    assert seq(bob.ask(PostMessage(ANN, room, "hello"))) == 1


def test_one_that_was_deposed_asks_whose_the_partition_is_and_takes_back_what_is_its_own(
    log: MemoryLog, clock: FakeClock
) -> None:
    ann, bob = Owner(log, clock, 0), Owner(log, clock)
    room = ann.room()
    bob.assign(0)
    ann.ask(PostMessage(ANN, room, "too late"))
    ann.shard.tick()
    assert ann.group.doubts == 0, "the group may be about to say so"
    clock.advance(2)
    ann.shard.tick()
    assert ann.group.doubts == 1
    assert reason(ann.ask(PostMessage(ANN, room, "not yet"))) == "not_mine"
    ann.group.assign(0)
    clock.advance(2)
    ann.shard.tick()
    assert seq(ann.ask(PostMessage(ANN, room, "hello"))) == 1


def test_a_deposed_owners_refusal_rests_on_nothing_older_than_a_second(log: MemoryLog, clock: FakeClock) -> None:
    ann, bob = Owner(log, clock, 0), Owner(log, clock)
    room = ann.room()
    clock.advance(30)
    bob.assign(0)
    assert reason(ann.ask(PostMessage(BOB, room, "may I?"), by=BOB)) == "not_mine"


def test_an_owners_refusal_proves_first_that_it_still_is_one(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock, 0)
    room = ann.room()
    clock.advance(30)
    before = len(log.events[0])
    reply = ann.ask(PostMessage(BOB, room, "may I?"), by=BOB)
    assert isinstance(reply, Rejected)
    assert isinstance(reply.rejection, NotAMember)
    assert len(log.events[0]) == before + 1
    ann.ask(PostMessage(BOB, room, "may I now?"), by=BOB)
    assert len(log.events[0]) == before + 1, "once a second is enough"


def position(reply: Reply) -> int:
    assert isinstance(reply, Accepted), reply
    assert isinstance(reply.answer, PositionAnswer)
    return reply.answer.offset


def test_an_owner_says_where_its_log_stands(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock, 0)
    room = ann.room()
    posted = ann.ask(PostMessage(ANN, room, "hello"))
    assert isinstance(posted, Accepted)
    assert position(ann.ask(ReadPosition(0))) == posted.offset


def test_what_is_not_acknowledged_yet_does_not_count(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock, 0)
    room = ann.room()
    stood = position(ann.ask(ReadPosition(0)))
    ann.journal._held = True
    ann.send(PostMessage(ANN, room, "on its way"))
    ann.send(ReadPosition(0))
    assert ann.replies() == [], "nor is anything said before it is durable"
    ann.journal.settle(Fate.WRITTEN)
    ann.journal.settle(Fate.WRITTEN)
    _, said = ann.replies()
    assert position(said) == stood


def test_what_changes_nothing_is_nothing_to_wait_for(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock, 0)
    posted = ann.ask(PostMessage(ANN, ann.room(), "hello"))
    assert isinstance(posted, Accepted)
    assert [position(ann.ask(ReadPosition(0))) for _ in range(3)] == [posted.offset] * 3


def test_a_new_owner_says_where_the_log_stood_before_it(log: MemoryLog, clock: FakeClock) -> None:
    ann, bob = Owner(log, clock, 0), Owner(log, clock)
    posted = ann.ask(PostMessage(ANN, ann.room(), "hello"))
    assert isinstance(posted, Accepted)
    ann.ask(ReadPosition(0))
    bob.assign(0)
    assert position(bob.ask(ReadPosition(0))) == posted.offset


def test_a_deposed_owner_does_not_say_where_the_log_stands(log: MemoryLog, clock: FakeClock) -> None:
    ann, bob = Owner(log, clock, 0), Owner(log, clock)
    room = ann.room()
    bob.assign(0)
    posted = bob.ask(PostMessage(ANN, room, "of which ann's process knows nothing"))
    assert isinstance(posted, Accepted)
    assert reason(ann.ask(ReadPosition(0))) == "not_mine", "not even within the age of a refusal"
    assert position(bob.ask(ReadPosition(0))) >= posted.offset


def test_an_answer_that_the_log_has_needs_no_proof(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock, 0)
    room = ann.room()
    first = ann.ask(PostMessage(ANN, room, "hello"), key="k")
    clock.advance(30)
    before = len(log.events[0])
    again = ann.ask(PostMessage(ANN, room, "hello"), key="k")
    assert seq(again) == seq(first)
    assert len(log.events[0]) == before


def test_partitions_that_serve_are_not_held_up_by_those_that_come(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock, 0, background=True)
    ann.recoveries.pop()()
    ann.shard.drain()
    room = ann.room()
    ann.assign(0, 1)
    assert seq(ann.ask(PostMessage(ANN, room, "while 1 is being recovered"))) == 1
    assert not ann.shard.serving
    ann.recoveries.pop()()
    ann.shard.drain()
    assert ann.shard.serving


def test_a_partition_that_went_while_it_was_recovered_is_not_served(log: MemoryLog, clock: FakeClock) -> None:
    ann = Owner(log, clock, 0, background=True)
    ann.assign()
    ann.recoveries.pop()()
    assert reason(ann.ask(CreateRoom(ANN, "Tea"))) == "not_mine"
    assert ann.group.told == {}


def test_one_that_leaves_serves_until_somebody_takes_over(log: MemoryLog, clock: FakeClock) -> None:
    ann, bob = Owner(log, clock, 0), Owner(log, clock)
    room = ann.room()
    ann.shard.leave()
    assert ann.group.left
    assert seq(ann.ask(PostMessage(ANN, room, "still here"))) == 1
    bob.assign(0)
    assert reason(ann.ask(PostMessage(ANN, room, "too late"))) == "not_mine"
    clock.advance(10)
    ann.shard.tick()
    assert reason(ann.ask(PostMessage(ANN, room, "and it does not come back"))) == "not_mine"
    assert seq(bob.ask(PostMessage(ANN, room, "hello"))) == 2


def test_one_that_an_assignment_has_passed_by_finds_out_though_nobody_sends_to_it(
    log: MemoryLog, clock: FakeClock
) -> None:
    ann, bob = Owner(log, clock, 0), Owner(log, clock)
    room = ann.room()
    bob.assign(0)  # ann is stopped meanwhile, hears nothing of it,
    bob.assign()  # nor of this
    ann.assign(0)
    ann.shard.drain()
    clock.advance(2)
    ann.shard.tick()
    assert ann.group.doubts == 1
    ann.group.assign(0)
    clock.advance(2)
    ann.shard.tick()
    assert ann.group.told[0] == log.epochs[0], "gateways are told to come back"
    assert seq(ann.ask(PostMessage(ANN, room, "hello"))) == 1


def test_a_takeover_proves_nothing_of_the_time_behind_it(log: MemoryLog, clock: FakeClock) -> None:
    ann, bob = Owner(log, clock, 0), Owner(log, clock)
    room = ann.room()
    bob.assign(0)
    before = len(log.events[0])
    assert isinstance(bob.ask(PostMessage(BOB, room, "may I?"), by=BOB), Rejected)
    assert len(log.events[0]) == before + 1
