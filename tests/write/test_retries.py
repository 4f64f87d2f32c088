"""Retries are answered from the log, beside what the shard's thread does."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.domain.rejections import KeyReused, NotAMember
from falcon.features.catalogue import Command
from falcon.features.messages.rules import Message, MessageAnswer, PostMessage
from falcon.features.rooms.rules import CreateRoom, RoomAnswer
from falcon.features.threads.rules import StartThread, ThreadAnswer, UnfollowThread
from falcon.http.problems import from_unavailable
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Position, Recorded
from falcon.journal.ports import JournalUnavailable
from falcon.write import retries as module
from falcon.write import shard as shards
from falcon.write import snapshots
from falcon.write.answers import KEY_BYTES, AnswerWindow
from falcon.write.limits import ShardLimits
from falcon.write.owned import serving_of
from falcon.write.ownership import FixedOwnership
from falcon.write.protocol import Accepted, CommandBatch, CommandEnvelope, Rejected, Reply, Unavailable
from falcon.write.shard import Shard
from tools.harness.clock import FakeClock
from tools.harness.memory.journal import Fate, MemoryJournal
from tools.harness.memory.log import MemoryLog
from tools.harness.replies import Replied

ANN, BOB = 1_000, 1_001
PARTITIONS = 2
UNKNOWN = Unavailable("outcome_unknown")


class Source:
    """The log as it is read: each read is counted, and meets the next of the faults."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.partitions = log.partitions
        self.faults: list[Exception] = []
        self.empty_reads = 0
        self.reads: list[tuple[Cursor, int]] = []

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        self.reads.append((cursor, limit))
        if self.faults:
            raise self.faults.pop(0)
        if self.empty_reads:
            self.empty_reads -= 1
            return [], cursor
        return self._log.read(cursor, limit)

    def end(self) -> Cursor:
        return self._log.end()

    def remaining(self, cursor: Cursor) -> int:
        return self._log.remaining(cursor)

    def wait(self, seconds: float) -> None: ...


class Host:
    """A shard that reads answers when the test says so."""

    def __init__(self, log: MemoryLog, clock: FakeClock | None = None, limits: ShardLimits | None = None) -> None:
        self.clock = clock or FakeClock()
        self.source = Source(log)
        self.journal = MemoryJournal(log, lambda: None)
        self.readings: list[Callable[[], None]] = []
        ownership = FixedOwnership(range(PARTITIONS))
        self.replied = Replied()
        self.shard = Shard(
            ownership, self.journal, self.source, log, self.clock, limits or ShardLimits(), "a test",
            reply=self.replied, recovery_source=log, reading=self.readings.append,
        )  # fmt: skip
        self.shard.start()
        self._number = 0

    def send(
        self, *commands: Command, key: str | None = None, by: int = ANN, seconds: float = 5.0, fingerprint: int = 1
    ) -> None:
        self._number += 1
        deadline = self.clock.monotonic() + seconds
        envelopes = [CommandEnvelope(_partition(c), by, c, deadline, key, fingerprint) for c in commands]
        self.shard.execute(CommandBatch(self._number, envelopes))

    def replies(self) -> list[Reply]:
        self.shard.drain()
        return self.replied.take_replies()

    def read(self) -> list[Reply]:
        """Read the answers."""
        self.readings.pop(0)()
        return self.replies()

    def ask(self, command: Command, key: str | None = None, by: int = ANN) -> Reply:
        self.send(command, key=key, by=by)
        (reply,) = self.replies()
        return reply

    def room(self, partition: int = 0) -> int:
        envelope = CommandEnvelope(partition, ANN, CreateRoom(ANN, "Tea"), self.clock.monotonic() + 5)
        self._number += 1
        self.shard.execute(CommandBatch(self._number, [envelope]))
        (reply,) = self.replies()
        assert isinstance(reply, Accepted)
        assert isinstance(reply.answer, RoomAnswer)
        return reply.answer.room_id


