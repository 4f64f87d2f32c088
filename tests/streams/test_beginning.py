"""How a stream begins, with a log and tables that are not where the other one is: nothing twice, nothing left out."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import msgspec
import pytest

from falcon.domain.events import (
    Event,
    MemberJoined,
    MemberLeft,
    Membership,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReadMoved,
    RoomChanged,
    RoomCreated,
)
from falcon.domain.message import Message
from falcon.journal import codec
from falcon.journal.envelope import Envelope, Position, aggregate_of
from falcon.streams.delivery import RoomInfo
from falcon.streams.feed import Feed
from falcon.streams.frames import Frame, Reason
from falcon.streams.opening import Beginning, NotReached, Standing
from falcon.streams.subscription import Subscription
from falcon.streams.tail import Raw
from tests.streams.reader import eventually

ANN, BOB, ROOM, OTHER = 65, 129, 321, 385
AT = "2026-11-25T09:30:00.123Z"


class FakeTail:
    """One lane. ``shown``: how much of it a reader gets; ``said_end``: where it is said to end."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.raws = [raw(offset, event) for offset, event in enumerate(events)]
        self.shown = len(self.raws)
        self.said_end: int | None = None

    def lane(self, partition: int) -> int:
        return 0

    async def ends(self, lanes: Mapping[int, object]) -> dict[int, int]:
        return dict.fromkeys(lanes, len(self.raws) if self.said_end is None else self.said_end)

    async def position(self, lane: int, offset: int) -> Position:
        return Position(offset)

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[Raw], dict[int, Position]]:
        await asyncio.sleep(0)
        start = cursor[0].offset
        raws = self.raws[start : min(start + limit, self.shown)]
        return raws, {0: Position(start + len(raws))}

    async def read_again(self, lane: int, start: Position, stop: int, limit: int) -> tuple[list[Raw], Position]:
        raws = self.raws[start.offset : min(stop, start.offset + limit)]
        return raws, Position(start.offset + len(raws))

    def nudge(self) -> None:
        """It is always looking."""

    async def close(self) -> None: ...


class FakeLookups:
    """Tables that show nothing."""

    async def shown(self, room: RoomInfo | None, raw: Raw, account_id: int, role: str) -> bytes | None:
        return None

    async def info(self, room_id: int) -> RoomInfo | None:
        return None

    async def read_mark(self, room: RoomInfo | None, moved: ReadMoved) -> bytes | None:
        return None


