"""A token's offset in a partition: a reader that looks back from it gets the same position as one that starts at the
log's start."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from aiokafka.structs import ConsumerRecord
from hypothesis import example, given
from hypothesis import strategies as st

from falcon.adapters.kafka import fence
from falcon.adapters.kafka import tail as tails
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.tail import KafkaTail
from falcon.journal.envelope import Position
from falcon.streams.tail import WrongPlace

SEGMENT: Final = 0


@dataclass
class FakeReader:
    """A partition whose record at an offset is computed. ``read``: how many have been asked for."""

    value: Callable[[int], bytes]
    end: int
    read: int = 0

    async def get(self) -> int:
        return self.end

    async def records(self, offsets: Mapping[int, int], limit: int, seconds: float) -> dict[int, list[Any]]:
        (start,) = offsets.values()
        stop = min(start + limit, self.end)
        self.read += stop - start
        return {SEGMENT: [record(offset, self.value(offset)) for offset in range(start, stop)]}


def record(offset: int, value: bytes) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("journal", SEGMENT, offset, 0, 0, None, value, None, 0, len(value), ())


def tail_over(reader: FakeReader) -> KafkaTail:
    tail = KafkaTail(KafkaCluster(("none:1",), 1))
    tail._ends = [reader]  # type: ignore[list-item]
    tail._idle = [reader] * tails._READERS  # type: ignore[list-item]
    return tail


def position(tail: KafkaTail, offset: int) -> Position:
    return asyncio.run(tail.position(SEGMENT, offset))


def from_the_start(records: Sequence[bytes]) -> list[Position]:
    """The position before each record, and behind the last one, of a reader from the start."""
    found = [Position()]
    for value in records:
        found.append(fence.judge(found[-1], value)[0])
    return found


def compared(records: Sequence[bytes]) -> None:
    """Compares tails that have examined nothing yet, and one that has looked everywhere, in either direction."""
    expected = from_the_start(records)
    reader = FakeReader(records.__getitem__, len(records))
    assert [position(tail_over(reader), offset) for offset in range(len(expected))] == expected
    tail = tail_over(reader)
    assert [position(tail, offset) for offset in range(len(expected))] == expected
    assert [position(tail, offset) for offset in reversed(range(len(expected)))] == expected[::-1]


@dataclass
class Partition:
    """One that some write to. Each believes to own it until it hears otherwise, which it may do late, or never."""

    records: list[bytes] = field(default_factory=list)
    epochs: dict[int, int] = field(default_factory=dict)
    written: dict[int, list[bytes]] = field(default_factory=dict)

    def take_over(self, writer: int) -> None:
        self.records.append(fence.marker(str(writer)))
        self.epochs[writer] = len(self.records)
        self.written[writer] = []

    def append(self, writer: int, count: int) -> None:
        """A batch behind all that it has written in its epoch. It is void if another owner has taken over since."""
        if writer in self.epochs:
            n = len(self.written[writer])
            batch = [fence.event(self.epochs[writer], n + i, b"") for i in range(count)]
            self.written[writer] += batch
            self.records += batch

    def double(self, writer: int, first: int, count: int) -> None:
        """Something it has written gets in a second time."""
        self.records += self.written.get(writer, [])[first : first + count]

    def litter(self, value: bytes) -> None:
        self.records.append(value)


writers = st.integers(0, 2)
deeds = st.one_of(
    st.tuples(st.just("take_over"), writers),
    st.tuples(st.just("append"), writers, st.integers(1, 9)),
    st.tuples(st.just("append"), writers, st.integers(1, 9)),
    st.tuples(st.just("append"), writers, st.integers(1, 9)),
    st.tuples(st.just("double"), writers, st.integers(0, 12), st.integers(1, 9)),
    st.tuples(st.just("litter"), st.sampled_from([b"", b"short", b"\xff" * 40])),
)


@given(st.lists(deeds, max_size=14), st.integers(1, 6))
@example([("take_over", 0), ("append", 0, 5), ("take_over", 1), ("append", 0, 9), ("append", 1, 3)], 2)
@example([("take_over", 0), ("append", 0, 9), ("append", 0, 9), ("double", 0, 0, 9), ("append", 0, 2)], 3)
@example([("take_over", 0), ("append", 0, 9), ("take_over", 1), ("append", 0, 1), ("append", 1, 9)], 1)
def test_who_looks_back_stands_where_a_reader_from_the_start_does(steps: list[tuple[Any, ...]], back: int) -> None:
    partition = Partition()
    for kind, *arguments in steps:
        getattr(partition, kind)(*arguments)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tails, "_LOOKED_BACK_AT", back)
        compared(partition.records)


def test_what_a_deposed_owner_had_still_to_write_tells_nobody_its_epoch() -> None:
    """A whole import of it: more than is looked back at once."""
    partition = Partition()
    partition.take_over(0)
    partition.append(0, 5)
    partition.take_over(1)
    partition.append(0, 3 * tails._LOOKED_BACK_AT)
    reader = FakeReader(partition.records.__getitem__, len(partition.records))
    assert position(tail_over(reader), reader.end) == Position(reader.end, 7, 0)


LONG: Final = 5_000_000


@pytest.mark.parametrize("late", [0, 3])
def test_a_long_epoch_is_not_read_back(late: int) -> None:
    """Millions of events since the last takeover, which a deposed owner's last few records follow."""

    def value(offset: int) -> bytes:
        if offset in (0, 10):
            return fence.marker("an owner")
        if offset < 10:
            return fence.event(1, offset - 1, b"")
        if offset <= 10 + late:
            return fence.event(1, offset - 2, b"")
        return fence.event(11, offset - 11 - late, b"")

    reader = FakeReader(value, LONG)
    tail = tail_over(reader)
    for offset in (LONG, LONG - 1_000, LONG // 2, 1_000):
        assert position(tail, offset) == Position(offset, 11, offset - 11 - late)
    assert reader.read <= 4 * 3 * tails._LOOKED_BACK_AT


def test_nobody_stands_beyond_the_end_or_where_no_partition_is() -> None:
    tail = tail_over(FakeReader(lambda offset: fence.marker(""), 3))
    for segment, offset in ((SEGMENT, 20_000), (1, 0), (-1, 1)):
        with pytest.raises(WrongPlace):
            asyncio.run(tail.position(segment, offset))
