"""A shard on a log in memory: batches, retries, deadlines, recovery, passivation."""

import msgspec
import pytest

from falcon.domain.answers import Done
from falcon.domain.rejections import KeyReused, NotAMember, NotYetReadable, UnknownAccount
from falcon.features.accounts.rules import AccountAnswer, CreateAccount
from falcon.features.catalogue import Command
from falcon.features.messages.rules import EditMessage, Message, MessageAnswer, PostMessage
from falcon.features.rooms.rules import CreateRoom, DeleteRoom, Invitation, OpenDirect, PutMember, RoomAnswer
from falcon.journal.envelope import Position
from falcon.journal.ports import Append
from falcon.journal.record import Record
from falcon.write import snapshots
from falcon.write.busy import BusyRooms
from falcon.write.limits import ShardLimits
from falcon.write.ownership import FixedOwnership
from falcon.write.protocol import Accepted, CommandBatch, CommandEnvelope, NotKnown, Rejected, Reply, Unavailable
from falcon.write.shard import Shard
from tools.harness.clock import FakeClock
from tools.harness.memory.journal import Fate, MemoryJournal
from tools.harness.memory.log import MemoryLog
from tools.harness.replies import Replied

ANN, BOB = 1_000, 1_001  # no accounts of the log: a room takes the ids it is given
PARTITIONS = 4


class Host:
    """Stands where an actor does: one shard, its journal, and a clock."""

    def __init__(self, log: MemoryLog, clock: FakeClock | None = None, *, held: bool = False, **limits: float) -> None:
        self.clock = clock or FakeClock()
        self.journal = MemoryJournal(log, lambda: None, held=held)
        self.replied = Replied()
        self.shard = Shard(
            FixedOwnership(range(PARTITIONS)),
            self.journal,
            log,
            log,
            self.clock,
            ShardLimits(**limits),  # type: ignore[arg-type]
            "a test",
            reply=self.replied,
        )
        self._number = 0
        self.shard.start()

    def send(
        self,
        *commands: Command,
        key: str | None = None,
        by: int = ANN,
        seconds: float = 5.0,
        same: int = 1,
        replay_only: bool = False,
    ) -> None:
        self._number += 1
        deadline = self.clock.monotonic() + seconds
        envelopes = [
            CommandEnvelope(_partition(c), by, c, deadline, key, same, replay_only=replay_only) for c in commands
        ]
        self.shard.execute(CommandBatch(self._number, envelopes))

    def replies(self) -> list[Reply]:
        self.shard.drain()
        return self.replied.take_replies()

    def ask(self, command: Command, key: str | None = None, by: int = ANN, same: int = 1) -> Reply:
        self.send(command, key=key, by=by, same=same)
        (reply,) = self.replies()
        return reply

    def room(self) -> int:
        reply = self.ask(CreateRoom(ANN, "Tea kitchen"))
        assert isinstance(reply, Accepted)
        assert isinstance(reply.answer, RoomAnswer)
        return reply.answer.room_id


def _partition(command: Command) -> int:
    return getattr(command, "room_id", 0) % PARTITIONS


def _message(reply: Reply) -> Message:
    assert isinstance(reply, Accepted), reply
    assert isinstance(reply.answer, MessageAnswer)
    return reply.answer.message


def aggregates_in_memory(host: Host) -> int:
    return sum(each.aggregates.in_memory for each in host.shard._cycle.serving)


def _seq(reply: Reply) -> int:
    return _message(reply).seq


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(PARTITIONS)