def _partition(command: Command) -> int:
    return getattr(command, "room_id", 0) % PARTITIONS


def seq(reply: Reply) -> int:
    assert isinstance(reply, Accepted), reply
    assert isinstance(reply.answer, MessageAnswer)
    return reply.answer.message.seq


@pytest.fixture
def host() -> Host:
    return Host(MemoryLog(PARTITIONS))


def test_while_an_answer_is_read_other_commands_are_decided(host: Host) -> None:
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.send(PostMessage(ANN, room, "hello"), key="k")
    assert host.replies() == []
    assert seq(host.ask(PostMessage(ANN, room, "meanwhile"))) == 2
    (reply,) = host.read()
    assert (seq(reply), reply.replayed) == (1, True)  # type: ignore[union-attr]


def test_a_retry_is_told_a_position_that_has_all_events_of_its_command(host: Host) -> None:
    """The answer to a first message in a thread stands at the follow, and the message comes after it."""
    room = host.room()
    host.ask(PostMessage(ANN, room, "Tea?"))
    started = host.ask(StartThread(ANN, room, 1, Message(room, 1, ANN, "Tea?", 1_000)))
    assert isinstance(started, Accepted) and isinstance(started.answer, ThreadAnswer)
    thread = started.answer.thread_id
    host.ask(UnfollowThread(ANN, thread))
    post = PostMessage(ANN, thread, "Green", mentions=(ANN,))
    done = host.ask(post, key="k")
    host.send(post, key="k")
    (retried,) = host.read()
    again = host.ask(post, key="k")  # which is remembered
    assert isinstance(done, Accepted)
    assert retried == again == msgspec.structs.replace(done, replayed=True)


def test_one_answer_is_read_once_for_all_who_ask_for_it(host: Host) -> None:
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    for _ in range(100):
        host.send(PostMessage(ANN, room, "hello"), key="k")
    assert [seq(reply) for reply in host.read()] == [1] * 100
    assert len(host.source.reads) == 1
    for _ in range(100):
        assert seq(host.ask(PostMessage(ANN, room, "hello"), key="k")) == 1
    assert len(host.source.reads) == 1, "what was read last is remembered"


def test_answers_of_many_partitions_are_read_together_and_those_that_are_near_each_other_at_once(host: Host) -> None:
    rooms = [host.room(partition) for partition in range(PARTITIONS)]
    commands = [PostMessage(ANN, room, f"{i}") for i in range(20) for room in rooms]
    for i, command in enumerate(commands):
        host.ask(command, key=f"{i}")
    host.send(commands[0], key="0")  # it is away while the others come
    for i, command in enumerate(commands[1:], 1):
        host.send(command, key=f"{i}")
    assert [seq(reply) for reply in host.read()] == [1]
    assert sorted(map(seq, host.read())) == sorted([*range(1, 21), *range(2, 21)])
    assert len(host.source.reads) == 2


def test_answers_far_from_each_other_are_all_found(host: Host) -> None:
    room = host.room()
    for i in range(300):
        host.ask(PostMessage(ANN, room, f"{i}"), key=f"{i}")
    asked = (299, 0, 150, 151)
    host.send(PostMessage(ANN, room, "5"), key="5")
    for i in asked:
        host.send(PostMessage(ANN, room, f"{i}"), key=f"{i}")
    host.read()
    assert sorted(map(seq, host.read())) == [1, 151, 152, 300]
    assert max(limit for _, limit in host.source.reads) < 100


