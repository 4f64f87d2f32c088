"""A projection as a stream: partitions come and go, one that meets poison stops alone, and nothing is just skipped."""

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from falcon.domain.ids import NOBODY
from falcon.features.catalogue import Event
from falcon.features.messages import table as timeline
from falcon.features.messages.bodies import lost_message, message_in
from falcon.features.messages.rules import Message, MessageEdited, MessagePosted
from falcon.features.messages.table import UpsertMessage
from falcon.features.rooms.rules import MemberJoined
from falcon.journal import codec
from falcon.journal.envelope import Cursor, Envelope, Position, Recorded
from falcon.journal.ports import Append, JournalUnavailable, LogWentBack, NotShown
from falcon.projections.consumer import ProjectionConsumer
from falcon.projections.rebuild import Rebuild
from falcon.projections.verify import Verify
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import Comparison, ReadStoreUnavailable, Skip
from falcon.read.write import Write
from falcon.telemetry import metrics
from tools.harness.clock import FakeClock
from tools.harness.memory.journal import MemoryJournal
from tools.harness.memory.log import MemoryLog
from tools.harness.memory.tables import MemoryTables

PARTITIONS = 3
NOON = 1_764_072_000_000  # 2025-11-25T12:00:00Z


def room_in(partition: int) -> int:
    return PARTITIONS + partition


class World:
    """A log with some messages, tables, and any number of streams."""

    def __init__(self) -> None:
        self.log = MemoryLog(PARTITIONS)
        self.journal = MemoryJournal(self.log, lambda: None)
        self.ends = self.journal.takeover(range(PARTITIONS), "a test")
        self.n = [0] * PARTITIONS
        self.tables = MemoryTables(PARTITIONS, list(READ_MODELS))
        self.clock = FakeClock()

    def post(self, partition: int, *texts: str) -> None:
        for text in texts:
            seq = self.n[partition] + 1
            self.append(partition, MessagePosted(Message(room_in(partition), seq, 9, text, NOON)))

    def append(self, partition: int, event: Event, data: bytes = b"") -> None:
        epoch = self.ends[partition].epoch
        envelope = Envelope(partition, epoch, self.n[partition], 1_000, event)
        record = codec.encode(envelope)
        if data:
            record = msgspec.structs.replace(record, data=data)
        self.journal.submit([Append(partition, epoch, [envelope], [record])])
        self.n[partition] += 1

    def garbage(self, partition: int) -> None:
        self.append(partition, MessagePosted(Message(room_in(partition), 0, 9, "x", NOON)), b"not json")

    def position(self, partition: int, events: int) -> Position:
        """Behind so many events of a partition."""
        return Position(events, self.ends[partition].epoch, events)

    def skip_where_stopped(self, partition: int) -> None:
        """Skip as an operator does, and let some time pass."""
        at = self.tables.stops("timeline")[partition].at
        self.tables.skip("timeline", Skip(partition, at, "a test"))
        self.clock.advance(6)

    def stream(self, *partitions: int, events: int = 100, pace_seconds: float = 0.0) -> "Running":
        return Running(self, set(partitions), events, pace_seconds)

    def texts(self, partition: int) -> list[str]:
        return [message.text for message in self._page(partition)]

    def messages(self, partition: int) -> list[str]:
        """Texts, and where there is one that cannot be shown."""
        return ["(missing)" if m.author_id == NOBODY else m.text for m in self._page(partition)]

    def _page(self, partition: int) -> list[Message]:
        there, room = self.tables.messages(room_in(partition)), room_in(partition)
        return [message_in(there.get(seq) or lost_message(room, seq)) for seq in range(1, max(there, default=0) + 1)]


