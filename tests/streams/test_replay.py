"""A stream starts while the log and the tables have different positions: nothing comes twice, nothing is left out."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

import msgspec
import pytest

from falcon.features.accounts.rules import TokenIssued, TokenRevoked
from falcon.features.catalogue import Event
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.rooms.rules import MemberJoined, MemberLeft, Membership, Role, RoomCreated
from falcon.journal import codec
from falcon.journal.envelope import Envelope, Position
from falcon.journal.ports import JournalUnavailable
from falcon.journal.record import Record
from falcon.streams import resume_tokens
from falcon.streams.feed import Feed
from falcon.streams.frames import Frame, Reason
from falcon.streams.replay import NotReached, StreamReplay
from falcon.streams.resume_tokens import ResumePlace
from falcon.streams.subscription import Subscription
from falcon.streams.tail import LocatedRecord
from tools.harness.memory.starts import MemoryStarts
from tools.harness.waiting import eventually

ANN, BOB, ROOM, OTHER = 65, 129, 321, 385
AT = "2026-11-25T09:30:00.123Z"
AT_MILLIS = 1_795_599_000_123
MEMBER: Final[dict[int, Role]] = {ROOM: "member"}
SHOWN: Final = {"room_id": ROOM, "kind": "group", "name": "Tea", "description": "", "role": "member"}


class FakeTail:
    """One segment. ``shown``: how much of it a reader gets; ``said_end``: where it is said to end. ``away``: nothing of
    it can be read."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.located = [raw(offset, event) for offset, event in enumerate(events)]
        self.shown = len(self.located)
        self.said_end: int | None = None
        self.away: Exception | None = None
        self.starts = MemoryStarts()

    def segment(self, partition: int) -> int:
        return 0

    async def ends(self, segments: Mapping[int, object]) -> dict[int, int]:
        if self.away is not None:
            raise self.away
        return dict.fromkeys(segments, len(self.located) if self.said_end is None else self.said_end)

    async def position(self, segment: int, offset: int) -> Position:
        return Position(offset)

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        await asyncio.sleep(0)
        if self.away is not None:
            raise self.away
        start = cursor[0].offset
        located = self.located[start : min(start + limit, self.shown)]
        return located, {0: Position(start + len(located))}

    async def read_range(
        self, segment: int, start: Position, stop: int, limit: int
    ) -> tuple[list[LocatedRecord], Position]:
        located = self.located[start.offset : min(stop, start.offset + limit)]
        return located, Position(start.offset + len(located))

    def nudge(self) -> None:
        """It is always looking."""

    async def close(self) -> None: ...


class FakeLookups:
    async def name_of(self, account_id: int) -> str:
        return "Somebody"