def test_no_more_than_so_many_wait_for_an_answer_and_what_is_read_is_forgotten_in_time(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAITING_MAX", 3)
    monkeypatch.setattr(module, "_REMEMBERED_MAX", 2)
    room = host.room()
    for i in range(5):
        host.ask(PostMessage(ANN, room, f"{i}"), key=f"{i}")
    for i in range(3):
        host.send(PostMessage(ANN, room, f"{i}"), key=f"{i}")
    assert host.ask(PostMessage(ANN, room, "3"), key="3") == UNKNOWN
    assert [seq(reply) for reply in [*host.read(), *host.read()]] == [1, 2, 3]
    host.send(PostMessage(ANN, room, "0"), key="0")
    assert [seq(reply) for reply in host.read()] == [1], "there is room again"
    assert len(host.shard._replies._retries._remembered) == 2


def test_a_replay_waits_for_what_was_decided_before_it(host: Host) -> None:
    room = host.room()
    host.journal._held = True
    host.send(PostMessage(ANN, room, "hello"), key="k")
    host.send(PostMessage(ANN, room, "hello"), key="k")
    assert (host.replies(), host.readings) == ([], [])
    host.journal.settle(Fate.WRITTEN)
    assert [seq(reply) for reply in host.replies()] == [1]
    assert [seq(reply) for reply in host.read()] == [1]


def test_a_refusal_is_read_like_an_answer(host: Host) -> None:
    room = host.room()
    host.ask(PostMessage(BOB, room, "let me in"), key="k", by=BOB)
    host.send(PostMessage(BOB, room, "let me in"), key="k", by=BOB)
    (reply,) = host.read()
    assert isinstance(reply, Rejected)
    assert (reply.rejection, reply.replayed) == (NotAMember(room, BOB), True)


# --- nothing was done is said only when it is true --------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [JournalUnavailable("away"), JournalUnavailable("trimmed", 0), Undecodable("of tomorrow", 0, Position())]
)
def test_an_answer_that_cannot_be_read_does_not_make_the_command_undone(host: Host, fault: Exception) -> None:
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.source.faults.append(fault)
    host.send(PostMessage(ANN, room, "hello"), key="k")
    (reply,) = host.read()
    assert reply == UNKNOWN
    assert "Nothing was done" not in from_unavailable(UNKNOWN).detail
    host.send(PostMessage(ANN, room, "hello"), key="k")
    assert [seq(reply) for reply in host.read()] == [1]


def test_a_partition_that_cannot_be_read_keeps_no_other_from_its_answers(host: Host) -> None:
    rooms = [host.room(partition) for partition in range(PARTITIONS)]
    for room in rooms:
        host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.source.faults.append(JournalUnavailable("trimmed", 0))
    host.send(*(PostMessage(ANN, room, "hello") for room in rooms), key="k")
    unread, read = host.read()
    assert (unread, seq(read)) == (UNKNOWN, 1)


def test_a_log_that_shows_nothing_is_not_asked_for_ever(host: Host) -> None:
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.source.empty_reads = 1_000
    host.send(PostMessage(ANN, room, "hello"), key="k")
    assert host.read() == [UNKNOWN]


def test_a_log_that_is_slow_is_waited_for(host: Host) -> None:
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.source.empty_reads = 10
    host.send(PostMessage(ANN, room, "hello"), key="k")
    assert [seq(reply) for reply in host.read()] == [1]


def test_an_answer_whose_time_ran_out_while_it_waited_was_given_all_the_same(host: Host) -> None:
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.clock.advance(599)
    host.journal._held = True
    host.send(PostMessage(ANN, room, "slow"))
    host.send(PostMessage(ANN, room, "hello"), key="k")
    host.clock.advance(4)
    host.journal.settle(Fate.WRITTEN)
    slow, late = host.replies()
    assert (seq(slow), late) == (2, UNKNOWN)


def test_a_retry_of_what_is_under_way_for_long_is_not_told_that_nothing_was_done(host: Host) -> None:
    room = host.room()
    host.journal._held = True
    host.send(PostMessage(ANN, room, "slow"), key="k")
    host.clock.advance(6)
    assert host.ask(PostMessage(ANN, room, "slow"), key="k") == UNKNOWN
    assert host.ask(PostMessage(ANN, room, "another"), key="l") == Unavailable("overloaded")


