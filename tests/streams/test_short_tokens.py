"""With cuts tokens are short, and a client continues from any of them at any process: each event comes once, and in
order."""

import asyncio
import random
from collections.abc import Mapping
from typing import Final

import msgspec
import pytest

from falcon.features.rooms.rules import Role
from falcon.journal.envelope import Position
from falcon.streams import cuts, resume_tokens
from falcon.streams.cuts import Cuts
from falcon.streams.feed import Feed
from falcon.streams.frames import Frame
from falcon.streams.replay import StreamReplay
from falcon.streams.resume_tokens import LENGTH_MAX, WrongToken
from falcon.streams.subscription import Subscription
from falcon.streams.tail import LocatedRecord
from tests.streams.test_replay import BOB, Ear, FakeLookups, play, posted, raw
from tools.harness.memory.cuts import KeptCuts, MemoryCuts
from tools.harness.memory.starts import MemoryStarts
from tools.harness.waiting import eventually

SEGMENTS: Final = 64


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts, "_APART_SECONDS", 0.0)
    monkeypatch.setattr(cuts, "_OTHERS_SECONDS", (0.0, 0.002))
    monkeypatch.setattr(cuts, "_RETRY_SECONDS", 0.001)


class Log:
    """A room in each segment, of which Bob is a member."""

    def __init__(self, seed: int, segments: int = SEGMENTS) -> None:
        self.chance = random.Random(seed)
        self.kept = KeptCuts()
        self.segments = segments
        self.of: list[list[LocatedRecord]] = [[] for _ in range(segments)]

    def room(self, segment: int) -> int:
        return segment + 10 * self.segments

    def is_posted_in(self, segment: int) -> None:
        n = len(self.of[segment])
        of = raw(n, posted(1 + n, self.room(segment)))
        self.of[segment].append(LocatedRecord(segment, segment, of.at, of.record))

    def grows(self, events: int) -> None:
        for _ in range(events):
            self.is_posted_in(min(self.chance.randrange(self.segments), self.chance.randrange(self.segments)))

    def ends(self) -> dict[int, int]:
        return {segment: len(located) for segment, located in enumerate(self.of)}


class ShuffledTail:
    """Reads segments in an order of its own, a few records of each."""

    def __init__(self, log: Log, few: int = 5) -> None:
        self._log = log
        self._few = few
        self._chance = random.Random(log.chance.random())
        self.starts = MemoryStarts()

    def segment(self, partition: int) -> int:
        return partition

    async def ends(self, segments: Mapping[int, object]) -> dict[int, int]:
        await asyncio.sleep(0)
        return {segment: len(self._log.of[segment]) for segment in segments}

    async def position(self, segment: int, offset: int) -> Position:
        return Position(offset)

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        await asyncio.sleep(0)
        after, located = dict(cursor), list[LocatedRecord]()
        for segment in self._chance.sample(sorted(cursor), self._chance.randint(1, len(cursor))):
            offset = cursor[segment].offset
            more = self._log.of[segment][offset : offset + self._chance.randint(1, self._few)]
            located += more
            after[segment] = Position(offset + len(more))
        return located, after

    async def read_range(
        self, segment: int, start: Position, stop: int, limit: int
    ) -> tuple[list[LocatedRecord], Position]:
        await asyncio.sleep(0)
        stop = min(stop, start.offset + limit)
        return self._log.of[segment][start.offset : stop], Position(stop)

    def nudge(self) -> None:
        """It is always looking."""

    async def close(self) -> None: ...


class Process:
    def __init__(self, log: Log, remembered: int = 100_000) -> None:
        self.log = log
        self.cuts = Cuts(MemoryCuts(log.kept), log.segments)
        self.feed = Feed(ShuffledTail(log), FakeLookups(), "a log", log.segments, remembered=remembered, cuts=self.cuts)
        self._hold = self.feed.held()
        self._hold.__enter__()
        self.feed.follow(dict.fromkeys(range(log.segments), Position()))
        self.feed.start()

    async def stop(self) -> None:
        await self.feed.stop()

    async def has_read_all(self) -> None:
        await self.feed.reach(self.log.ends())