def test_messages_of_a_batch_are_numbered_in_its_order(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.send(*(PostMessage(ANN, room, f"{i}") for i in range(5)))
    assert [_seq(reply) for reply in host.replies()] == [1, 2, 3, 4, 5]


def test_large_rooms_that_are_deleted_at_once_go_in_appends_that_a_journal_takes(log: MemoryLog) -> None:
    host = Host(log)
    members = tuple(Invitation(BOB + number, "member") for number in range(20_000))
    rooms: list[int] = []
    while len(rooms) < 8:
        reply = host.ask(CreateRoom(ANN, "Everyone", members=members))
        assert isinstance(reply, Accepted)
        assert isinstance(reply.answer, RoomAnswer)
        rooms.append(reply.answer.room_id)
    host.journal._held = True
    host.send(*(DeleteRoom(ANN, room) for room in rooms), PostMessage(ANN, rooms[0], "too late"))
    sizes = [sum(len(record.data) for record in append.records) for append in _appends(host)]
    assert sum(sizes) > 4 << 20
    assert max(sizes) < 2 << 20
    host.journal.flush()
    *deleted, late = host.replies()
    assert [reply.answer for reply in deleted if isinstance(reply, Accepted)] == [Done()] * len(rooms)
    assert isinstance(late, Rejected)


def _appends(host: Host) -> list[Append]:
    return [submission for submission in host.journal._waiting if isinstance(submission, Append)]


def test_no_reply_leaves_before_what_it_rests_on_is_durable(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.journal._held = True
    host.send(PostMessage(ANN, room, "hello"))
    host.send(PostMessage(BOB, room, "a refusal, which may rest on what is not durable yet"))
    assert host.replies() == []
    host.journal.settle(Fate.WRITTEN)
    accepted, refused = host.replies()
    assert _seq(accepted) == 1
    assert isinstance(refused, Rejected)
    assert refused.rejection == NotAMember(room, BOB)


def test_a_retry_gets_the_first_answer_and_changes_nothing(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    first = host.ask(PostMessage(ANN, room, "hello"), key="k")
    again = host.ask(PostMessage(ANN, room, "hello"), key="k")
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.answer, again.offset, again.replayed) == (first.answer, first.offset, True)
    assert _seq(host.ask(PostMessage(ANN, room, "next"))) == 2


def test_a_key_does_not_remember_a_refusal_that_rests_on_what_the_sender_had_read(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    refused = host.ask(PutMember(ANN, room, BOB, "member", account_exists=False), key="k")
    assert isinstance(refused, Rejected)
    assert refused.rejection == UnknownAccount(BOB)
    brought_in = host.ask(PutMember(ANN, room, BOB, "member"), key="k")
    assert isinstance(brought_in, Accepted)
    assert not brought_in.replayed


def test_a_retry_that_overtakes_the_answer_waits_for_it(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.journal._held = True
    host.send(PostMessage(ANN, room, "hello"), key="k")
    host.send(PostMessage(ANN, room, "hello"), key="k")
    assert host.replies() == []
    host.journal.settle(Fate.WRITTEN)
    assert [_seq(reply) for reply in host.replies()] == [1, 1]


def test_a_retry_finds_its_answer_after_a_crash(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    first = host.ask(PostMessage(ANN, room, "hello"), key="k")
    again = Host(log, host.clock).ask(PostMessage(ANN, room, "hello"), key="k")
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.answer, again.replayed) == (first.answer, True)


@pytest.mark.parametrize("seconds", [1, 300, 599])
def test_a_retry_finds_its_answer_through_a_checkpoint_and_a_crash(log: MemoryLog, seconds: int) -> None:
    host = Host(log, checkpoint_events=1)
    room = host.room()
    first = host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.ask(PostMessage(ANN, room, "more"))
    host.clock.advance(seconds)
    again = Host(log, host.clock).ask(PostMessage(ANN, room, "hello"), key="k")
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert again.answer == first.answer


def test_after_the_window_the_same_key_is_a_new_command(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k")
    host.clock.advance(601)
    assert _seq(host.ask(PostMessage(ANN, room, "hello"), key="k")) == 2


def test_a_refusal_is_remembered_like_an_answer(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.ask(PostMessage(BOB, room, "let me in"), key="k", by=BOB)
    again = Host(log, host.clock).ask(PostMessage(BOB, room, "let me in"), key="k", by=BOB)
    assert isinstance(again, Rejected)
    assert (again.rejection, again.replayed) == (NotAMember(room, BOB), True)


def test_a_key_used_for_another_request_is_refused(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"), key="k", same=1)
    reused = host.ask(PostMessage(ANN, room, "something else"), key="k", same=2)
    assert isinstance(reused, Rejected)
    assert reused.rejection == KeyReused()


def test_two_accounts_may_use_the_same_key(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    assert _seq(host.ask(PostMessage(ANN, room, "hello"), key="k", by=ANN)) == 1
    assert _seq(host.ask(PostMessage(ANN, room, "hello"), key="k", by=BOB)) == 2


def test_a_command_that_waited_past_its_deadline_is_not_executed(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.send(PostMessage(ANN, room, "too late"), seconds=-1.0)
    assert host.replies() == [Unavailable("expired")]
    assert _seq(host.ask(PostMessage(ANN, room, "hello"))) == 1


def test_where_only_a_replay_is_asked_for_nothing_new_is_decided(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    hello = PostMessage(ANN, room, "hello")
    host.send(hello, key="k", replay_only=True)
    assert host.replies() == [NotKnown()]
    first = host.ask(hello, key="k")
    host.send(hello, key="k", replay_only=True)
    (again,) = host.replies()
    assert isinstance(again, Accepted) and again.replayed and _seq(again) == _seq(first) == 1


def test_a_partition_of_somebody_else_is_refused(log: MemoryLog) -> None:
    host = Host(log)
    envelope = CommandEnvelope(PARTITIONS + 1, ANN, CreateRoom(ANN, "Tea"), host.clock.monotonic() + 5)
    host.shard.execute(CommandBatch(1, [envelope]))
    (reply,) = host.replies()
    assert isinstance(reply, Unavailable)
    assert reply.reason == "not_mine"


@pytest.mark.parametrize(("fate", "seq"), [(Fate.LOST, 2), (Fate.UNANSWERED, 3)])
def test_after_an_unknown_outcome_the_log_decides(log: MemoryLog, fate: Fate, seq: int) -> None:
    host = Host(log)
    room = host.room()
    host.ask(PostMessage(ANN, room, "before"))
    host.journal._held = True
    host.send(PostMessage(ANN, room, "perhaps"), key="k")
    host.journal.settle(fate)
    (unknown,) = host.replies()
    assert isinstance(unknown, Unavailable)
    assert unknown.reason == "outcome_unknown"
    host.journal._held = False
    assert _seq(host.ask(PostMessage(ANN, room, "perhaps"), key="k")) == 2  # whichever it was, once
    assert _seq(host.ask(PostMessage(ANN, room, "after"))) == 3
    assert seq in (2, 3)


def test_what_was_decided_on_top_of_an_unknown_outcome_is_unknown_too(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.journal._held = True
    host.send(PostMessage(ANN, room, "one"))
    host.send(PostMessage(ANN, room, "two"))
    host.journal.settle(Fate.LOST)
    host.journal.settle(Fate.WRITTEN)
    assert [type(reply) for reply in host.replies()] == [Unavailable, Unavailable]
    host.journal._held = False
    assert _seq(host.ask(PostMessage(ANN, room, "three"))) == 1


def test_a_deposed_shard_answers_nothing_but_not_mine(log: MemoryLog) -> None:
    old = Host(log)
    room = old.room()
    new = Host(log, old.clock)
    assert _seq(new.ask(PostMessage(ANN, room, "mine now"))) == 1
    assert old.ask(PostMessage(ANN, room, "still mine?")) == Unavailable("not_mine", 0.1)
    assert old.shard.lost
    assert old.ask(PostMessage(ANN, room, "and now?")) == Unavailable("not_mine", 0.1)
    assert _seq(new.ask(PostMessage(ANN, room, "mine still"))) == 2


def test_while_the_journal_is_away_commands_are_refused_and_then_go_on(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.journal._held = True
    host.send(PostMessage(ANN, room, "lost"))
    host.journal.unavailable = True
    host.journal.settle(Fate.LOST)
    host.replies()
    assert host.ask(PostMessage(ANN, room, "meanwhile")) == Unavailable("unavailable")
    host.journal.unavailable = host.journal._held = False
    host.clock.advance(1)
    host.shard.tick()
    assert _seq(host.ask(PostMessage(ANN, room, "hello again"))) == 1


def test_recovery_reads_checkpoints_and_a_bounded_tail(log: MemoryLog) -> None:
    host = Host(log, checkpoint_events=10)
    room = host.room()
    for i in range(95):
        host.ask(PostMessage(ANN, room, f"{i}"))
    partition = room % PARTITIONS
    checkpoint = log.checkpoint(partition, snapshots.VERSION)
    assert checkpoint is not None
    assert len(log.events[partition]) - checkpoint.position.offset <= 20
    assert _seq(Host(log, host.clock).ask(PostMessage(ANN, room, "next"))) == 96


def test_after_a_checkpoint_of_unknown_outcome_the_partition_comes_back_and_makes_the_next(log: MemoryLog) -> None:
    host = Host(log, checkpoint_seconds=1)
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"))
    host.journal._held = True
    host.clock.advance(2)
    host.shard.tick()
    host.journal.settle(Fate.LOST)
    host.shard.drain()
    assert host.journal.waiting == 0
    host.journal._held = False
    assert _seq(host.ask(PostMessage(ANN, room, "on"))) == 2
    host.clock.advance(2)
    host.shard.tick()
    checkpoint = log.checkpoint(room % PARTITIONS, snapshots.VERSION)
    assert checkpoint is not None
    assert checkpoint.position.offset == len(log.events[room % PARTITIONS])


def test_a_checkpoint_of_one_that_was_deposed_tells_it_so(log: MemoryLog) -> None:
    old = Host(log, checkpoint_seconds=1)
    room = old.room()
    old.journal._held = True
    old.clock.advance(2)
    old.shard.tick()
    new = Host(log, old.clock)
    while old.journal.waiting:
        old.journal.settle(Fate.WRITTEN)
    old.journal._held = False
    assert old.ask(PostMessage(ANN, room, "still mine?")) == Unavailable("not_mine", 0.1)
    assert old.shard.lost
    assert _seq(new.ask(PostMessage(ANN, room, "hello"))) == 1


def test_closing_in_order_leaves_no_tail(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"))
    host.shard.close()
    checkpoint = log.checkpoint(room % PARTITIONS, snapshots.VERSION)
    assert checkpoint is not None
    assert checkpoint.position.offset == len(log.events[room % PARTITIONS])


def test_closing_answers_what_was_in_flight(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.journal._held = True
    host.send(PostMessage(ANN, room, "hello"))
    host.journal._held = False
    host.shard.close()
    assert [_seq(reply) for reply in host.replies()] == [1]
    checkpoint = log.checkpoint(room % PARTITIONS, snapshots.VERSION)
    assert checkpoint is not None
    assert checkpoint.position.offset == len(log.events[room % PARTITIONS])


def test_a_record_that_does_not_decode_takes_only_its_own_partition_down(log: MemoryLog) -> None:
    rooms = {}
    for partition in (0, 1):
        host = Host(log)
        envelope = CommandEnvelope(partition, ANN, CreateRoom(ANN, "Tea"), host.clock.monotonic() + 5)
        host.shard.execute(CommandBatch(1, [envelope]))
        (reply,) = host.replies()
        assert isinstance(reply, Accepted)
        assert isinstance(reply.answer, RoomAnswer)
        rooms[partition] = reply.answer.room_id
    log.events[0].append((1, 9, Record("message-posted", 1, True, 0, b"not JSON")))
    host = Host(log)
    assert host.ask(PostMessage(ANN, rooms[0], "hello")) == Unavailable("unavailable")
    assert _seq(host.ask(PostMessage(ANN, rooms[1], "hello"))) == 1


def test_an_owner_passes_over_what_a_newer_falcon_calls_not_critical_and_keeps_its_key(log: MemoryLog) -> None:
    """As after a roll-back. Only the newer one can say what it answered."""
    host = Host(log)
    room = host.room()
    assert _seq(host.ask(PostMessage(ANN, room, "before"))) == 1
    events = log.events[room % PARTITIONS]
    epoch, n, _ = events[-1]
    data = b'{"at":1,"by":%d,"event":{},"command":{"account_id":%d,"key":"k","fingerprint":1}}' % (ANN, ANN)
    events.append((epoch, n + 1, Record("room-painted", 1, False, room, data)))

    host = Host(log)
    assert _seq(host.ask(PostMessage(ANN, room, "behind"))) == 2
    assert host.ask(PostMessage(ANN, room, "behind"), key="k") == Unavailable("outcome_unknown")


def test_an_owner_stops_at_what_a_newer_falcon_calls_critical(log: MemoryLog, caplog: pytest.LogCaptureFixture) -> None:
    host = Host(log)
    room = host.room()
    events = log.events[room % PARTITIONS]
    epoch, n, _ = events[-1]
    events.append((epoch, n + 1, Record("room-painted", 1, True, room, b'{"at":1,"by":0,"event":{}}')))
    assert Host(log).ask(PostMessage(ANN, room, "behind")) == Unavailable("unavailable")
    assert "written by a newer Falcon" in caplog.text


def test_the_log_says_who_did_it(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.ask(PostMessage(ANN, room, "mine"))
    recorded, _ = log.read({room % PARTITIONS: Position()}, 100)
    assert [each.envelope.by for each in recorded] == [ANN, ANN]


def test_a_partition_whose_append_hangs_takes_no_more_in(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.journal._held = True
    host.send(PostMessage(ANN, room, "hangs"))
    host.clock.advance(6)
    assert host.ask(PostMessage(ANN, room, "more")) == Unavailable("overloaded")


def test_an_idle_room_leaves_memory_and_comes_back_as_it_was(log: MemoryLog) -> None:
    host = Host(log, checkpoint_seconds=1, passivate_seconds=60)
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"))
    for _ in range(3):
        host.clock.advance(61)
        host.shard.tick()
        host.shard.drain()
    assert aggregates_in_memory(host) == 0
    assert _seq(host.ask(PostMessage(ANN, room, "awake"))) == 2


def test_more_rooms_than_memory_may_hold_are_all_there(log: MemoryLog) -> None:
    host = Host(log, hot_aggregates=10)
    rooms = [host.room() for _ in range(100)]
    for round_ in (1, 2, 3):
        for room in rooms:
            assert _seq(host.ask(PostMessage(ANN, room, "hello"))) == round_
    assert aggregates_in_memory(host) <= 40 * PARTITIONS


def test_a_pair_has_one_direct_room_also_after_a_crash(log: MemoryLog) -> None:
    host = Host(log)
    ids = []
    for name in ("Ann", "Bob"):
        reply = host.ask(CreateAccount(name))
        assert isinstance(reply, Accepted)
        assert isinstance(reply.answer, AccountAnswer)
        ids.append(reply.answer.account_id)
    ann, bob = sorted(ids)
    found = set()
    for by, peer in ((ann, bob), (bob, ann), (ann, bob)):
        reply = host.ask(OpenDirect(by, peer))
        assert isinstance(reply, Accepted)
        assert isinstance(reply.answer, RoomAnswer)
        found.add(reply.answer.room_id)
        host = Host(log, host.clock)
    assert len(found) == 1


def test_an_outdated_view_of_a_message_is_not_decided_on(log: MemoryLog) -> None:
    host = Host(log)
    room = host.room()
    host.ask(PostMessage(ANN, room, "hello"))
    reply = host.ask(EditMessage(ANN, room, 1, "hello!"), key="k")
    assert isinstance(reply, Rejected)
    assert reply.rejection == NotYetReadable(room, 1)


def test_ids_carry_their_partition_and_are_never_given_twice(log: MemoryLog) -> None:
    rooms = []
    for _ in range(4):
        host = Host(log)
        rooms += [host.room() for _ in range(5)]
    assert len(set(rooms)) == 20
    assert {room % PARTITIONS for room in rooms} == {0}


def test_a_shard_tells_which_rooms_are_busy() -> None:
    clock = FakeClock()
    busy = BusyRooms(clock.monotonic)
    commands = [
        CommandEnvelope(room % 2, 1, PostMessage(1, room, "Tea!"), 5.0)
        for room, times in ((7, 30), (8, 10), (9, 1))
        for _ in range(times)
    ]
    for number in range(41):  # each place of a batch has its turn
        busy.sample(CommandBatch(number, commands))
    clock.advance(10)
    busy.turn()
    assert busy.busiest() == {
        1: (127.1, "room 7: 123.0/s, room 9: 4.1/s"),
        0: (41.0, "room 8: 41.0/s"),
    }
    clock.advance(10)
    busy.turn()
    clock.advance(10)
    busy.turn()
    assert busy.busiest() == {}, "what was long ago is forgotten"


# --- what a room takes ------------------------------------------------------------------------------------------------


def test_a_room_has_as_many_members_as_the_limit_and_its_last_place_can_be_taken(log: MemoryLog) -> None:
    host = Host(log, room_members=100)
    others = tuple(Invitation(account_id) for account_id in range(2_000, 2_000 + 98))
    made = host.ask(CreateRoom(ANN, "Tea kitchen", members=others))
    assert isinstance(made, Accepted)
    assert isinstance(made.answer, RoomAnswer)
    room = made.answer.room_id
    assert isinstance(host.ask(PutMember(ANN, room, BOB, "member")), Accepted)
    full = Unavailable("overloaded", limit="room-members")
    assert host.ask(PutMember(ANN, room, 1_500, "member")) == full
    assert isinstance(host.ask(PutMember(ANN, room, BOB, "readonly")), Accepted)
    assert host.ask(CreateRoom(ANN, "larger still", members=(*others, Invitation(1_500), Invitation(1_501)))) == full


def test_a_busy_room_is_refused_what_is_new_and_a_retry_gets_its_answer(log: MemoryLog) -> None:
    host = Host(log, room_messages=2)
    busy, quiet = host.room(), host.room()
    first = host.ask(PostMessage(ANN, busy, "one"), key="k")
    assert _seq(first) == 1
    assert isinstance(host.ask(PostMessage(BOB, busy, "let me in"), by=BOB), Rejected)
    assert _seq(host.ask(PostMessage(ANN, busy, "two"))) == 2
    refused = host.ask(PostMessage(ANN, busy, "three"), key="l")
    assert isinstance(refused, Unavailable)
    assert (refused.reason, refused.limit, round(refused.retry_after, 3)) == ("overloaded", "room-messages", 0.5)
    assert _seq(host.ask(PostMessage(ANN, busy, "one"), key="k")) == 1
    assert _seq(host.ask(PostMessage(ANN, quiet, "one"))) == 1
    host.clock.advance(0.5)
    assert _seq(host.ask(PostMessage(ANN, busy, "three"), key="l")) == 3


def test_a_step_of_the_time_of_day_changes_nothing_for_a_busy_room(log: MemoryLog) -> None:
    host = Host(log, room_messages=1)
    room = host.room()
    assert _seq(host.ask(PostMessage(ANN, room, "one"))) == 1
    host.clock.set_back(3_600)
    assert isinstance(host.ask(PostMessage(ANN, room, "two")), Unavailable)
    host.clock.advance(1)
    assert _seq(host.ask(PostMessage(ANN, room, "two"))) == 2


def test_an_edge_of_before_understands_that_a_limit_was_reached() -> None:
    """It does not know the field, and passes it over."""

    class Before(msgspec.Struct, tag="Unavailable"):
        reason: str
        retry_after: float = 1.0

    told = msgspec.msgpack.decode(msgspec.msgpack.encode(Unavailable("overloaded", 2.0, "room-messages")), type=Before)
    assert (told.reason, told.retry_after) == ("overloaded", 2.0)


@pytest.mark.parametrize(("seconds", "follows"), [(59, False), (61, True), (2 * 365 * 86_400, True)])
def test_times_follow_a_clock_that_was_ahead_by_more_than_a_minute(
    log: MemoryLog, seconds: int, *, follows: bool
) -> None:
    host = Host(log)
    room = host.room()
    ahead = _message(host.ask(PostMessage(ANN, room, "ahead"))).posted_at
    host.clock.set_back(seconds)
    host = Host(log, host.clock)
    for seq in (2, 3):
        message = _message(host.ask(PostMessage(ANN, room, "now")))
        assert (message.seq, message.posted_at) == (seq, host.clock.now() if follows else ahead)