class Ear:
    """A connection that takes everything at once."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.closed: Reason | None = None

    def send(self, frame: Frame, sent: Callable[[], None]) -> bool:
        self.frames.append(frame)
        return True

    def breaks(self, frame: Frame, sent: Callable[[], None]) -> bool:
        self.send(frame, sent)
        raise RuntimeError("a fault of ours")

    def beat(self, sent: Callable[[], None]) -> bool:
        return True

    def close(self, reason: Reason, id: str) -> None:
        self.closed = reason

    @property
    def heard(self) -> list[str]:
        """Names, and texts of messages."""
        return [name if text is None else f"{name} {text}" for name, text in map(named, self.frames)]


def named(frame: Frame) -> tuple[str, str | None]:
    data: dict[str, Any] = msgspec.json.decode(frame.data)
    return frame.name, data.get("text", data.get("name"))


def raw(offset: int, event: Event) -> LocatedRecord:
    return LocatedRecord(0, 1, Position(offset, 1, offset), codec.encode(Envelope(1, 1, offset, 0, event)))


def message(seq: int, room_id: int = ROOM) -> Message:
    return Message(room_id, seq, ANN, f"{seq}", AT_MILLIS)


def posted(seq: int, room_id: int = ROOM) -> MessagePosted:
    return MessagePosted(message(seq, room_id))


def created(*members: int) -> RoomCreated:
    return RoomCreated(ROOM, "group", "Tea", "", AT_MILLIS, tuple(Membership(member, "member") for member in members))


class Scene:
    """A feed over a log of ``events``. Account BOB listens."""

    def __init__(self, events: Iterable[Event], remembered: int = 1_000) -> None:
        self.tail = FakeTail(events)
        self.lookups = FakeLookups()
        self.feed = Feed(self.tail, self.lookups, "a log", 4, remembered=remembered)
        self.feed.start()

    def subscription(self) -> tuple[Subscription, Ear]:
        ear = Ear()
        return Subscription(BOB, "hash", None, ear), ear

    async def hello(self, applied: int, roles: Mapping[int, Role] | None = None) -> Ear:
        """A hello for tables that have applied at least everything below that offset, and show ``roles``."""
        beginning = await self.begins(applied, applied, roles or {})
        subscription, ear = self.subscription()
        subscription.rooms = dict(beginning.rooms)
        beginning.show_state(subscription, "hello", b"{}")
        await beginning.run(subscription, replay=False)
        return ear

    async def replay(self, since: int, roles: Mapping[int, Role] | None = None, *, applied: int | None = None) -> Ear:
        """A replay for tables that have applied the log as far as the token, unless given otherwise."""
        beginning = await self.begins(since, since if applied is None else applied, roles or {})
        subscription, ear = self.subscription()
        subscription.rooms = dict(beginning.rooms)
        await beginning.run(subscription, replay=True)
        return ear

    async def begins(self, offset: int, applied: int, roles: Mapping[int, Role]) -> StreamReplay:
        beginning = StreamReplay(self.feed, self.lookups, ResumePlace({0: offset}), {0: Position(applied)}, roles)
        await beginning.prepare()
        await beginning.resolve_membership(BOB)
        return beginning

    async def goes_on(self, *events: Event) -> None:
        for event in events:
            self.tail.located.append(raw(len(self.tail.located), event))
        self.tail.shown = len(self.tail.located)
        await eventually(lambda: self.feed.reached(0) == len(self.tail.located))


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """And leave nothing behind."""

    async def played() -> None:
        async with asyncio.timeout(60):
            await scenario()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()

    asyncio.run(played())


def test_a_state_has_the_messages_that_all_tables_show_and_what_follows_is_told() -> None:
    """Some tables may be ahead of others: a client that hears of a newer message by one would not find it in the
    other."""

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1), posted(2), posted(3), posted(4)])
        beginning = await scene.begins(3, 3, MEMBER)
        assert await beginning.newest_before() == {ROOM: 2}
        ear = await scene.hello(3, MEMBER)
        await scene.goes_on(posted(5))
        assert ear.heard == ["hello", "message.posted 3", "message.posted 4", "message.posted 5"]

    play(scenario)


def test_of_a_room_where_nothing_was_posted_since_the_tables_know_the_newest_message() -> None:
    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1), posted(7, OTHER), MessageEdited(message(1), 1)])
        beginning = await scene.begins(2, 2, MEMBER)
        assert await beginning.newest_before() == {}

    play(scenario)


@pytest.mark.parametrize("remembered", [1, 1_000])
def test_a_state_that_is_far_behind_the_log_is_read_on_from_there(remembered: int) -> None:
    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), *(posted(seq) for seq in range(1, 31))], remembered)
        beginning = await scene.begins(11, 11, MEMBER)
        assert await beginning.newest_before() == {ROOM: 10}
        assert (await scene.hello(11, MEMBER)).heard == ["hello", *(f"message.posted {seq}" for seq in range(11, 31))]

    play(scenario)


def test_what_the_tables_do_not_show_yet_is_told() -> None:
    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1)])
        ear = await scene.hello(0)
        assert ear.heard == ["hello", "room.created Tea", "message.posted 1"]

    play(scenario)


def test_who_listens_to_a_log_that_cannot_be_read_to_its_end_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falcon.streams.replay._REACH_SECONDS", 0.05)

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1)])
        scene.tail.shown = 1
        with pytest.raises(NotReached):
            await scene.hello(1, MEMBER)

    play(scenario)


def test_a_replay_of_what_is_remembered_and_of_what_is_not_are_the_same() -> None:
    async def scenario() -> None:
        events: list[Event] = [created(ANN, BOB), *(posted(seq) for seq in range(1, 60))]
        heard = []
        for remembered in (1_000, 100, 20, 1):
            scene = Scene(events, remembered)
            await scene.hello(0)
            ear = await scene.replay(10, MEMBER)
            heard.append(ear.heard)
        assert heard == [[*(f"message.posted {seq}" for seq in range(10, 60)), "caught_up"]] * 4

    play(scenario)


def test_who_left_and_came_back_while_the_tables_were_read_hears_on() -> None:
    """Both are in the log behind what the tables are known to have applied, and in what they show."""

    async def scenario() -> None:
        left, back = MemberLeft(ROOM, BOB, "member"), MemberJoined(ROOM, BOB, "member", 1)
        scene = Scene([created(ANN, BOB), posted(1), left, back])
        ear = await scene.hello(2, MEMBER)
        await scene.goes_on(posted(2))
        assert ear.heard[-1] == "message.posted 2"

    play(scenario)


def test_who_joined_while_the_tables_were_read_is_told_so_and_hears_on() -> None:
    async def scenario() -> None:
        joined = MemberJoined(ROOM, BOB, "member", 1)
        edited, deleted = MessageEdited(message(1), 1), MessageDeleted(message(1), 2)
        scene = Scene([created(ANN), posted(1), edited, deleted, joined])
        beginning = await scene.begins(2, 2, MEMBER)
        assert beginning.rooms == {}, "he was not in it then"
        ear = await scene.hello(2, MEMBER)
        await scene.goes_on(posted(2))
        assert ear.heard == ["hello", "member.joined", "message.posted 2"]

    play(scenario)


def test_who_was_brought_to_a_new_room_while_the_tables_were_read_is_told_so_and_hears_on() -> None:
    async def scenario() -> None:
        scene = Scene([posted(1, OTHER), created(ANN, BOB)])
        ear = await scene.hello(1, MEMBER)
        await scene.goes_on(posted(1))
        assert ear.heard == ["hello", "room.created Tea", "message.posted 1"]

    play(scenario)


def test_what_is_said_to_be_the_end_may_be_stale() -> None:
    """As after a change of leader: other streams may have read on before the first events are shown here."""

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), *(posted(seq) for seq in range(1, 6))])
        scene.tail.shown = scene.tail.said_end = 3
        await scene.hello(1, MEMBER)
        beginning = asyncio.create_task(scene.hello(6, MEMBER))
        scene.tail.said_end = None
        await scene.goes_on(posted(6))
        ear = await beginning
        assert ear.heard == ["hello", "message.posted 6"]

    play(scenario)


# --- tables that are behind the token, or ahead of it -----------------------------------------------------------------


def test_who_joined_since_the_tables_stopped_comes_back_without_them() -> None:
    async def scenario() -> None:
        joined = MemberJoined(ROOM, BOB, "member", 1)
        scene = Scene([created(ANN), posted(1), joined, posted(2), posted(3)])
        ear = await scene.replay(4, {}, applied=1)
        await scene.goes_on(posted(4))
        assert ear.heard == ["message.posted 3", "caught_up", "message.posted 4"]

    play(scenario)


def test_who_left_since_the_tables_stopped_is_shown_nothing_more() -> None:
    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1), MemberLeft(ROOM, BOB, "member"), posted(2), posted(3)])
        assert (await scene.replay(4, MEMBER, applied=1)).heard == ["caught_up"]

    play(scenario)


@pytest.mark.parametrize(("applied", "known", "good"), [(1, False, True), (3, True, True), (1, True, True)])
def test_a_token_that_was_issued_since_the_tables_stopped_is_good(applied: int, known: bool, good: bool) -> None:
    async def scenario() -> None:
        issued = TokenIssued(BOB, 2, "hash", AT_MILLIS)
        scene = Scene([created(ANN, BOB), posted(1), issued, posted(2)])
        beginning = await scene.begins(4, applied, MEMBER)
        assert beginning.is_good("hash", known=known) is good
        assert not beginning.is_good("another", known=False)

    play(scenario)


@pytest.mark.parametrize("since", [1, 3])
def test_a_token_that_was_revoked_since_the_tables_stopped_is_not_good(since: int) -> None:
    async def scenario() -> None:
        revoked, others = TokenRevoked(BOB, 2, "hash"), TokenRevoked(ANN, 2, "other")
        scene = Scene([created(ANN, BOB), posted(1), revoked, others])
        beginning = await scene.begins(since, 1, MEMBER)
        assert not beginning.is_good("hash", known=True)
        assert beginning.is_good("other", known=True)

    play(scenario)


def test_the_past_is_read_again_where_the_process_has_forgotten_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falcon.streams.feed._HISTORY_BYTES_MAX", 2_500)

    async def scenario() -> None:
        joined = [MemberJoined(OTHER, who, "member", 0) for who in range(1_000, 1_010)]
        scene = Scene([created(ANN, BOB), MemberLeft(ROOM, BOB, "member"), *joined, posted(1)])
        await scene.hello(0)
        assert scene.feed.history_begins(0) > 1
        assert (await scene.replay(12, MEMBER, applied=1)).heard == ["caught_up"]

    play(scenario)


def test_a_log_is_read_for_as_long_as_its_end_comes_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a projection has stopped, a stream may begin far behind the end."""

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), *(posted(seq) for seq in range(1, 10))])
        scene.tail.shown = 1
        reach = scene.feed.reach

        async def reaches_a_little(ends: Mapping[int, int]) -> None:
            if scene.tail.shown == len(scene.tail.located):
                return await reach(ends)
            scene.tail.shown += 1
            await reach({0: scene.tail.shown})
            raise TimeoutError

        monkeypatch.setattr(scene.feed, "reach", reaches_a_little)
        assert (await scene.hello(0)).heard[-1] == "message.posted 9"

    play(scenario)


