"""The promises of every tail: the log as streams read it. Adapters' tests subclass this."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

import pytest

from falcon.features.messages.rules import MessagePosted
from falcon.journal import codec
from falcon.journal.envelope import Envelope, Position, aggregate_of
from falcon.journal.ports import Append, AppendOutcome, JournalUnavailable
from falcon.streams.tail import LocatedRecord, Tail, WrongPlace
from tests.contracts.journal import PARTITIONS, Log, Writer
from tests.history.samples import SAMPLES

T = TypeVar("T")

# Partitions of what a test writes.
ONE, OTHER = 1, 2


class TailedLog(Log, Protocol):
    def tail(self) -> Tail:
        """A new tail. The caller closes it on the loop that it was used on."""


def texts(located: list[LocatedRecord]) -> list[str]:
    events = [codec.decode(raw.record, raw.partition, raw.at.offset, raw.at.epoch, raw.at.n) for raw in located]
    return [each.envelope.event.message.text for each in events if isinstance(each.envelope.event, MessagePosted)]


def seen(located: list[LocatedRecord]) -> list[tuple[int, Position]]:
    return [(raw.segment, raw.at) for raw in located]


async def read_on(
    tail: Tail, cursor: dict[int, Position], count: int
) -> tuple[list[LocatedRecord], dict[int, Position]]:
    """Read until there are that many."""
    found: list[LocatedRecord] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            located, cursor = await tail.read(cursor, 1_000)
            found += located
    return found, cursor


async def read_up_to_the_end(
    tail: Tail, cursor: dict[int, Position]
) -> tuple[list[LocatedRecord], dict[int, Position]]:
    found: list[LocatedRecord] = []
    ends = await tail.ends(cursor)
    async with asyncio.timeout(60):
        while any(cursor[segment].offset < end for segment, end in ends.items()):
            located, cursor = await tail.read(cursor, 1_000)
            found += located
    return found, cursor


async def again(tail: Tail, segment: int, start: Position, stop: int, limit: int) -> list[LocatedRecord]:
    """Read part by part, as for a client that was away: each part continues where the last one ended."""
    found: list[LocatedRecord] = []
    while start.offset < stop:
        located, start = await tail.read_range(segment, start, stop, limit)
        found += located
    assert start.offset == stop
    return found


class TailContract(ABC):
    @pytest.fixture
    @abstractmethod
    def log(self) -> Iterator[TailedLog]: ...

    @pytest.fixture
    def ann(self, log: TailedLog) -> Writer:
        ann = Writer(log)
        ann.takeover(*range(PARTITIONS))
        return ann

    @pytest.fixture
    def follow(self, log: TailedLog) -> Callable[[Callable[[Tail], Coroutine[Any, Any, T]]], T]:
        """Run something with a tail of its own."""

        async def following(work: Callable[[Tail], Coroutine[Any, Any, T]]) -> T:
            tail = log.tail()
            try:
                return await work(tail)
            finally:
                await tail.close()

        return lambda work: asyncio.run(following(work))

    def test_each_partition_is_in_one_segment(self, follow: Any) -> None:
        async def segments(tail: Tail) -> None:
            assert [tail.segment(partition) for partition in range(PARTITIONS)] == [
                tail.segment(partition) for partition in range(PARTITIONS)
            ]
            assert set(await tail.ends({tail.segment(partition): None for partition in range(PARTITIONS)})) == {
                tail.segment(partition) for partition in range(PARTITIONS)
            }

        follow(segments)

    def test_what_was_written_is_read_in_order_and_what_comes_is_waited_for(self, ann: Writer, follow: Any) -> None:
        async def reading(tail: Tail) -> None:
            segment = tail.segment(ONE)
            ann.append(ONE, "one", "two")
            located, cursor = await read_on(tail, {segment: Position()}, 2)
            assert texts(located) == ["one", "two"]
            waiting = asyncio.create_task(read_on(tail, cursor, 1))
            await asyncio.to_thread(ann.append, ONE, "three")
            tail.nudge()
            located, cursor = await waiting
            assert texts(located) == ["three"]
            assert await tail.ends({segment: None}) == {segment: cursor[segment].offset}

        follow(reading)

    def test_reading_where_nothing_comes_ends_by_itself(self, ann: Writer, follow: Any) -> None:
        async def reading(tail: Tail) -> None:
            segment = tail.segment(ONE)
            ann.append(ONE, "one")
            _, cursor = await read_up_to_the_end(tail, {segment: Position()})
            async with asyncio.timeout(60):
                assert await tail.read(cursor, 10) == ([], cursor)

        follow(reading)

    def test_several_segments_are_read_together(self, ann: Writer, follow: Any) -> None:
        async def reading(tail: Tail) -> None:
            for i in range(10):
                ann.append(ONE, f"one {i}")
                ann.append(OTHER, f"other {i}")
            located, _ = await read_on(tail, {tail.segment(ONE): Position(), tail.segment(OTHER): Position()}, 20)
            for partition, name in ((ONE, "one"), (OTHER, "other")):
                own = [raw for raw in located if raw.partition == partition]
                assert texts(own) == [f"{name} {i}" for i in range(10)]
                assert {raw.segment for raw in own} == {tail.segment(partition)}

        follow(reading)

    def test_segments_can_be_added_and_left_out_while_reading(self, ann: Writer, follow: Any) -> None:
        async def reading(tail: Tail) -> None:
            one, other = tail.segment(ONE), tail.segment(OTHER)
            ann.append(ONE, "one")
            ann.append(OTHER, "other")
            _, cursor = await read_on(tail, {one: Position()}, 1)
            both = {other: Position(), **cursor}
            located, both = await read_up_to_the_end(tail, both)
            assert {"other"} >= set(texts(located))
            ann.append(OTHER, "again")
            located, _ = await read_on(tail, {other: both[other]}, 1)
            assert texts(located) == ["again"]

        follow(reading)

    def test_keys_say_what_an_event_is_about(self, ann: Writer, follow: Any) -> None:
        """For every kind of event, and any text in it."""
        epoch = ann.ends[ONE].epoch
        envelopes = [
            Envelope(ONE, epoch, n, each.at, each.event, each.command, each.answer)
            for n, each in enumerate(SAMPLES.values(), ann.n[ONE])
        ]
        append = Append(ONE, epoch, envelopes, [codec.encode(envelope) for envelope in envelopes])
        ann.settle(append)
        assert append.outcome is AppendOutcome.DURABLE

        async def reading(tail: Tail) -> None:
            located, _ = await read_on(tail, {tail.segment(ONE): Position()}, len(envelopes))
            assert {name: raw.record.key for name, raw in zip(SAMPLES, located, strict=True)} == {
                name: aggregate_of(envelope.event) for name, envelope in zip(SAMPLES, envelopes, strict=True)
            }
            assert [raw.record for raw in located] == [codec.encode(envelope) for envelope in envelopes]

        follow(reading)

    # --- where a token points -----------------------------------------------------------------------------------------

    def test_from_behind_any_event_the_rest_is_read(self, ann: Writer, follow: Any) -> None:
        async def reading(tail: Tail) -> None:
            segment = tail.segment(ONE)
            for i in range(8):
                ann.append(ONE, f"{i}")
            located, _ = await read_on(tail, {segment: Position()}, 8)
            for i, raw in enumerate(located[:-1]):
                at = await tail.position(segment, raw.at.offset + 1)
                rest, _ = await read_on(tail, {segment: at}, 7 - i)
                assert seen(rest) == seen(located[i + 1 :])

        follow(reading)

    def test_a_reader_can_stand_at_the_beginning_and_at_the_end(self, ann: Writer, follow: Any) -> None:
        async def reading(tail: Tail) -> None:
            segment = tail.segment(ONE)
            ann.append(ONE, "one")
            assert (await tail.position(segment, 0)).offset == 0
            end = (await tail.ends({segment: None}))[segment]
            at = await tail.position(segment, end)
            assert at.offset == end
            ann.append(ONE, "two")
            located, _ = await read_on(tail, {segment: at}, 1)
            assert texts(located) == ["two"]

        follow(reading)

    def test_no_reader_can_stand_behind_the_end_or_in_a_segment_that_there_is_not(
        self, ann: Writer, follow: Any
    ) -> None:
        async def reading(tail: Tail) -> None:
            segment = tail.segment(ONE)
            ann.append(ONE, "one")
            end = (await tail.ends({segment: None}))[segment]
            with pytest.raises((WrongPlace, JournalUnavailable)):  # another server may know a longer log
                await tail.position(segment, end + 1)
            for strange, offset in ((segment, 2**60), (PARTITIONS, 1), (2**40, 0)):
                with pytest.raises(WrongPlace):
                    await tail.position(strange, offset)

        follow(reading)

    def test_every_tail_knows_the_same_starts(self, log: TailedLog, ann: Writer, follow: Any) -> None:
        """One has read all of them, and another looks for them."""
        ann.append(ONE, "one", "two")
        bob = Writer(log, "bob")
        bob.takeover(ONE)
        bob.append(ONE, "three")

        async def read(tail: Tail) -> dict[int, int]:
            segment = tail.segment(ONE)
            located, _ = await read_up_to_the_end(tail, {segment: Position()})
            places = [raw.at.offset + 1 for raw in located]
            assert tail.starts.newest(ONE) == tail.starts.number(segment, places[-1])
            return {place: tail.starts.number(segment, place) for place in places}

        async def looked_for(tail: Tail, place: int) -> int:
            await tail.starts.know({tail.segment(ONE): place})
            return tail.starts.number(tail.segment(ONE), place)

        numbers = follow(read)
        assert len(numbers) == 3 and 0 not in numbers.values()
        assert {place: follow(lambda tail, place=place: looked_for(tail, place)) for place in numbers} == numbers

    # --- reading again ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("limit", [1, 3, 1_000])
    def test_what_was_read_once_is_read_again_the_same(self, ann: Writer, follow: Any, limit: int) -> None:
        async def reading(tail: Tail) -> None:
            segment = tail.segment(ONE)
            for i in range(7):
                ann.append(ONE, f"{i}")
            located, cursor = await read_up_to_the_end(tail, {segment: Position()})
            assert await again(tail, segment, Position(), cursor[segment].offset, limit) == located
            stop = located[4].at.offset
            assert seen(await again(tail, segment, located[2].at, stop, limit)) == seen(located[2:4])

        follow(reading)

    def test_reading_again_does_not_disturb_who_follows(self, ann: Writer, follow: Any) -> None:
        async def reading(tail: Tail) -> None:
            segment = tail.segment(ONE)
            for i in range(5):
                ann.append(ONE, f"{i}")
            located, cursor = await read_up_to_the_end(tail, {segment: Position()})
            following = asyncio.create_task(read_on(tail, cursor, 3))
            found = await asyncio.gather(
                *(again(tail, segment, Position(), cursor[segment].offset, 2) for _ in range(6)),
                asyncio.to_thread(ann.append, ONE, "5", "6", "7"),
            )
            tail.nudge()
            assert found[:-1] == [located] * 6
            assert texts((await following)[0]) == ["5", "6", "7"]

        follow(reading)

    # --- owners that come and go --------------------------------------------------------------------------------------

    def test_what_a_deposed_owner_still_writes_is_passed_over(self, log: TailedLog, ann: Writer, follow: Any) -> None:
        bob = replaced(log, ann)
        assert bob.append(ONE, "bob's second").outcome is AppendOutcome.DURABLE

        async def reading(tail: Tail) -> None:
            segment = tail.segment(ONE)
            located, cursor = await read_up_to_the_end(tail, {segment: Position()})
            assert texts(located) == ["ann's", "bob's first", "bob's second"]
            assert cursor[segment].offset == (await tail.ends({segment: None}))[segment]
            for i, raw in enumerate(located):
                at = await tail.position(segment, raw.at.offset + 1)
                assert await again(tail, segment, at, cursor[segment].offset, 1_000) == located[i + 1 :]
            for limit in (1, 2, 3):
                assert await again(tail, segment, Position(), cursor[segment].offset, limit) == located

        follow(reading)


def replaced(log: TailedLog, ann: Writer) -> Writer:
    """Another owner took a partition over from Ann, who has not noticed and writes on: the last record there is
    hers."""
    bob = Writer(log, "bob")
    ann.append(ONE, "ann's")
    bob.takeover(ONE)
    bob.append(ONE, "bob's first")
    assert ann.append(ONE, "too late").outcome is AppendOutcome.FENCED
    return bob