class Running:
    """A stream of the timeline that cannot bear the text "boom"."""

    def __init__(self, world: World, assigned: set[int], events: int, pace_seconds: float) -> None:
        self.assigned = assigned
        self.world = world
        self.bears_everything = False
        self.stream = ProjectionConsumer(
            "timeline",
            self.project,
            world.log,
            world.tables,
            lambda: frozenset(self.assigned),
            events=events,
            pace_seconds=pace_seconds,
            monotonic=world.clock.monotonic,
        )

    def project(self, recorded: Recorded) -> tuple[Write, ...]:
        event = recorded.envelope.event
        if (
            isinstance(event, MessagePosted | MessageEdited)
            and event.message.text == "boom"
            and not self.bears_everything
        ):
            raise ZeroDivisionError("boom")
        return timeline.project(recorded)

    def settle(self) -> None:
        for _ in range(10):
            self.stream.step()


@pytest.fixture
def world() -> World:
    return World()


def test_a_stream_applies_the_partitions_that_are_its_own(world: World) -> None:
    world.post(0, "a", "b")
    world.post(1, "c")
    world.stream(0).settle()
    assert (world.texts(0), world.texts(1)) == (["a", "b"], [])


def test_a_partition_goes_on_where_another_stream_left_it(world: World) -> None:
    world.post(0, "a", "b")
    ann, bob = world.stream(0), world.stream()
    ann.settle()
    ann.assigned, bob.assigned = set(), {0}
    world.post(0, "c")
    bob.settle()
    ann.settle()
    assert world.texts(0) == ["a", "b", "c"]
    assert world.tables.cursor("timeline")[0].offset == 3


def test_two_streams_that_both_believe_to_have_a_partition_do_no_harm(world: World) -> None:
    ann, bob = world.stream(0, events=2), world.stream(0, events=3)
    world.post(0, *"abcdefgh")
    for _ in range(10):
        ann.stream.step()
        bob.stream.step()
    assert world.texts(0) == list("abcdefgh")


def test_a_poison_event_stops_its_partition_and_no_other(world: World) -> None:
    world.post(0, "a", "boom", "b")
    world.post(1, "c", "d")
    world.stream(0, 1).settle()
    assert (world.texts(0), world.texts(1)) == (["a"], ["c", "d"])
    at, why = world.tables.stops("timeline")[0]
    assert at == Position(1, world.ends[0].epoch, 1)
    assert "ZeroDivisionError" in why
    assert world.tables.cursor("timeline")[0].offset == 1


def test_a_record_that_does_not_decode_stops_its_partition(world: World) -> None:
    world.post(0, "a")
    world.garbage(0)
    world.post(1, "c")
    running = world.stream(0, 1)
    running.settle()
    world.post(1, "d")
    running.settle()
    assert world.tables.stops("timeline")[0].at.offset == 1
    assert (world.texts(0), world.texts(1)) == (["a"], ["c", "d"])


def test_a_stopped_partition_goes_on_when_the_fault_is_mended(world: World) -> None:
    world.post(0, "a", "boom", "b")
    running = world.stream(0)
    running.settle()
    running.bears_everything = True
    world.clock.advance(60)
    running.settle()
    assert world.texts(0) == ["a", "boom", "b"]
    assert world.tables.stops("timeline") == {}


def test_what_an_operator_skips_is_shown_as_missing_and_nothing_else_is_skipped(world: World) -> None:
    world.post(0, "a", "boom", "b", "boom", "c")
    running = world.stream(0)
    running.settle()
    world.skip_where_stopped(0)
    running.settle()
    assert world.tables.stops("timeline")[0].at.offset == 3
    assert world.messages(0) == ["a", "(missing)", "b"]
    world.skip_where_stopped(0)
    running.settle()
    assert world.messages(0) == ["a", "(missing)", "b", "(missing)", "c"]
    assert world.tables.stops("timeline") == {}