# --- the log, and what stands in it -----------------------------------------------------------------------------------


def test_an_event_that_does_not_decode_is_passed_over_live_and_in_a_replay(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1)])
        live = await scene.hello(0)
        kinds = ("message-posted", "message-deleted", "member-joined")
        scene.tail.located += [unknown(offset, kind) for offset, kind in enumerate(kinds, 2)]
        await scene.goes_on(posted(2))
        replay = await scene.replay(1, MEMBER)
        assert live.heard[-2:] == ["message.posted 1", "message.posted 2"]
        assert replay.heard == ["message.posted 1", "message.posted 2", "caught_up"]
        assert (await (await scene.begins(2, 2, MEMBER)).newest_before()) == {ROOM: 1}

    play(scenario)
    assert sum("streams pass over an event" in each.message for each in caplog.records) == 3


def test_what_a_newer_falcon_calls_not_critical_is_passed_over_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1)])
        live = await scene.hello(0)
        kinds = ("message-posted", "message-deleted", "member-joined", "room-painted")
        scene.tail.located += [unknown(offset, kind, critical=False) for offset, kind in enumerate(kinds, 2)]
        await scene.goes_on(posted(2))
        replay = await scene.replay(1, MEMBER)
        assert live.heard[-2:] == ["message.posted 1", "message.posted 2"]
        assert replay.heard == ["message.posted 1", "message.posted 2", "caught_up"]
        assert (await (await scene.begins(2, 2, MEMBER)).newest_before()) == {ROOM: 1}

    play(scenario)
    assert not caplog.records