class Client:
    """Bob. ``frames``: what he has got, over all connections."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.frames: list[Frame] = []

    async def listens(self, process: Process, most: int) -> None:
        """Go on at the process, take so many frames at most of the ones that come by now, and go."""
        log, chance = self._log, self._log.chance
        applied = {segment: chance.randint(max(0, end - 9), end) for segment, end in log.ends().items()}
        tables = {segment: Position(offset) for segment, offset in applied.items()}
        place = process.feed.beginning(dict.fromkeys(tables, 0))
        if self.frames:
            place = await process.feed.place_of(self.frames[-1].id)
        roles: dict[int, Role] = {log.room(segment): "member" for segment in range(log.segments)}
        replay = StreamReplay(process.feed, FakeLookups(), place, tables, roles)
        await replay.prepare()
        await replay.remember()
        await replay.resolve_membership(BOB)
        subscription, ear = bob()
        subscription.rooms = dict(replay.rooms)
        await replay.run(subscription, replay=True)
        log.grows(chance.randint(0, 50))
        await process.has_read_all()
        process.feed.remove(subscription)
        self.frames += ear.frames[:most]

    def heard(self) -> dict[int, list[int]]:
        """The numbers of the messages, by room."""
        seqs: dict[int, list[int]] = {}
        for frame in self.frames:
            if frame.name == "message.posted":
                data = msgspec.json.decode(frame.data)
                seqs.setdefault(data["room_id"], []).append(data["seq"])
        return seqs


def told_by(log: Log) -> dict[int, list[int]]:
    return {log.room(segment): list(range(1, len(located) + 1)) for segment, located in enumerate(log.of) if located}


def lengths(frames: list[Frame]) -> list[int]:
    return [len(frame.id) for frame in frames]


@pytest.mark.parametrize("seed", range(6))
def test_a_client_that_moves_among_processes_gets_each_event_once_and_in_order(seed: int) -> None:
    async def scenario() -> None:
        log = Log(seed)
        processes = [Process(log) for _ in range(3)]
        client = Client(log)
        for turn in range(25):
            log.grows(log.chance.choice([0, 3, 40, 300]))
            if turn % 8 == 7:
                await processes[0].stop()
                processes[0] = Process(log, remembered=log.chance.choice([300, 100_000]))
            await client.listens(log.chance.choice(processes), log.chance.choice([0, 1, 7, 60, 10_000]))
        await client.listens(processes[1], 1_000_000)
        assert client.heard() == told_by(log)
        assert log.kept.cuts, "there were cuts"
        for process in processes:
            await process.stop()

    play(scenario)


@pytest.mark.parametrize("segments", [64, 1_024])
def test_live_events_have_short_tokens(segments: int) -> None:
    async def scenario() -> None:
        log = Log(1, segments)
        log.grows(5_000)
        process = Process(log)
        await process.has_read_all()
        subscription, ear = bob()
        subscription.rooms = {log.room(segment): "member" for segment in range(segments)}
        process.feed.add(subscription)
        for _ in range(200):
            log.grows(5)
            await process.has_read_all()
            if log.chance.random() < 0.2:  # a cut takes a while
                await eventually(lambda: not process.cuts.writes)
        del ear.frames[:200]
        assert len(ear.frames) == 800 and max(lengths(ear.frames)) <= LENGTH_MAX
        assert len(log.kept.cuts) <= 150
        await process.stop()

    play(scenario)


def bob() -> tuple[Subscription, Ear]:
    ear = Ear()
    return Subscription(BOB, "hash", None, ear), ear


def test_a_long_replay_has_short_tokens_and_so_has_one_that_goes_on_where_it_was_interrupted() -> None:
    async def scenario() -> None:
        log = Log(2)
        process = Process(log)
        client = Client(log)
        await cut(process)
        await client.listens(process, 1)
        for _ in range(4):
            log.grows(4_000)
            await process.has_read_all()
            await cut(process)
            await client.listens(process, 2_500)
        await client.listens(process, 1_000_000)
        assert max(lengths(client.frames)) <= LENGTH_MAX
        assert client.heard() == told_by(log)
        await process.stop()

    play(scenario)


async def cut(process: Process) -> None:
    before = process.cuts.newest
    await eventually(lambda: not process.cuts.writes)
    process.cuts.propose(process.feed.reached_everywhere)
    await eventually(lambda: process.cuts.newest > before)


def test_a_state_has_a_short_token_though_tables_are_behind() -> None:
    async def scenario() -> None:
        log = Log(3)
        process = Process(log)
        log.grows(2_000)
        await process.has_read_all()
        await cut(process)
        known = process.feed.reached_everywhere()
        behind = {segment: offset + 5 * segment for segment, offset in known.items()}
        place = process.feed.beginning(behind)
        assert place.offsets == known
        assert len(resume_tokens.encode("a log", *place)) <= LENGTH_MAX
        near = {segment: offset + segment % 2 for segment, offset in known.items()}
        assert process.feed.beginning(near).offsets == near, "exactly there, if that is short enough"
        before = dict.fromkeys(known, 0)
        assert process.feed.beginning(before).offsets == before, "there is no cut so early"
        await process.stop()

    play(scenario)


def test_while_no_cut_can_be_written_tokens_are_long_and_good(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        log = Log(4)
        log.grows(2_000)
        log.kept.away = True
        one, other = Process(log), Process(log)
        client = Client(log)
        await client.listens(one, 1_000)
        assert len(client.frames[-1].id) > LENGTH_MAX
        log.grows(100)
        await client.listens(other, 1_000_000)
        assert client.heard() == told_by(log)
        for process in (one, other):
            await process.stop()

    play(scenario)


def test_tokens_of_lost_cuts_are_refused_and_new_ones_are_good() -> None:
    """So that the client begins with a hello, and gets nothing that another cut of that number would mean."""

    async def scenario() -> None:
        log = Log(5)
        process = Process(log)
        await cut(process)
        log.grows(2_000)
        await process.has_read_all()
        await cut(process)
        before = Client(log)
        await before.listens(process, 1)
        assert len(before.frames[-1].id) <= LENGTH_MAX
        await log.kept.lose()
        await eventually(lambda: process.cuts.newest == -1)
        with pytest.raises(WrongToken):
            await process.feed.place_of(before.frames[-1].id)
        log.grows(200)
        await process.has_read_all()
        await cut(process)
        with pytest.raises(WrongToken):
            await process.feed.place_of(before.frames[-1].id)
        after = Client(log)
        await after.listens(process, 100)
        await after.listens(process, 1_000_000)
        assert after.heard() == told_by(log)
        await process.stop()

    play(scenario)


def test_a_token_without_a_cut_that_an_older_version_gave_is_good() -> None:
    async def scenario() -> None:
        log = Log(6)
        log.grows(2_000)
        process = Process(log)
        await process.has_read_all()
        await cut(process)
        old = log.ends()
        log.grows(500)
        client = Client(log)
        client.frames.append(Frame(resume_tokens.encode("a log", old), "message.posted", b'{"room_id":0,"seq":1}'))
        await client.listens(process, 1_000_000)
        seqs = client.heard()
        del seqs[0]
        assert seqs == {
            room: every[old[room - log.room(0)] :]
            for room, every in told_by(log).items()
            if old[room - log.room(0)] < len(every)
        }
        await process.stop()

    play(scenario)