def test_a_message_whose_edit_is_skipped_shows_no_text_of_before(world: World) -> None:
    message = Message(room_in(0), 1, 9, "a secret", NOON)
    world.post(0, "a secret")
    world.append(0, MessageEdited(msgspec.structs.replace(message, text="boom"), revision=1))
    running = world.stream(0)
    running.settle()
    assert world.messages(0) == ["a secret"]
    world.skip_where_stopped(0)
    running.settle()
    assert world.messages(0) == ["(missing)"]
    assert world.tables.revision(room_in(0)) == 1


def test_a_record_that_does_not_decode_can_be_skipped(world: World) -> None:
    world.post(0, "a")
    world.garbage(0)
    world.post(0, "b")
    running = world.stream(0)
    running.settle()
    world.skip_where_stopped(0)
    running.settle()
    assert world.messages(0) == ["a", "(missing)", "b"]


def test_a_skip_of_another_history_is_no_skip(world: World) -> None:
    world.post(0, "a", "boom", "b")
    world.tables.skip("timeline", Skip(0, Position(1, world.ends[0].epoch + 1, 1), "of the log before it was restored"))
    running = world.stream(0)
    running.settle()
    world.clock.advance(60)
    running.settle()
    assert world.messages(0) == ["a"]


@pytest.mark.parametrize("operation", ["rebuild", "verify"])
def test_what_was_skipped_is_passed_over_by_rebuild_and_verify(world: World, operation: str) -> None:
    world.post(0, "a", "boom", "b")
    world.garbage(0)
    world.post(0, "c")
    running = world.stream(0, 1, 2)
    for _ in range(2):
        running.settle()
        world.skip_where_stopped(0)
    running.settle()
    shown = world.messages(0)
    if operation == "verify":
        verify = Verify("timeline", running.project, world.log, world.tables, repair=False, events_a_second=1e9)
        assert verify.run() == Comparison(4, 0, 0)
    else:
        skips = world.tables.skips("timeline")
        assert Rebuild("timeline", running.project, world.log, world.tables, skips=skips).run() == 4
    assert world.messages(0) == shown == ["a", "(missing)", "b", "(missing)", "c"]


def test_a_table_that_is_away_for_a_while_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.post(0, "a", "b")
    running = world.stream(0)

    def away(*batch: object) -> None:
        raise ReadStoreUnavailable("the test says so")

    with monkeypatch.context() as patch:
        patch.setattr(world.tables, "apply", away)
        with pytest.raises(ReadStoreUnavailable):
            running.stream.step()
    running.settle()
    assert world.texts(0) == ["a", "b"]


def test_a_stream_runs_on_when_the_tables_or_the_log_were_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.post(0, "a")
    stream = world.stream(0).stream
    step, faults = stream.step, [ReadStoreUnavailable("no tables"), JournalUnavailable("no log")]
    ending = threading.Event()

    def faulty() -> int:
        if faults:
            raise faults.pop(0)
        ending.set()
        return step()

    monkeypatch.setattr(stream, "step", faulty)
    monkeypatch.setattr("falcon.projections.consumer._PAUSE_SECONDS", 0.001)
    stream.run(ending)
    assert world.texts(0) == ["a"]


