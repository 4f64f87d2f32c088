"""A projection as a stream: partitions come and go, one that meets poison stops alone, and nothing is just skipped."""

import asyncio
import threading

import msgspec
import pytest

from falcon.adapters.memory.journal import MemoryJournal
from falcon.adapters.memory.log import MemoryLog
from falcon.adapters.memory.tables import MemoryTables
from falcon.domain.events import Event, MessagePosted
from falcon.domain.message import Message
from falcon.journal import codec
from falcon.journal.envelope import Cursor, Envelope, Position
from falcon.journal.ports import Append
from falcon.projections import timeline
from falcon.projections.projection import PROJECTIONS
from falcon.projections.stream import Stream
from falcon.projections.verify import Verify
from falcon.read.store import Comparison, PutMessage, ReadStoreUnavailable, Write
from tests.support.clock import FakeClock

PARTITIONS = 3
NOON = "2026-11-25T12:00:00.000Z"


def room_in(partition: int) -> int:
    return PARTITIONS + partition


class World:
    """A log with some messages, tables, and any number of streams."""

    def __init__(self) -> None:
        self.log = MemoryLog(PARTITIONS)
        self.journal = MemoryJournal(self.log, lambda: None)
        self.ends = self.journal.takeover(range(PARTITIONS), "a test")
        self.n = [0] * PARTITIONS
        self.tables = MemoryTables(PARTITIONS, list(PROJECTIONS))
        self.clock = FakeClock()

    def post(self, partition: int, *texts: str) -> None:
        for text in texts:
            seq = self.n[partition] + 1
            self.append(partition, MessagePosted(Message(room_in(partition), seq, 9, text, NOON)))

    def append(self, partition: int, event: Event, data: bytes | None = None) -> None:
        epoch = self.ends[partition].epoch
        envelope = Envelope(partition, epoch, self.n[partition], 1_000, event)
        self.journal.submit([Append(partition, epoch, [envelope], [data or codec.encode(envelope)])])
        self.n[partition] += 1

    def stream(self, *partitions: int, events: int = 100, pace_seconds: float = 0.0) -> "Running":
        return Running(self, set(partitions), events, pace_seconds)

    def texts(self, partition: int) -> list[str]:
        page = asyncio.run(self.tables.page(room_in(partition), 1, 200))
        return [msgspec.json.decode(message, type=Message).text for message in page]


class Running:
    """A stream of the timeline that cannot bear the text "boom"."""

    def __init__(self, world: World, assigned: set[int], events: int, pace_seconds: float) -> None:
        self.assigned = assigned
        self.world = world
        self.bears_everything = False
        self.stream = Stream(
            "timeline",
            self.project,
            world.log,
            world.tables,
            lambda: frozenset(self.assigned),
            events=events,
            pace_seconds=pace_seconds,
            monotonic=world.clock.monotonic,
        )

    def project(self, envelope: Envelope) -> tuple[Write, ...]:
        event = envelope.event
        if isinstance(event, MessagePosted) and event.message.text == "boom" and not self.bears_everything:
            raise ZeroDivisionError("boom")
        return timeline.project(envelope)

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
    offset, error = world.tables.stops("timeline")[0]
    assert offset == 1
    assert "ZeroDivisionError" in error
    assert world.tables.cursor("timeline")[0].offset == 1


def test_a_record_that_does_not_decode_stops_its_partition(world: World) -> None:
    world.post(0, "a")
    world.append(0, MessagePosted(Message(room_in(0), 2, 9, "x", NOON)), b"not json")
    world.post(1, "c")
    running = world.stream(0, 1)
    running.settle()
    world.post(1, "d")
    running.settle()
    assert world.tables.stops("timeline")[0][0] == 1
    assert world.texts(1) == ["c", "d"]


def test_a_stopped_partition_goes_on_when_the_fault_is_mended(world: World) -> None:
    world.post(0, "a", "boom", "b")
    running = world.stream(0)
    running.settle()
    running.bears_everything = True
    world.clock.advance(60)
    running.settle()
    assert world.texts(0) == ["a", "boom", "b"]
    assert world.tables.stops("timeline") == {}