def unknown(offset: int, kind: str, *, critical: bool = True) -> LocatedRecord:
    """An event as a newer version of Falcon writes it."""
    record = Record(kind, 9, critical, ROOM, b'{"at":0,"by":0,"event":{}}')
    return LocatedRecord(0, 1, Position(offset, 1, offset), record)


def test_a_log_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("falcon.streams.feed._RETRY_SECONDS", 0.005)

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB)])
        ear = await scene.hello(0)
        scene.tail.away = JournalUnavailable("away")
        await eventually(lambda: "streams wait: away" in caplog.text)
        with pytest.raises(JournalUnavailable):
            await scene.hello(0)
        stalled = scene.feed._stalled()
        await eventually(lambda: scene.feed._stalled() > stalled > 0)
        scene.tail.away = None
        await scene.goes_on(posted(1))
        assert ear.heard == ["hello", "room.created Tea", "message.posted 1"]

    play(scenario)


def test_where_an_event_could_not_be_passed_on_all_who_were_to_get_it_go_on_from_where_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fault of ours in the middle of a delivery: no listener may miss the event silently."""

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1)])
        ears = [await scene.hello(0) for _ in range(8)]
        broken, ear = scene.subscription()
        broken.rooms = {ROOM: "member"}
        ear.send = ear.breaks  # type: ignore[method-assign]
        scene.feed.add(broken)
        await scene.goes_on(posted(2), posted(3))
        assert {each.closed for each in (*ears, ear)} == {"draining"}
        assert {each.heard[-1] for each in ears} <= {"message.posted 1", "message.posted 2"}
        for each in ears:
            since = resume_tokens.decode("a log", each.frames[-1].id).offsets[0]
            assert (each.heard + (await scene.replay(since, MEMBER)).heard)[2:] == [
                *(f"message.posted {seq}" for seq in (1, 2, 3)),
                "caught_up",
            ]

    play(scenario)
    assert "could not pass on offset 2" in caplog.text


def test_the_streams_of_a_process_survive_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("falcon.streams.feed._RETRY_SECONDS", 0.005)

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB)])
        ear = await scene.hello(0)
        scene.tail.away = RuntimeError("broken")
        await eventually(lambda: "a fault of ours" in caplog.text)
        scene.tail.away = None
        await scene.goes_on(posted(1))
        assert ear.heard[-1] == "message.posted 1"

    play(scenario)
