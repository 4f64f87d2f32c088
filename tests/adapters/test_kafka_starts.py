"""A place in a partition lies behind the takeover whose owner wrote the record before it, wherever a reader began."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.adapters.kafka import fence
from falcon.adapters.kafka import reader as readers
from falcon.adapters.kafka import tail as tails
from falcon.adapters.kafka.tail import KafkaTail
from falcon.journal.envelope import Position
from falcon.streams.starts import NO_START
from tests.adapters.test_kafka_positions import SEGMENT, FakeReader, from_the_start, tail_over


def log_of(epochs: list[tuple[int, int]]) -> list[bytes]:
    """So many events of each epoch, which begins with a marker of that number."""
    records: list[bytes] = []
    for number, events in epochs:
        records.append(fence.marker("an owner", number))
        records += [fence.event(len(records), n, b"") for n in range(events)]
    return records


def numbers_of(epochs: list[tuple[int, int]]) -> list[int]:
    """Of each place in the log."""
    return [NO_START, *(number for number, events in epochs for _ in range(1 + events))]


epochs = st.lists(st.tuples(st.integers(1, 2**32 - 1), st.integers(0, 5)), min_size=1, max_size=5)


class Reading:
    """A tail of these records, which reads ``most`` of them at a time."""

    def __init__(self, records: list[bytes], most: int = 3) -> None:
        self.reader = FakeReader(records.__getitem__, len(records))
        self.tail: KafkaTail = tail_over(self.reader)
        self.tail._reader = self.reader  # type: ignore[assignment]
        self.most = most

    def number(self, offset: int) -> int:
        """As a client's token with this place asks for it."""
        asyncio.run(self.tail.starts.know({SEGMENT: offset}))
        return self.tail.starts.number(SEGMENT, offset)

    def reads_from(self, at: Position) -> dict[int, int]:
        """The number of each place that it comes by."""

        async def reading() -> dict[int, int]:
            cursor, found = {SEGMENT: at}, dict[int, int]()
            while cursor[SEGMENT].offset < self.reader.end:
                _, cursor = await self.tail.read(cursor, self.most)
                offset = cursor[SEGMENT].offset
                found[offset] = self.tail.starts.number(SEGMENT, offset)
            return found

        return asyncio.run(reading())


@given(epochs, st.integers(1, 6), st.integers(1, 4))
def test_every_reader_finds_the_same_start(epochs: list[tuple[int, int]], back: int, most: int) -> None:
    records, numbers = log_of(epochs), numbers_of(epochs)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tails, "_LOOKED_BACK_AT", back)
        for begin, at in enumerate(from_the_start(records)):
            reading = Reading(records, most)
            for offset, number in reading.reads_from(at).items():
                assert number == numbers[offset]
            if begin < len(records):
                assert reading.tail.starts.newest(SEGMENT) == numbers[-1]
            assert [reading.number(offset) for offset in reversed(range(len(numbers)))] == numbers[::-1]


def test_a_place_that_was_read_by_needs_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand clients come back to a process that reads the log."""
    epochs = [(5, 3), (6, 9)]
    reading = Reading(log_of(epochs))
    reading.reads_from(from_the_start(log_of(epochs))[6])

    async def looked(segment: int, offset: int) -> Position:
        raise AssertionError("it looked for a place that it knows")

    monkeypatch.setattr(reading.tail.starts, "_position", looked)
    assert [reading.number(offset) for offset in range(5, 15)] == [6] * 10


def test_an_older_place_is_looked_for_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(log_of([(5, 3), (6, 9)]))
    looks: list[int] = []
    position = reading.tail.position

    async def looked(segment: int, offset: int) -> Position:
        looks.append(offset)
        await asyncio.sleep(0)
        return await position(segment, offset)

    monkeypatch.setattr(reading.tail.starts, "_position", looked)

    async def all_ask() -> None:
        await asyncio.gather(*(reading.tail.starts.know({SEGMENT: 3}) for _ in range(20)))

    asyncio.run(all_ask())
    assert looks == [3] and reading.tail.starts.number(SEGMENT, 3) == 5


@given(epochs, st.data())
def test_whoever_writes_after_the_log_went_back_is_another_start(epochs: list[tuple[int, int]], data: Any) -> None:
    lost = log_of(epochs)
    kept = data.draw(st.integers(0, len(lost) - 1))
    new = [*lost[:kept], fence.marker("an owner", 2**32), *[fence.event(kept + 1, n, b"") for n in range(len(lost))]]
    before, now = Reading(lost), Reading(new)
    for place in range(len(lost) + 1):
        assert (before.number(place) == now.number(place)) == (place <= kept)


def test_a_marker_of_the_release_before_has_no_number() -> None:
    reading = Reading([fence.marker("an owner"), fence.event(1, 0, b"")])
    assert [reading.number(place) for place in range(3)] == [NO_START] * 3


def test_a_place_behind_the_end_counts_as_one_of_the_newest_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log went back, and is shorter than before: a token of the lost history is refused and not waited for."""
    monkeypatch.setattr(readers, "_STALE_SECONDS", 0.0)
    reading = Reading(log_of([(5, 3), (6, 1)]))
    reading.reads_from(Position())
    assert reading.number(reading.reader.end + 1_000) == 6