def test_a_retry_that_comes_too_late_is_not_told_that_nothing_was_done(host: Host) -> None:
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.send(PostMessage(ANN, room, "hello"), key="k", seconds=-1)
    host.send(PostMessage(ANN, room, "never decided"), key="l", seconds=-1)
    assert host.replies() == [UNKNOWN, Unavailable("expired")]


def test_a_retry_is_not_told_that_nothing_was_done_while_its_partition_is_down(host: Host) -> None:
    room = host.room()
    host.journal._held = True
    host.send(PostMessage(ANN, room, "perhaps"), key="k")
    host.journal.unavailable = True
    host.journal.settle(Fate.UNANSWERED)
    assert host.replies() == [UNKNOWN]
    assert host.ask(PostMessage(ANN, room, "perhaps"), key="k") == UNKNOWN
    assert host.ask(PostMessage(ANN, room, "another"), key="l") == Unavailable("unavailable")
    host.journal.unavailable = host.journal._held = False
    host.clock.advance(1)
    host.shard.tick()
    host.send(PostMessage(ANN, room, "perhaps"), key="k")
    assert [seq(reply) for reply in host.read()] == [1]


def test_what_was_done_long_before_its_partition_went_down_is_not_said_to_be_undone(host: Host) -> None:
    room = host.room()
    tea = PostMessage(ANN, room, "tea")
    host.ask(tea, key="tea")
    host.journal._held = host.journal.unavailable = True
    host.send(PostMessage(ANN, room, "and milk"))
    host.journal.settle(Fate.LOST)
    host.replies()
    assert host.ask(tea, key="tea") == UNKNOWN
    assert host.ask(PostMessage(ANN, room, "sugar"), key="sugar") == Unavailable("unavailable")


def test_a_retry_that_waits_is_not_told_that_nothing_was_done_when_the_partition_is_lost() -> None:
    log = MemoryLog(PARTITIONS)
    host = Host(log)
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.journal._held = True
    host.send(PostMessage(ANN, room, "too late"))
    host.send(PostMessage(ANN, room, "hello"), key="k")
    Host(log, host.clock)
    host.journal.settle(Fate.WRITTEN)
    assert host.replies() == [Unavailable("not_mine", 0.1), UNKNOWN]


def test_closing_tells_those_who_wait_for_an_answer(host: Host) -> None:
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.send(PostMessage(ANN, room, "hello"), key="k")
    host.shard.close()
    assert host.replies() == [UNKNOWN]


# --- what is remembered of a key --------------------------------------------------------------------------------------


def test_another_request_with_the_same_key_is_refused_as_soon_as_the_log_has_told(host: Host) -> None:
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.send(PostMessage(ANN, room, "hello there"), key="k", fingerprint=1 << 40 | 1)
    (reply,) = host.read()
    assert isinstance(reply, Rejected) and reply.rejection == KeyReused()
    host.journal._held = True
    host.send(PostMessage(ANN, room, "and"), key="l")
    host.send(PostMessage(ANN, room, "another"), key="l", fingerprint=1 << 40 | 1)
    host.journal.settle(Fate.WRITTEN)
    _, reused = host.replies()
    assert isinstance(reused, Rejected) and reused.rejection == KeyReused(), "at once: it has just been decided"