class Choosy:
    """Tables that refuse messages with the text "huge"; what other partitions wrote in the same batch, they keep."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.batches = 0
        self._apply = world.tables.apply
        monkeypatch.setattr(world.tables, "apply", self.apply)

    def apply(self, projection: str, expected: Cursor, after: Cursor, writes: list[Write], *quiet: object) -> None:
        self.batches += 1
        refused = {w.room_id for w in writes if isinstance(w, UpsertMessage) and b'"huge"' in w.message}
        for partition in after:
            of_partition = [write for write in writes if write[0] == room_in(partition)]
            if room_in(partition) not in refused:
                self._apply(projection, {partition: expected[partition]}, {partition: after[partition]}, of_partition)
        if refused:
            raise ValueError("too large a cell")


@pytest.mark.parametrize("place", range(8))
def test_a_write_that_the_tables_refuse_stops_its_partition_at_its_event(
    world: World, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    choosy = Choosy(world, monkeypatch)
    texts = [*"abcdefgh"]
    texts[place] = "huge"
    world.post(0, *texts)
    running = world.stream(0)
    running.settle()
    at, why = world.tables.stops("timeline")[0]
    assert (at.offset, world.texts(0)) == (place, texts[:place])
    assert "too large a cell" in why
    assert choosy.batches < 12
    world.skip_where_stopped(0)
    running.settle()
    texts[place] = "(missing)"
    assert world.messages(0) == texts


def test_what_the_tables_refuse_stops_no_other_partition(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    Choosy(world, monkeypatch)
    for partition in (1, 0, 2):
        world.post(partition, "a", "huge" if partition == 0 else "b", "c")
    running = world.stream(0, 1, 2)
    running.settle()
    assert world.tables.stops("timeline").keys() == {0}
    assert [world.texts(partition) for partition in (0, 1, 2)] == [["a"], ["a", "b", "c"], ["a", "b", "c"]]


def test_a_fault_is_found_though_other_partitions_always_have_news(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Choosy(world, monkeypatch)
    world.post(2, "a", "huge", "b")
    running = world.stream(0, 2)
    for _ in range(4):
        world.post(0, "news")
        running.stream.step()
    assert world.tables.stops("timeline")[2].at.offset == 1
    assert world.texts(0) == ["news"] * 4


def test_a_fault_of_the_projection_behind_one_of_the_tables_stops_at_the_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Choosy(world, monkeypatch)
    world.post(0, "a", "huge", "b", "boom", "c")
    running = world.stream(0)
    running.settle()
    assert world.tables.stops("timeline")[0].at.offset == 1
    world.skip_where_stopped(0)
    running.settle()
    assert world.tables.stops("timeline")[0].at.offset == 3


# --- a log that went back ---------------------------------------------------------------------------------------------


class Restored:
    """A world whose log is restored from a copy of it that was made before the last messages."""

    def __init__(self) -> None:
        self.world = World()
        self.world.post(0, "a", "b", "c")
        self.world.stream(0).settle()
        del self.world.log.events[0][1:]
        self.world.ends = self.world.journal.takeover(range(PARTITIONS), "another")
        self.world.n[0] = 0

    def write_on(self, count: int) -> None:
        for seq in range(2, 2 + count):
            message = Message(room_in(0), seq, 9, f"new {seq}", NOON)
            self.world.append(0, MessagePosted(message))


@pytest.mark.parametrize("written", [0, 1, 2, 7])
def test_a_projection_that_stands_where_the_log_does_not_go_stops_and_says_so(
    written: int, said: pytest.LogCaptureFixture
) -> None:
    restored = Restored()
    restored.write_on(written)
    restored.world.stream(0).settle()
    assert restored.world.texts(0) == ["a", "b", "c"]
    assert said.text.count("the log has lost what the tables show") == 1
    assert metrics.projection_stopped.labels("timeline").value == 1
    assert restored.world.tables.why_went_back()


def test_it_stays_so_when_the_log_has_grown_over_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    restored = Restored()
    running = restored.world.stream(0)
    running.settle()
    restored.write_on(7)
    monkeypatch.setattr(restored.world.log, "check", lambda cursor: None)  # such a place may look as the lost one did
    running.settle()
    restored.world.stream(0).settle()
    assert restored.world.texts(0) == ["a", "b", "c"]


def test_no_other_partition_goes_on_either(world: World) -> None:
    world.post(0, "a", "b")
    world.post(1, "c")
    world.stream(0, 1).settle()
    del world.log.events[0][1:]
    world.post(1, "d")
    world.stream(0, 1).settle()
    assert world.texts(1) == ["c"]


def test_a_log_that_goes_back_under_a_running_stream_stops_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.post(0, "a", "b", "c")
    running = world.stream(0)
    running.settle()
    del world.log.events[0][1:]

    def beyond(cursor: Cursor, limit: int) -> None:
        raise LogWentBack("no offset 3")

    with monkeypatch.context() as patch:
        patch.setattr(world.log, "read", beyond)
        running.stream.step()
    world.post(0, *"defgh")
    running.settle()
    assert world.texts(0) == ["a", "b", "c"]
    assert world.tables.why_went_back()


def test_a_log_that_only_seems_to_have_gone_back_stops_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.post(0, "a", "b", "c")
    running = world.stream(0)
    running.settle()

    def beyond(cursor: Cursor, limit: int) -> None:
        raise LogWentBack("no offset 3")

    with monkeypatch.context() as patch:
        patch.setattr(world.log, "read", beyond)
        running.stream.step()
    world.post(0, "d")
    running.settle()
    assert world.texts(0) == ["a", "b", "c", "d"]


def test_partitions_that_can_be_read_do_not_wait_for_one_that_cannot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post(0, "a")
    world.post(1, "b")
    running, check = world.stream(0, 1), world.log.check

    def without_a_leader(cursor: Cursor) -> None:
        if 1 in cursor:
            raise NotShown("no broker leads partition 1", {1})
        check(cursor)

    with monkeypatch.context() as patch:
        patch.setattr(world.log, "check", without_a_leader)
        running.settle()
        world.post(0, "c")
        world.clock.advance(3)
        running.settle()
    assert (world.texts(0), world.texts(1)) == (["a", "c"], [])
    world.clock.advance(3)
    running.settle()
    assert world.texts(1) == [], "each look holds the others up, so they get rarer"
    world.clock.advance(3)
    running.settle()
    assert world.texts(1) == ["b"]


def test_a_stopped_partition_that_cannot_be_read_any_more_does_no_harm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post(0, "a")
    world.post(1, "boom")
    running, other, check = world.stream(0, 1), world.stream(0), world.log.check
    running.settle()

    def without_a_leader(cursor: Cursor) -> None:
        if 1 in cursor:
            raise NotShown("no broker leads partition 1", {1})
        check(cursor)

    with monkeypatch.context() as patch:
        patch.setattr(world.log, "check", without_a_leader)
        world.post(0, "b")
        other.settle()  # so that the first one has to look again where its partitions stand
        running.settle()
        world.clock.advance(6)
        running.settle()
    running.bears_everything = True
    world.clock.advance(40)
    running.settle()
    world.clock.advance(40)
    running.settle()
    assert (world.texts(0), world.texts(1)) == (["a", "b"], ["boom"])
    assert not world.tables.stops("timeline")


def test_tables_of_a_history_that_is_gone_are_not_verified() -> None:
    restored = Restored()
    restored.write_on(7)
    tables, log = restored.world.tables, restored.world.log
    with pytest.raises(LogWentBack):
        Verify("timeline", timeline.project, log, tables, repair=True, events_a_second=1e9).run()


# --- how much goes into a batch ---------------------------------------------------------------------------------------


class Ending(threading.Event):
    """Lets a stream take one step; ``waited``: how long that would have paused then."""

    waited = 0.0

    def is_set(self) -> bool:
        return self.waited > 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waited = timeout or 0.0
        return True


@pytest.mark.parametrize(("writing", "pause"), [(0.0, 0.02), (0.01, 0.01), (0.03, 0.015), (0.05, 0.075), (0.3, 0.1)])
def test_the_busier_the_tables_the_more_goes_into_a_batch(
    world: World, monkeypatch: pytest.MonkeyPatch, writing: float, pause: float
) -> None:
    apply = world.tables.apply

    def busy(*batch: Any) -> None:
        world.clock.advance(writing)
        apply(*batch)

    monkeypatch.setattr(world.tables, "apply", busy)
    stream = world.stream(0, pace_seconds=0.02).stream
    for _ in range(40):
        world.post(0, "a", "b")
        stream.step()
    world.post(0, "a", "b")
    ending = Ending()
    stream.run(ending)
    assert ending.waited == pytest.approx(pause, abs=1e-3)


def test_a_batch_that_took_long_once_holds_the_next_one_up_by_little(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = world.tables.apply

    def busy(*batch: Any) -> None:
        world.clock.advance(0.15)
        apply(*batch)

    monkeypatch.setattr(world.tables, "apply", busy)
    stream = world.stream(0, pace_seconds=0.02).stream
    world.post(0, "a", "b")
    ending = Ending()
    stream.run(ending)
    assert 0 < ending.waited < 0.1


# --- projections that have nothing to write ---------------------------------------------------------------------------


class Pair:
    """The timeline's stream, which confirms memberships', and that of memberships; in partition 0."""

    def __init__(self, world: World) -> None:
        self.world = world
        others = {"memberships": READ_MODELS["memberships"].project}
        for name in READ_MODELS.keys() - {"timeline", "memberships"}:
            world.tables.apply(name, world.tables.cursor(name), dict.fromkeys(range(PARTITIONS), _FAR), ())
        self.timeline = self._stream("timeline", confirms=others)
        self.memberships = self._stream("memberships", is_confirmed=True)

    def _stream(self, name: str, **confirming: Any) -> ProjectionConsumer:
        log, tables, monotonic = self.world.log, self.world.tables, self.world.clock.monotonic
        return ProjectionConsumer(
            name, READ_MODELS[name].project, log, tables, lambda: {0}, monotonic=monotonic, **confirming
        )

    def join(self) -> None:
        self.world.append(0, MemberJoined(room_in(0), 8, "member", 0))

    def shown(self) -> int:
        return asyncio.run(self.world.tables.applied(0))

    def recorded(self) -> int:
        return self.world.tables.cursor("memberships")[0].offset


_FAR = Position(1_000, 1, 1_000)


@pytest.fixture
def pair(world: World) -> Pair:
    pair = Pair(world)
    pair.join()
    pair.timeline.step()
    pair.memberships.step()
    assert (pair.shown(), pair.recorded()) == (1, 1)
    return pair


def test_messages_are_shown_without_a_word_of_a_projection_that_writes_nothing_for_them(pair: Pair) -> None:
    pair.world.post(0, "a", "b")
    pair.memberships.step()
    pair.timeline.step()
    assert (pair.shown(), pair.recorded()) == (3, 1)


def test_somebody_who_has_joined_is_waited_for(pair: Pair) -> None:
    pair.world.post(0, "a")
    pair.join()
    pair.world.post(0, "b")
    pair.timeline.step()
    assert pair.shown() == 1
    pair.memberships.step()
    assert (pair.shown(), pair.recorded()) == (4, 4)


def test_a_projection_that_writes_nothing_says_within_a_second_how_far_it_is(pair: Pair) -> None:
    pair.world.post(0, "a")
    pair.memberships.step()
    assert pair.recorded() == 1
    pair.world.clock.advance(1.1)
    pair.memberships.step()
    assert pair.recorded() == 2


def test_another_stream_goes_on_from_what_was_recorded(pair: Pair) -> None:
    pair.world.post(0, "a")
    pair.memberships.step()
    other = Pair(pair.world).memberships
    pair.join()
    other.step()
    pair.memberships.step()  # it has been overtaken
    pair.join()
    pair.memberships.step()
    pair.timeline.step()
    assert (pair.shown(), pair.recorded()) == (4, 4)


def test_nothing_is_confirmed_behind_a_record_that_does_not_decode(pair: Pair) -> None:
    """It may be about members, and memberships has stopped before it."""
    pair.world.garbage(0)
    pair.world.post(0, "a")
    pair.timeline.step()
    pair.memberships.step()
    pair.world.skip_where_stopped(0)
    for _ in range(3):
        pair.timeline.step()
        pair.memberships.step()
    assert pair.world.tables.cursor("timeline")[0].offset == 3
    assert pair.shown() == 1


def test_a_stream_that_has_just_begun_confirms_nothing_before_it(pair: Pair) -> None:
    pair.join()
    pair.timeline.step()
    pair.world.post(0, "a")
    Pair(pair.world).timeline.step()
    assert pair.shown() == 1


def test_nothing_is_confirmed_in_a_backlog(world: World) -> None:
    pair = Pair(world)
    world.post(0, *"abcdefghijklmnopqrstuvwxyz" * 20)
    for _ in range(3):
        pair.memberships.step()
        pair.timeline.step()
    assert pair.shown() == pair.recorded() == 520


def test_behind_a_full_batch_the_next_one_is_not_waited_for(world: World) -> None:
    world.post(0, "a", "b", "c")
    ending = Ending()
    world.stream(0, events=1, pace_seconds=0.1).stream.run(ending)
    assert world.texts(0) == ["a", "b", "c"]


def test_behind_a_full_batch_the_next_one_is_not_waited_for_though_nobody_knows_of_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post(0, "a", "b", "c")
    monkeypatch.setattr(world.log, "remaining", lambda cursor: 0)
    world.stream(0, events=1, pace_seconds=0.1).stream.run(Ending())
    assert world.texts(0) == ["a", "b", "c"]


def test_with_a_backlog_the_next_batch_is_not_waited_for_though_the_last_was_not_full(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post(0, *"abcdefghi")
    read = world.log.read
    monkeypatch.setattr(world.log, "read", lambda cursor, limit: read(cursor, min(limit, 3)))
    world.stream(0, events=8, pace_seconds=0.1).stream.run(Ending())
    assert world.texts(0) == [*"abcdefghi"]


def test_what_waits_behind_a_poison_event_does_not_hurry_the_stream(world: World) -> None:
    world.post(0, "boom", *"abcdefghi")
    world.post(1, "c")
    running = world.stream(0, 1, events=8, pace_seconds=0.1)
    running.settle()
    world.post(1, "d")
    ending = Ending()
    running.stream.run(ending)
    assert ending.waited > 0
    assert world.texts(1) == ["c", "d"]


def test_verifying_finds_what_the_tables_have_lost_and_mends_it(world: World) -> None:
    world.post(0, *(f"{i}" for i in range(50)))
    world.stream(0, 1, 2).settle()
    messages = world.tables.tables("timeline").messages
    del messages[room_in(0), 7]
    messages[room_in(0), 9] = b"{}"

    def verify(repair: bool) -> Comparison:
        return Verify("timeline", timeline.project, world.log, world.tables, repair=repair, events_a_second=1e9).run()

    assert verify(repair=False) == Comparison(50, 1, 1)
    assert verify(repair=True) == Comparison(50, 1, 1)
    assert verify(repair=False) == Comparison(50, 0, 0)
    assert world.texts(0) == [f"{i}" for i in range(50)]


def test_what_several_partitions_lack_is_counted_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falcon.projections.verify._WINDOW_EVENTS", 2)
    for partition in range(PARTITIONS):
        world.post(partition, *"abcd")
    world.stream(0, 1, 2).settle()
    messages = world.tables.tables("timeline").messages
    del messages[room_in(0), 1], messages[room_in(2), 1], messages[room_in(2), 2]
    messages[room_in(0), 3] = messages[room_in(1), 3] = b"{}"
    verify = Verify("timeline", timeline.project, world.log, world.tables, repair=False, events_a_second=1e9)
    assert verify.run() == Comparison(12, 3, 2)


def test_verifying_looks_no_further_than_the_projection_has_got(world: World) -> None:
    world.post(0, "a")
    world.stream(0).settle()
    world.post(0, "b")
    verify = Verify("timeline", timeline.project, world.log, world.tables, repair=False, events_a_second=1e9)
    assert verify.run() == Comparison(1, 0, 0)
    assert world.tables.cursor("timeline")[0] == Position(1, world.ends[0].epoch, 1)