def test_what_somebody_has_recorded_to_be_skipped_is_passed_over_and_nothing_else_is(world: World) -> None:
    world.post(0, "a", "boom", "b", "boom", "c")
    running = world.stream(0)
    running.settle()
    world.tables.skip("timeline", 0, 1, "a test")
    world.clock.advance(6)
    running.settle()
    assert world.tables.stops("timeline")[0][0] == 3
    messages = asyncio.run(world.tables.page(room_in(0), 1, 10))
    assert [msgspec.json.decode(message, type=Message).seq for message in messages] == [1, 3]
    assert world.tables.skips("timeline") == {(0, 1): "a test"}


def test_a_table_that_is_away_for_a_while_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.post(0, "a", "b")
    running = world.stream(0)

    def away(projection: str, expected: Cursor, after: Cursor, writes: object) -> None:
        raise ReadStoreUnavailable("the test says so")

    with monkeypatch.context() as patch:
        patch.setattr(world.tables, "apply", away)
        with pytest.raises(ReadStoreUnavailable):
            running.stream.step()
    running.settle()
    assert world.texts(0) == ["a", "b"]


def test_what_the_tables_will_never_take_stops_its_partition(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.post(0, "a")
    world.post(1, "b")
    apply = world.tables.apply

    def choosy(projection: str, expected: Cursor, after: Cursor, writes: list[Write]) -> None:
        if any(isinstance(write, PutMessage) and write.room_id == room_in(0) for write in writes):
            raise ValueError("too large a cell")
        apply(projection, expected, after, writes)

    monkeypatch.setattr(world.tables, "apply", choosy)
    world.stream(0, 1).settle()
    assert world.texts(1) == ["b"]
    assert "too large a cell" in world.tables.stops("timeline")[0][1]


class Ending(threading.Event):
    """Lets a stream take one step; ``waited``: how long that would have paused then."""

    waited = 0.0

    def is_set(self) -> bool:
        return self.waited > 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waited = timeout or 0.0
        return True


@pytest.mark.parametrize(("writing", "pause"), [(0.0, 0.1), (0.003, 0.097), (0.03, 0.17), (0.3, 0.1)])
def test_the_busier_the_tables_the_more_goes_into_a_batch(
    world: World, monkeypatch: pytest.MonkeyPatch, writing: float, pause: float
) -> None:
    apply = world.tables.apply

    def busy(projection: str, expected: Cursor, after: Cursor, writes: list[Write]) -> None:
        world.clock.advance(writing)
        apply(projection, expected, after, writes)

    monkeypatch.setattr(world.tables, "apply", busy)
    stream = world.stream(0, pace_seconds=0.1).stream
    world.post(0, "a", "b")
    ending = Ending()
    stream.run(ending)
    assert ending.waited == pytest.approx(pause, abs=1e-4)


def test_behind_a_full_batch_the_next_one_is_not_waited_for(world: World) -> None:
    world.post(0, "a", "b", "c")
    ending = Ending()
    world.stream(0, events=1, pace_seconds=0.1).stream.run(ending)
    assert world.texts(0) == ["a", "b", "c"]


def test_behind_a_full_batch_the_next_one_is_not_waited_for_though_nobody_knows_of_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post(0, "a", "b", "c")
    monkeypatch.setattr(world.log, "behind", lambda cursor: 0)
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
    messages = world.tables._projections["timeline"].messages
    del messages[room_in(0), 7]
    messages[room_in(0), 9] = b"{}"

    def verify(mend: bool) -> Comparison:
        return Verify("timeline", timeline.project, world.log, world.tables, mend=mend, events_a_second=1e9).run()

    assert verify(mend=False) == Comparison(50, 1, 1)
    assert verify(mend=True) == Comparison(50, 1, 1)
    assert verify(mend=False) == Comparison(50, 0, 0)
    assert world.texts(0) == [f"{i}" for i in range(50)]


def test_verifying_looks_no_further_than_the_projection_has_got(world: World) -> None:
    world.post(0, "a")
    world.stream(0).settle()
    world.post(0, "b")
    verify = Verify("timeline", timeline.project, world.log, world.tables, mend=False, events_a_second=1e9)
    assert verify.run() == Comparison(1, 0, 0)
    assert world.tables.cursor("timeline")[0] == Position(1, world.ends[0].epoch, 1)