class Client:
    """Sends commands, and notes what became of them."""

    def __init__(self, log: MemoryLog, clock: FakeClock) -> None:
        self._log = log
        self._clock = clock
        self._host = Host(log, clock)
        self._room = self._host.room()
        self._told: dict[tuple[int, str], tuple[int, Reply, int]] = {}
        self._texts = 0
        self._moved_at = 0

    def send(self, by: int, key: str, fingerprint: int) -> None:
        known = self._told.get((by, key))
        reply = self._ask(by, key, fingerprint)
        is_new = not getattr(reply, "replayed", True) and getattr(reply, "rejection", None) != KeyReused()
        if known is not None and known[2] < self._clock.now() - 600_000 and (is_new or known[2] >= self._moved_at):
            known = None  # only after a move may a key live longer
        if known is None:
            assert not getattr(reply, "replayed", True), f"{reply} is another command's"
            self._told[by, key] = (fingerprint, reply, self._clock.now())
        elif known[0] != fingerprint:
            assert isinstance(reply, Rejected) and reply.rejection == KeyReused()
        else:
            assert getattr(reply, "replayed", False), "it was done twice"
            assert content(reply) == content(known[1])

    def move(self, *, orderly: bool) -> None:
        """Move the partition to another owner, which finds the last checkpoint and the log."""
        if orderly:
            self._host.shard.close()
        self._host = Host(self._log, self._clock)
        self._moved_at = self._clock.now()

    def wait(self, seconds: int) -> None:
        self._clock.advance(seconds)
        self._host.shard.tick()
        self._host.shard.drain()

    def _ask(self, by: int, key: str, fingerprint: int) -> Reply:
        self._texts += 1
        self._host.send(PostMessage(by, self._room, f"{self._texts}"), key=key, by=by, fingerprint=fingerprint)
        replies = self._host.replies()
        while not replies:
            replies = self._host.read()
        return replies[0]


def content(reply: Reply) -> object:
    return reply.answer if isinstance(reply, Accepted) else reply.rejection if isinstance(reply, Rejected) else None


SENT = st.tuples(
    st.just("send"), st.sampled_from([ANN, BOB]), st.sampled_from("abcd"), st.sampled_from([1, 1, 1 << 40 | 1])
)
WAITED = st.tuples(st.just("wait"), st.integers(0, 400))
MOVED = st.tuples(st.just("move"), st.booleans())


@given(st.lists(st.one_of(SENT, SENT, SENT, WAITED, MOVED), max_size=40))
def test_retries_are_answered_as_a_client_has_noted_whatever_came_between(steps: list[tuple[Any, ...]]) -> None:
    client = Client(MemoryLog(PARTITIONS), FakeClock())
    for name, *values in steps:
        match name:
            case "send":
                client.send(*values)
            case "wait":
                client.wait(*values)
            case "move":
                client.move(orderly=values[0])


def test_answers_that_two_checkpoints_have_are_remembered_once() -> None:
    """A deposed owner wrote one, though its log was over."""
    log, clock = MemoryLog(PARTITIONS), FakeClock()
    host = Host(log, clock)
    room = host.room()
    for number in range(3):
        host.ask(PostMessage(ANN, room, f"{number}"), key=f"{number}")
    host.shard.close()
    log._answers[0] *= 2
    assert Host(log, clock).shard._keys.total == 3


def test_checkpoints_have_whole_keys_in_the_form_that_data_folders_hold() -> None:
    log, clock = MemoryLog(PARTITIONS), FakeClock()
    host = Host(log, clock)
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.shard.close()
    at = clock.now()  # an earlier version compares it with the time of day
    stored = msgspec.msgpack.encode([[ANN, "k", 1, 1, 1, 1, at]])  # fingerprint, offset, epoch, n, window time
    assert log.answers(0, snapshots.VERSION, 0) == [stored]
    host = Host(log, clock)
    host.send(PostMessage(ANN, room, "hello"), key="k")
    assert [seq(reply) for reply in host.read()] == [1]


