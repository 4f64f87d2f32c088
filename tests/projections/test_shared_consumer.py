"""Streams that share one reading of the log: each sees what it would see alone, and the log is read once."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.features.messages.rules import Message, MessagePosted
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Position, Recorded
from falcon.journal.ports import JournalUnavailable
from falcon.projections import shared_consumer
from falcon.projections.shared_consumer import ProjectionSource, SharedLogReader
from tests.projections.test_consumer import NOON, PARTITIONS, World, room_in


class Log:
    """The log of a world, and how often it was read."""

    def __init__(self, world: World) -> None:
        self.partitions = PARTITIONS
        self.events_read = 0
        self.waited: list[bool] = []  # for each read: True if it was to wait for news
        self.away = False
        self._log = world.log

    def read(self, cursor: Cursor, limit: int, *, wait: bool = True) -> tuple[list[Recorded], Cursor]:
        assert cursor  # a consumer of nothing is an error
        if self.away:
            raise JournalUnavailable("away")
        self.waited.append(wait)
        events, after = self._log.read(cursor, limit)
        self.events_read += len(events)
        return events, after

    def check(self, cursor: Cursor) -> None:
        self._log.check(cursor)

    def end(self) -> Cursor:
        return self._log.end()

    def remaining(self, cursor: Cursor) -> int:
        return self._log.remaining(cursor)

    def wait(self, seconds: float) -> None:
        """Nothing comes by itself."""

    def close(self) -> None:
        """Nothing is open."""


class Shared:
    """A log with messages, and consumers that share its reading."""

    def __init__(self) -> None:
        self.world = World()
        self.ahead, self.alone = Log(self.world), Log(self.world)
        self.source = SharedLogReader(self.ahead, self.world.clock.monotonic)

    def consumer(self, *partitions: int) -> "Seeing":
        return Seeing(ProjectionSource(self.source, lambda: self.alone), dict.fromkeys(partitions, Position()))


class Seeing:
    """A consumer that notes what it is given."""

    def __init__(self, source: ProjectionSource, cursor: dict[int, Position]) -> None:
        self.source = source
        self.cursor = cursor
        self.seen: dict[int, list[int]] = {partition: [] for partition in range(PARTITIONS)}

    def read(self, limit: int = 100) -> int:
        events, after = self.source.read(self.cursor, limit)
        assert after.keys() == self.cursor.keys()
        for event in events:
            self.seen[event.envelope.partition].append(event.offset)
        self.cursor.update(after)
        return len(events)

    def read_all(self) -> None:
        while self.read():
            continue


@pytest.fixture
def shared() -> Iterator[Shared]:
    yield Shared()


def test_what_one_consumer_has_read_the_others_take_from_there(shared: Shared) -> None:
    ann, bob, cat = (shared.consumer(0, 1) for _ in range(3))
    shared.world.post(0, "a", "b")
    shared.world.post(1, "c")
    for consumer in (ann, bob, cat):
        consumer.read_all()
        assert consumer.seen == {0: [0, 1], 1: [0], 2: []}
    assert (shared.ahead.events_read, shared.alone.events_read) == (3, 0)


def test_only_one_who_has_taken_everything_waits_for_news(shared: Shared) -> None:
    ann, bob = shared.consumer(0), shared.consumer(0)
    ann.read()
    bob.read()
    assert shared.ahead.waited == [True, True]
    shared.world.post(0, "a")
    ann.read()
    shared.world.clock.advance(1)
    bob.read()  # who has something to take has more fetched, and what there is
    assert shared.ahead.waited[2:] == [True, False]
    assert (ann.seen[0], bob.seen[0]) == ([0], [0])


def test_one_that_is_further_back_reads_by_itself_until_it_has_got_there(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_consumer, "_KEPT_BYTES", 2_100)
    ann, bob = shared.consumer(0), shared.consumer(0)
    bob.read()
    shared.world.clock.advance(10)
    for text in "abcdef":
        shared.world.post(0, text)
        ann.read()
    bob.read_all()
    shared.world.post(0, "g")
    shared.world.clock.advance(1)
    bob.read_all()
    ann.read_all()
    assert ann.seen[0] == bob.seen[0] == list(range(7))
    assert shared.alone.events_read <= 6
    assert shared.ahead.events_read == 7


def test_with_a_backlog_nobody_runs_away_from_those_who_come_along(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_consumer, "_KEPT_BYTES", 8_000)
    monkeypatch.setattr(shared_consumer, "_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(shared_consumer, "_HOLD_SECONDS", 0.01)
    shared.world.post(0, *(f"{n}" for n in range(40)))
    ann, bob = shared.consumer(0), shared.consumer(0)
    bob.read(1)
    while len(bob.seen[0]) < 40:
        while ann.read(1):
            continue
        bob.read(1)
        shared.world.clock.advance(0.004)
    assert ann.seen[0] == bob.seen[0] == list(range(40))
    assert (shared.ahead.events_read, shared.alone.events_read) == (40, 0)


def test_what_all_have_taken_makes_room_for_a_partition_with_much(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_consumer, "_KEPT_BYTES", 8_000)
    ann, bob = shared.consumer(0, 1), shared.consumer(0, 1)
    for n in range(6):
        shared.world.post(1, f"{n}")
        shared.world.clock.advance(1)
        ann.read()
        bob.read()
    for n in range(6):
        shared.world.post(0, f"{n}")
        shared.world.clock.advance(1)
        ann.read()
    bob.read_all()
    assert bob.seen == ann.seen == {0: list(range(6)), 1: list(range(6)), 2: []}
    assert shared.alone.events_read == 0


def test_what_all_have_read_is_kept_for_seconds_only(shared: Shared) -> None:
    ann, bob = shared.consumer(0), shared.consumer(0)
    shared.world.post(0, "a", "b")
    ann.read_all()
    bob.read()
    shared.world.clock.advance(11)
    bob.read()  # now ann and bob have read both, and cat has to read them by itself
    cat = shared.consumer(0)
    cat.read_all()
    assert cat.seen[0] == [0, 1]
    assert (shared.ahead.events_read, shared.alone.events_read) == (2, 2)


def test_what_one_has_still_to_read_is_kept_for_it(shared: Shared) -> None:
    ann, bob = shared.consumer(0), shared.consumer(0)
    bob.read()
    shared.world.clock.advance(1)
    shared.world.post(0, "a", "b")
    ann.read_all()
    shared.world.clock.advance(60)
    ann.read_all()
    bob.read_all()
    assert bob.seen[0] == [0, 1]
    assert shared.alone.events_read == 0


def test_one_whose_tables_are_away_is_not_waited_for(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_consumer, "_KEPT_BYTES", 8_000)
    monkeypatch.setattr(shared_consumer, "_WAIT_SECONDS", 0.0)
    shared.world.post(0, *(f"{n}" for n in range(40)))
    ann, bob = shared.consumer(0), shared.consumer(0)
    for _ in range(20):
        bob.source.read(dict(bob.cursor), 1)  # what it is given cannot be written
        while ann.read(1):
            continue
        shared.world.clock.advance(0.5)
    assert ann.seen[0] == list(range(40))
    bob.read_all()
    assert bob.seen[0] == list(range(40))


def test_one_who_does_not_come_any_more_is_not_waited_for(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_consumer, "_KEPT_BYTES", 8_000)
    monkeypatch.setattr(shared_consumer, "_WAIT_SECONDS", 0.0)
    shared.world.post(0, *(f"{n}" for n in range(40)))
    ann, bob = shared.consumer(0), shared.consumer(0)
    bob.read(1)
    while ann.read(1):
        continue
    assert len(ann.seen[0]) < 40
    for _ in range(20):
        shared.world.clock.advance(0.3)
        while ann.read(1):
            continue
    assert len(ann.seen[0]) == 40
    bob.read_all()
    assert bob.seen[0] == list(range(40))


def test_what_is_dropped_while_one_waits_for_its_turn_it_reads_by_itself(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_consumer, "_KEPT_BYTES", 1)
    monkeypatch.setattr(shared_consumer, "_WAIT_SECONDS", 0.0)
    ann, bob = shared.consumer(0), shared.consumer(0)
    shared.world.post(0, "a")
    ann.read()
    read_on = shared.source.read_on

    def others_go_on(cursor: Cursor, limit: int, *, wait: bool) -> None:
        monkeypatch.setattr(shared.source, "read_on", read_on)
        for text in "bcd":
            shared.world.post(0, text)
            shared.world.clock.advance(1)
            ann.read()

    monkeypatch.setattr(shared.source, "read_on", others_go_on)
    bob.read_all()
    bob.read_all()
    assert bob.seen[0] == ann.seen[0] == [0, 1, 2, 3]


def test_one_that_is_in_front_is_followed(shared: Shared) -> None:
    ann, bob = shared.consumer(0), shared.consumer(0)
    shared.world.post(0, "a", "b", "c")
    ann.read()
    shared.world.post(0, "d", "e")
    (bob.cursor[0],) = (Position(4, shared.world.ends[0].epoch, 4),)
    bob.read()
    assert bob.seen[0] == [4]
    ann.read_all()
    assert ann.seen[0] == [0, 1, 2, 3, 4]


def test_a_partition_that_comes_is_read_with_the_others(shared: Shared) -> None:
    ann, bob = shared.consumer(0), shared.consumer(0, 1)
    shared.world.post(0, "a")
    shared.world.post(1, "b")
    ann.read_all()
    ann.cursor[1] = Position()
    bob.read_all()
    ann.read_all()
    assert ann.seen == bob.seen == {0: [0], 1: [0], 2: []}


def test_a_partition_that_nobody_has_any_more_is_not_read(shared: Shared) -> None:
    ann = shared.consumer(0, 1)
    ann.read()
    del ann.cursor[1]
    shared.world.post(1, "a")
    shared.world.clock.advance(1)
    ann.read()
    assert shared.ahead.events_read == 0


def test_what_cannot_be_decoded_is_told_to_each_consumer_and_the_other_partitions_go_on(shared: Shared) -> None:
    world = shared.world
    ann, bob = shared.consumer(0, 1), shared.consumer(0, 1)
    world.post(0, "a")
    ann.read_all()
    bob.read_all()
    world.append(0, MessagePosted(Message(room_in(0), 2, 9, "x", NOON)), b"no event")
    for consumer in (ann, bob):
        with pytest.raises(Undecodable) as told:
            for _ in range(3):
                world.clock.advance(1)
                consumer.read()
        assert (told.value.partition, told.value.at.offset) == (0, 1)
    world.post(1, "b")
    world.post(0, "c")
    for consumer in (ann, bob):
        behind = consumer.cursor.pop(0)
        world.clock.advance(1)
        consumer.read_all()
        consumer.cursor[0] = Position(2, behind.epoch, behind.n + 1)  # it is passed over
        world.clock.advance(1)
        consumer.read_all()
        assert consumer.seen == {0: [0, 2], 1: [0], 2: []}


def test_what_is_kept_before_what_cannot_be_decoded_is_handed_out(shared: Shared) -> None:
    ann, bob = shared.consumer(0), shared.consumer(0)
    shared.world.post(0, "a")
    ann.read_all()
    shared.world.append(0, MessagePosted(Message(room_in(0), 2, 9, "x", NOON)), b"no event")
    for consumer in (ann, bob):
        shared.world.clock.advance(1)
        with pytest.raises(Undecodable):
            consumer.read_all()
            consumer.read_all()
        assert consumer.seen[0] == [0]


def test_a_log_that_is_away_is_told_and_nothing_is_lost(shared: Shared) -> None:
    ann, bob = shared.consumer(0), shared.consumer(0)
    shared.world.post(0, "a")
    shared.ahead.away = True
    for consumer in (ann, bob):
        with pytest.raises(JournalUnavailable):
            consumer.read()
    shared.ahead.away = False
    ann.read_all()
    bob.read_all()
    assert ann.seen[0] == bob.seen[0] == [0]


def test_of_two_backlogs_neither_waits_for_the_other(shared: Shared) -> None:
    ann, bob = shared.consumer(0, 1), shared.consumer(0, 1)
    for partition in (0, 1):
        shared.world.post(partition, *"abcdefgh")
    for _ in range(8):
        ann.read(2)
    bob.read(4)
    assert bob.seen[0]
    assert bob.seen[1]


steps = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, PARTITIONS - 1), st.integers(1, 7)), min_size=1, max_size=60
)


@given(steps)
def test_each_consumer_sees_every_event_once_and_in_order(taken: list[tuple[int, int, int]]) -> None:
    """Three consumers with partitions of their own choice, one of them slow. Number 3 is a sender."""
    shared = Shared()
    consumers = [shared.consumer(0, 1, 2), shared.consumer(0, 1), shared.consumer(1, 2)]
    for who, partition, number in taken:
        shared.world.clock.advance(0.02)
        if who == 3:
            shared.world.post(partition, *"x" * number)
        else:
            consumers[who].read(number)
    for consumer in consumers:
        shared.world.clock.advance(1)
        consumer.read_all()
        shared.world.clock.advance(1)
        consumer.read_all()
        for partition in consumer.cursor:
            assert consumer.seen[partition] == list(range(shared.world.n[partition]))


@pytest.mark.parametrize("kept", [1, 100_000, 10_000_000])
def test_threads_that_read_at_once_each_see_everything(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(shared_consumer, "_KEPT_BYTES", kept)
    posted = 2_000
    done = threading.Event()
    consumers = [shared.consumer(0, 1, 2) for _ in range(4)]

    def run(consumer: Seeing) -> None:
        while sum(map(len, consumer.seen.values())) < posted and not done.is_set():
            shared.world.clock.advance(0.01)
            consumer.read(50)

    threads = [threading.Thread(target=run, args=(consumer,), daemon=True) for consumer in consumers]
    for thread in threads:
        thread.start()
    for number in range(posted):
        shared.world.post(number % PARTITIONS, "x")
    for thread in threads:
        thread.join(60)
    done.set()
    for consumer in consumers:
        assert consumer.seen == {p: list(range(shared.world.n[p])) for p in range(PARTITIONS)}
