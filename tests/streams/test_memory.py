"""The memory of a feed: a stream that begins or resumes looks at its own events, however many others there are."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pytest

from falcon.features.catalogue import Event
from falcon.features.messages.rules import Message, MessageDeleted, MessagePosted
from falcon.features.rooms.rules import MemberJoined, MemberLeft, Membership, RoomCreated
from falcon.journal.envelope import Position
from falcon.streams import feed, memory, replay
from falcon.streams.feed import Feed
from falcon.streams.memory import RecordMemory
from falcon.streams.replay import StreamReplay
from falcon.streams.resume_tokens import ResumePlace
from falcon.streams.tail import LocatedRecord
from tests.streams.test_replay import (
    ANN,
    AT_MILLIS,
    BOB,
    MEMBER,
    ROOM,
    FakeLookups,
    FakeTail,
    Scene,
    created,
    message,
    play,
    posted,
    raw,
)

OTHERS: Final = range(100_000, 100_050)  # rooms of which Bob is no member
STRANGERS: Final = range(500, 600)


def of_others(count: int) -> list[Event]:
    """Events in rooms that Bob is not in: messages, comings and goings, deletions."""
    events: list[Event] = []
    for n in range(count):
        room_id, seq = OTHERS[n % len(OTHERS)], n // len(OTHERS) + 1
        match n % 20:
            case 0:
                events.append(MemberJoined(room_id, STRANGERS[n % len(STRANGERS)], "member", 0))
            case 1:
                events.append(MemberLeft(room_id, STRANGERS[n % len(STRANGERS)], "member"))
            case 2:
                events.append(MessageDeleted(Message(room_id, seq, ANN, "", AT_MILLIS, deleted=True), seq))
            case _:
                events.append(MessagePosted(Message(room_id, seq, ANN, "Not for Bob", AT_MILLIS)))
    return events


class Looking:
    """Counts the records that replays look at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.records = 0
        for module, name in ((feed, "LocatedRecord"), (replay, "decoded")):
            monkeypatch.setattr(module, name, self._counting(getattr(module, name)))

    def _counting(self, look: Any) -> Any:
        def counted(*record: Any) -> Any:
            self.records += 1
            return look(*record)

        return counted