class Ear:
    """A connection that takes everything at once."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def send(self, frame: Frame, sent: Callable[[], None]) -> bool:
        self.frames.append(frame)
        return True

    def beat(self, sent: Callable[[], None]) -> bool:
        return True

    def close(self, reason: Reason, id: str) -> None: ...

    @property
    def heard(self) -> list[str]:
        """Names, and texts of messages."""
        return [name if text is None else f"{name} {text}" for name, text in map(named, self.frames)]


def named(frame: Frame) -> tuple[str, str | None]:
    data: dict[str, Any] = msgspec.json.decode(frame.data)
    return frame.name, data.get("text", data.get("name"))


def raw(offset: int, event: Event) -> Raw:
    return Raw(0, 1, Position(offset, 1, offset), aggregate_of(event), codec.encode(Envelope(1, 1, offset, 0, event)))


def message(seq: int, room_id: int = ROOM) -> Message:
    return Message(room_id, seq, ANN, f"{seq}", AT)


def posted(seq: int, room_id: int = ROOM) -> MessagePosted:
    return MessagePosted(message(seq, room_id))


def created(*members: int) -> RoomCreated:
    return RoomCreated(ROOM, "group", "Tea", "", AT, tuple(Membership(member, "member") for member in members))


def standing(last_seq: int, name: str = "Tea") -> Standing:
    return Standing(RoomInfo(ROOM, "group", name, "", AT, last_seq), "member")


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

    async def hello(self, applied: int, *standings: Standing) -> Ear:
        """As where the tables have applied everything below that offset at least, and show ``standings``."""
        subscription, ear = self.subscription()
        beginning = Beginning(self.feed, self.lookups, {0: applied}, standings)
        await beginning.prepare({0: Position(applied)})
        await beginning.look_back(BOB)
        subscription.rooms = dict(beginning.rooms)
        beginning.show_state(subscription, "hello", b"{}")
        await beginning.run(subscription, replay=False)
        return ear

    async def replay(self, since: int, *standings: Standing) -> Ear:
        subscription, ear = self.subscription()
        beginning = Beginning(self.feed, self.lookups, {0: since}, standings)
        await beginning.prepare({0: Position(since)})
        await beginning.look_back(BOB)
        subscription.rooms = dict(beginning.rooms)
        await beginning.run(subscription, replay=True)
        return ear

    async def goes_on(self, *events: Event) -> None:
        for event in events:
            self.tail.raws.append(raw(len(self.tail.raws), event))
        self.tail.shown = len(self.tail.raws)
        await eventually(lambda: self.feed.reached(0) == len(self.tail.raws))


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """And leave nothing behind."""

    async def played() -> None:
        async with asyncio.timeout(5):
            await scenario()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()

    asyncio.run(played())


def test_what_the_tables_show_is_not_told_again() -> None:
    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1), posted(2), posted(3)])
        ear = await scene.hello(1, standing(2))
        await scene.goes_on(posted(4))
        assert ear.heard == ["hello", "message.posted 3", "message.posted 4"]

    play(scenario)


def test_what_the_tables_do_not_show_yet_is_told() -> None:
    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1)])
        ear = await scene.hello(0)
        assert ear.heard == ["hello", "room.created Tea", "message.posted 1"]

    play(scenario)


def test_who_listens_to_a_log_that_cannot_be_read_to_its_end_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falcon.streams.opening._REACH_SECONDS", 0.05)

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), posted(1)])
        scene.tail.shown = 1
        with pytest.raises(NotReached):
            await scene.hello(1, standing(0))

    play(scenario)


def test_a_replay_of_what_is_remembered_and_of_what_is_not_are_the_same() -> None:
    async def scenario() -> None:
        events: list[Event] = [created(ANN, BOB), *(posted(seq) for seq in range(1, 60))]
        heard = []
        for remembered in (1_000, 100, 20, 1):
            scene = Scene(events, remembered)
            await scene.hello(0)
            ear = await scene.replay(10, standing(59))
            heard.append(ear.heard)
        assert heard == [[*(f"message.posted {seq}" for seq in range(10, 60)), "caught_up"]] * 4

    play(scenario)


def test_who_left_and_came_back_while_the_tables_were_read_hears_on() -> None:
    """Both are in the log behind what the tables are known to have applied, and in what they show."""

    async def scenario() -> None:
        left, back = MemberLeft(ROOM, BOB, ANN, "member"), MemberJoined(ROOM, BOB, "member", 1, ANN)
        scene = Scene([created(ANN, BOB), posted(1), left, back])
        ear = await scene.hello(2, standing(1))
        await scene.goes_on(posted(2))
        assert ear.heard[-1] == "message.posted 2"

    play(scenario)


def test_who_joined_while_the_tables_were_read_hears_nothing_of_before() -> None:
    async def scenario() -> None:
        joined = MemberJoined(ROOM, BOB, "member", 1, ANN)
        edited, deleted = MessageEdited(message(1), 1), MessageDeleted(message(1), 2)
        scene = Scene([created(ANN), posted(1), edited, deleted, joined])
        ear = await scene.hello(2, standing(1))
        assert ear.heard == ["hello"]

    play(scenario)


def test_what_is_said_to_be_the_end_may_be_stale() -> None:
    """As after a change of leader: then others may have been reading on before what is shown at first here."""

    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), *(posted(seq) for seq in range(1, 6))])
        scene.tail.shown = scene.tail.said_end = 3
        await scene.hello(1, standing(0))
        beginning = asyncio.create_task(scene.hello(6, standing(5)))
        scene.tail.said_end = None
        await scene.goes_on(posted(6))
        ear = await beginning
        assert ear.heard == ["hello", "message.posted 6"]

    play(scenario)


def test_a_change_that_the_tables_do_not_show_yet_is_told_as_it_is() -> None:
    async def scenario() -> None:
        scene = Scene([created(ANN, BOB), RoomChanged(ROOM, "Coffee", "", ANN)])
        ear = await scene.hello(1, standing(0))
        assert ear.heard == ["hello", "room.changed Coffee"]

    play(scenario)


def test_changes_in_a_replay_are_told_as_they_were() -> None:
    async def scenario() -> None:
        changes = [RoomChanged(ROOM, name, "", ANN) for name in ("Coffee", "Water")]
        scene = Scene([created(ANN, BOB), *changes])
        ear = await scene.replay(1, standing(0, "Water"))
        assert ear.heard == ["room.changed Coffee", "room.changed Water", "caught_up"]

    play(scenario)