# --- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [20, 2_000])
def test_a_checkpoint_has_the_keys_since_the_last_one_however_many_are_remembered(
    keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, clock = MemoryLog(PARTITIONS), FakeClock()
    host = Host(log, clock)
    room = host.room()
    for number in range(keys):
        host.ask(PostMessage(ANN, room, f"{number}"), key=f"{number}")
    clock.advance(20)
    host.shard.tick()
    host.ask(PostMessage(ANN, room, "new"), key="new")
    clock.advance(20)
    touched: list[str] = []
    for name in ("find", "add", "forget", "count_in", "count_out"):
        monkeypatch.setattr(AnswerWindow, name, counted(getattr(AnswerWindow, name), touched))
    host.shard.tick()
    assert touched == ["forget"] * PARTITIONS
    assert [row[1] for row in snapshots.decode_answers(log.answers(0, snapshots.VERSION, 0)[-1])] == ["new"]


def counted(method: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        calls.append(method.__name__)
        return method(*args)

    return call


def test_keys_that_expire_together_are_forgotten_over_some_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "FORGOTTEN_EACH_TICK", 30)
    host = Host(MemoryLog(PARTITIONS))
    rooms = [host.room(partition) for partition in range(PARTITIONS)]
    for number in range(50):
        for room in rooms:
            host.ask(PostMessage(ANN, room, f"{number}"), key=f"{number}")
    host.clock.advance(601)
    left = []
    for _ in range(5):
        host.shard.tick()
        left.append(host.shard._keys.total)
    assert left == [70, 40, 10, 0, 0]
    assert seq(host.ask(PostMessage(ANN, rooms[0], "again"), key="0")) == 51


def test_a_log_that_is_read_from_its_start_leaves_no_more_for_the_next_checkpoint_than_the_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, clock = MemoryLog(PARTITIONS), FakeClock()
    host = Host(log, clock)
    room = host.room()
    for number in range(200):
        host.ask(PostMessage(ANN, room, f"{number}"), key=f"{number}")
        clock.advance(6)
    serving = serving_of(Host(log, clock).shard.owned(0))
    assert serving is not None
    assert len(serving.aggregates._new_answers) == 101


def test_an_account_with_as_many_keys_as_it_may_have_waits_until_some_are_forgotten() -> None:
    host = Host(MemoryLog(PARTITIONS), limits=ShardLimits(account_keys=3))
    rooms = [host.room(partition) for partition in (0, 1)]
    for number in range(3):
        seq(host.ask(PostMessage(ANN, rooms[number % 2], f"{number}"), key=f"{number}"))
    refused = host.ask(PostMessage(ANN, rooms[0], "one more"), key="3")
    assert isinstance(refused, Unavailable)
    assert (refused.reason, refused.limit) == ("overloaded", "account-keys")
    assert 600 <= refused.retry_after <= 660
    host.send(PostMessage(ANN, rooms[0], "0"), key="0")
    assert [seq(reply) for reply in host.read()] == [1], "a retry is answered"
    seq(host.ask(PostMessage(ANN, rooms[0], "without a key")))
    assert isinstance(host.ask(PostMessage(BOB, rooms[0], "of another"), key="3", by=BOB), Rejected)
    host.clock.advance(refused.retry_after)
    host.shard.tick()
    seq(host.ask(PostMessage(ANN, rooms[0], "one more"), key="3"))


def test_a_process_that_remembers_as_many_keys_as_it_may_takes_no_new_ones_and_forgets_none() -> None:
    host = Host(MemoryLog(PARTITIONS), limits=ShardLimits(answers_bytes=3 * KEY_BYTES))
    room = host.room()
    for number in range(3):
        seq(host.ask(PostMessage(ANN, room, f"{number}"), key=f"{number}"))
    refused = host.ask(PostMessage(ANN, room, "one more"), key="3")
    assert isinstance(refused, Unavailable)
    problem = from_unavailable(refused)
    assert (problem.status, problem.code) == (503, "overloaded")
    assert "Idempotency-Key" in problem.detail and problem.retry_after == refused.retry_after
    for number in range(3):
        host.send(PostMessage(ANN, room, f"{number}"), key=f"{number}")
        assert [seq(reply) for reply in host.read()] == [number + 1]
    host.clock.advance(refused.retry_after)
    host.shard.tick()
    assert seq(host.ask(PostMessage(ANN, room, "one more"), key="3")) == 4


def test_keys_of_a_partition_that_was_taken_over_count_and_those_of_one_that_is_given_up_do_not() -> None:
    log, clock = MemoryLog(PARTITIONS), FakeClock()
    first = Host(log, clock)
    room = first.room()
    for number in range(3):
        first.ask(PostMessage(ANN, room, f"{number}"), key=f"{number}")
    second = Host(log, clock, ShardLimits(account_keys=4))
    seq(second.ask(PostMessage(ANN, room, "one more"), key="3"))
    assert isinstance(second.ask(PostMessage(ANN, room, "too many"), key="4"), Unavailable)
    third = Host(log, clock, ShardLimits(account_keys=3))
    assert second.ask(PostMessage(ANN, room, "without a key")) == Unavailable("not_mine", 0.1)
    assert second.shard._keys.total == 4, "it still knows them"
    assert third.shard._keys.total == 4
    third.shard._cycle._ownership = FixedOwnership([1])
    third.shard.tick()
    assert third.shard._keys.total == 0


# --- the window -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orderly", [True, False])
@pytest.mark.parametrize("forward", [3_600, -3_600, 2 * 365 * 86_400])
def test_a_retry_is_answered_wherever_the_clock_was_set_between_two_starts(forward: int, *, orderly: bool) -> None:
    log, clock = MemoryLog(PARTITIONS), FakeClock()
    host = Host(log, clock)
    room = host.room()
    for start in range(4):
        host.ask(PostMessage(ANN, room, f"{start}"), key=f"{start}")
        clock.advance(100)
        if orderly:
            host.shard.close()
        clock.set_back(-forward)
        host = Host(log, clock)
        for earlier in range(start + 1):
            host.send(PostMessage(ANN, room, f"{earlier}"), key=f"{earlier}")
            assert [seq(reply) for reply in host.read()] == [earlier + 1]


def test_a_retry_is_answered_after_a_crash_that_follows_a_jump_of_the_clock() -> None:
    log, clock = MemoryLog(PARTITIONS), FakeClock()
    host = Host(log, clock)
    room = host.room()
    host.ask(PostMessage(ANN, room, "tea"), key="k")
    clock.set_back(-3_600)
    host.ask(PostMessage(ANN, room, "more"))
    host = Host(log, clock)
    host.send(PostMessage(ANN, room, "tea"), key="k")
    assert [seq(reply) for reply in host.read()] == [1]


def test_keys_are_forgotten_after_a_start_at_which_the_clock_was_set_forward() -> None:
    log, clock = MemoryLog(PARTITIONS), FakeClock()
    host = Host(log, clock)
    room = host.room()
    host.ask(PostMessage(ANN, room, "tea"), key="k")
    clock.set_back(-3_600)
    host = Host(log, clock)
    clock.advance(601)
    host.shard.tick()
    assert host.shard._keys.total == 0
    assert seq(host.ask(PostMessage(ANN, room, "tea"), key="k")) == 2


def test_while_the_events_time_stands_still_old_answers_are_forgotten_and_none_too_soon() -> None:
    """As it does when the clock was set back, and another owner continues."""
    log, clock = MemoryLog(PARTITIONS), FakeClock()
    host = Host(log, clock)
    room = host.room()
    clock.set_back(3_600)
    for minute in range(60):
        host.ask(PostMessage(ANN, room, f"{minute}"), key=f"{minute}")
        if minute % 7 == 6:
            host.clock.advance(20)
            host.shard.tick()  # a checkpoint
            host = Host(log, clock)
        host.clock.advance(60)
        host.shard.tick()
        assert host.shard._keys.total <= 20
    assert len(log.answers(0, snapshots.VERSION, 0)) <= 20, "and from the store"
    for minute in (51, 55, 59):
        host.send(PostMessage(ANN, room, f"{minute}"), key=f"{minute}")
        assert [seq(reply) for reply in host.read()] == [minute + 1]
    assert seq(host.ask(PostMessage(ANN, room, "long ago"), key="30")) == 61