@pytest.mark.parametrize("remembered", [1_000, 10_000, 100_000])
def test_a_stream_looks_at_its_own_events_however_many_are_remembered(
    monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    half = remembered // 2
    others = [raw(0, event).record for event in of_others(1_000)] * (remembered // 1_000)
    own: list[Event] = [*(posted(seq) for seq in range(1, 101)), MessageDeleted(message(9), 1)]
    bobs = [raw(0, event).record for event in own]
    records = [raw(0, created(ANN, BOB)).record, *others[:half], *bobs[:50], *others[half:], *bobs[50:]]

    async def scenario() -> None:
        scene = Scene((), remembered=1_000_000)
        scene.tail.located = [LocatedRecord(0, 1, Position(offset), record) for offset, record in enumerate(records)]
        scene.tail.shown = len(records)
        await scene.hello(0)
        looking = Looking(monkeypatch)
        hello = await scene.hello(1 + half + 25, MEMBER)
        resumed = await scene.replay(1, MEMBER)
        assert hello.heard == ["hello", *(f"message.posted {seq}" for seq in range(26, 101)), "message.deleted "]
        texts = ["" if seq == 9 else f"{seq}" for seq in range(1, 101)]
        assert resumed.heard == [*(f"message.posted {text}" for text in texts), "message.deleted ", "caught_up"]
        assert looking.records <= 500

    play(scenario)


# --- segments ---------------------------------------------------------------------------------------------------------


class PartitionedTail(FakeTail):
    """A segment for each partition, each with one message of a room of its own. ``reads``: of older records."""

    def __init__(self, partitions: int) -> None:
        super().__init__(())
        self.partitions = partitions
        self.reads = 0
        self.of = {
            partition: [_placed(raw(0, posted(1, partition + 10 * partitions)), partition)]
            for partition in range(partitions)
        }

    def segment(self, partition: int) -> int:
        return partition

    async def ends(self, segments: Mapping[int, object]) -> dict[int, int]:
        return {segment: len(self.of[segment]) for segment in segments}

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        await super().read({0: Position()}, 0)
        located = [each for segment, at in cursor.items() for each in self.of[segment][at.offset :]]
        return located, {segment: Position(len(self.of[segment])) for segment in cursor}

    async def read_range(
        self, segment: int, start: Position, stop: int, limit: int
    ) -> tuple[list[LocatedRecord], Position]:
        self.reads += 1
        return self.of[segment][start.offset : stop], Position(stop)


def _placed(of: LocatedRecord, segment: int) -> LocatedRecord:
    return LocatedRecord(segment, segment, of.at, of.record)


class CountingFeed(Feed):
    """``asked``: how often replays ask about a segment."""

    asked = 0

    def reached(self, segment: int) -> int:
        self.asked += 1
        return super().reached(segment)

    def begins(self, segment: int) -> int:
        self.asked += 1
        return super().begins(segment)

    def history_begins(self, segment: int) -> int:
        self.asked += 1
        return super().history_begins(segment)


async def _bobs_return(of: Feed, partitions: int, offset: int = 0) -> list[str]:
    offsets = dict.fromkeys(range(partitions), offset)
    tables = {partition: Position(1) for partition in range(partitions)}
    beginning = StreamReplay(of, FakeLookups(), ResumePlace(offsets), tables, {10 * partitions + 1: "member"})
    await beginning.prepare()
    assert await beginning.remember()
    await beginning.resolve_membership(BOB)
    await beginning.newest_before()
    subscription, ear = Scene(()).subscription()
    subscription.rooms = dict(beginning.rooms)
    await beginning.run(subscription, replay=True)
    return ear.heard


def test_the_cost_of_segments_is_their_number() -> None:
    async def scenario() -> None:
        asked = []
        for partitions in (16, 64, 256):
            counting = CountingFeed(PartitionedTail(partitions), FakeLookups(), "a log", partitions)
            counting.start()
            assert await _bobs_return(counting, partitions) == ["message.posted 1", "caught_up"]
            asked.append(counting.asked / partitions)
            await counting.stop()
        assert max(asked) <= 1.2 * min(asked)

    play(scenario)


def test_what_is_not_remembered_is_read_from_the_log_once_for_all_who_come_back() -> None:
    async def scenario() -> None:
        tail = PartitionedTail(16)
        forgetful = Feed(tail, FakeLookups(), "a log", 16)
        forgetful.start()
        with forgetful.held():
            for _ in range(3):
                assert await _bobs_return(forgetful, 16) == ["message.posted 1", "caught_up"]
                assert tail.reads == 16
        await forgetful.stop()

    play(scenario)


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_more_than_there_is_room_for_is_not_read_back() -> None:
    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), *(posted(seq) for seq in range(1, 60))], remembered=40)
        await scene.hello(30, MEMBER)
        beginning = await scene.begins(25, 30, MEMBER)
        assert await beginning.remember()
        beginning = await scene.begins(1, 30, MEMBER)
        assert not await beginning.remember()
        assert scene.feed.begins(0) == 20, "as much as there is room for"

    play(scenario)


def test_records_that_are_larger_than_expected_are_not_all_read_before_there_is_found_to_be_no_room() -> None:
    """The log would fill the memory of the process, and every client that came back with this token would repeat it."""
    large = MessagePosted(Message(ROOM, 1, ANN, "x" * 50_000, AT_MILLIS))

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), *[large] * 5_000, posted(2)], remembered=10_000)
        scene.feed._records = RecordMemory(10_000, 20 << 20)
        beginning = await scene.begins(1, 5_001, MEMBER)
        read: list[LocatedRecord] = []
        read_range = scene.tail.read_range

        async def counted(segment: int, start: Position, stop: int, limit: int) -> tuple[list[LocatedRecord], Position]:
            located, after = await read_range(segment, start, stop, limit)
            read.extend(located)
            return located, after

        scene.tail.read_range = counted  # type: ignore[method-assign]
        assert not await beginning.remember()
        assert 0 < len(read) <= 1_000

    play(scenario)


def test_a_log_that_does_not_give_what_is_older_in_time_leaves_it_to_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falcon.streams.feed._BACK_SECONDS", 0.01)

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), *(posted(seq) for seq in range(1, 60))])
        await scene.hello(30, MEMBER)
        beginning = await scene.begins(1, 30, MEMBER)
        async with scene.feed._reading_back:
            assert not await beginning.remember()

    play(scenario)


def test_memory_is_bounded_in_bytes_and_drops_the_oldest() -> None:
    kept = RecordMemory(1_000_000, 100_000)
    kept.follow(0, 0)
    for offset in range(2_000):
        kept.keep(raw(offset, posted(offset + 1, ROOM + offset % 7)))
    begins = kept.begins(0)
    found = kept.since({ROOM + n: begins for n in range(7)})
    assert found == [
        (offset, raw(offset, posted(offset + 1, ROOM + offset % 7)).record) for offset in range(begins, 2_000)
    ]
    assert 100 < len(found) < 500
    assert list(kept.since({ROOM: 2_000, ROOM + 99: 0})) == []
    assert (kept.last(ROOM), kept.last(ROOM + 99)) == (1_995, -1)


def test_rooms_in_which_nothing_happens_any_more_are_forgotten() -> None:
    kept = RecordMemory(100, 1 << 30)
    kept.follow(0, 0)
    for offset in range(1_000):
        kept.keep(raw(offset, posted(1, 1_000 + offset)))
    assert len(kept._by_key) == len(kept._order) == 100
    for offset in range(1_000, 1_100):
        kept.keep(raw(offset, posted(offset, ROOM)))
    assert kept._by_key.keys() == {ROOM}
    sizes = [len(record.data) + memory._RECORD_BYTES for _, record in kept.since({ROOM: 0})]
    assert kept._bytes == sum(sizes) + memory._KEY_BYTES


# --- who is in which room ---------------------------------------------------------------------------------------------


def rooms_with_bob(*room_ids: int) -> Iterable[Event]:
    return [RoomCreated(room_id, "group", "Tea", "", AT_MILLIS, (Membership(BOB, "member"),)) for room_id in room_ids]


@pytest.mark.parametrize("remembered", [1, 4, 1_000])
def test_who_comes_to_a_room_by_the_log_hears_on_there(remembered: int) -> None:
    """Also if only a part of it is remembered."""

    async def scenario() -> None:
        events = [created(ANN, BOB), *rooms_with_bob(OTHERS[0]), posted(1, OTHERS[0]), posted(1), posted(2, OTHERS[0])]
        scene = Scene(events, remembered)
        await scene.hello(5, MEMBER)
        ear = await scene.replay(1, MEMBER)
        await scene.goes_on(posted(3, OTHERS[0]))
        posts = [f"message.posted {seq}" for seq in (1, 1, 2)]
        assert ear.heard == ["room.created Tea", *posts, "caught_up", "message.posted 3"]

    play(scenario)


def test_a_deletion_is_known_for_as_long_as_the_message_may_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of the history is full of later ones, so the log is asked."""
    monkeypatch.setattr("falcon.streams.feed._HISTORY_BYTES_MAX", 5_000)

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1), MessageDeleted(message(1), 1), *of_others(100), posted(2)])
        await scene.hello(0)
        assert scene.feed.history_begins(0) > 2
        ear = await scene.replay(1, MEMBER)
        assert ear.heard == ["message.posted ", "message.deleted ", "message.posted 2", "caught_up"]

    play(scenario)
