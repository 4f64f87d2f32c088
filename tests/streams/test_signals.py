"""Typing and presence: told to clients that ask for them, at no disadvantage to others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from falcon.http import bearer_tokens
from falcon.read.store import ReadStoreUnavailable
from falcon.streams import signals
from falcon.streams.signals import Signals
from tests.contracts.signal_transport import Other
from tests.streams.reader import Event, Listen, Listener, Transport, eventually, problem_of, soon
from tests.streams.test_replay import ANN, ROOM, Scene, play
from tests.support.http import Falcon, Person, Room

Start = Callable[..., Falcon]
BOTH = pytest.mark.parametrize("transport", ["sse", "websocket"])


def begun(listener: Listener) -> Listener:
    assert listener.next().name == "hello"
    return listener


def types(person: Person, room: Room) -> None:
    said = person.post(f"{room}/typing")
    assert (said.status_code, said.content) == (204, b""), said.text


def told(event: Event) -> tuple[str, Any]:
    return event.name, event.data


# --- typing -----------------------------------------------------------------------------------------------------------


@BOTH
def test_who_types_is_told_to_the_others_in_the_room_who_want_to_know(
    anna: Person, ben: Person, cleo: Person, room: Room, listen: Listen, transport: Transport
) -> None:
    wants = begun(listen(ben, transport=transport, signals="typing"))
    herself = begun(listen(anna, transport=transport, signals="typing"))
    did_not_ask = begun(listen(ben, transport=transport))
    elsewhere = begun(listen(cleo, transport=transport, signals="typing"))
    types(anna, room)
    assert told(wants.next()) == ("typing", {"room_id": room.room_id, "account_id": anna.account_id})
    anna.says(room, "Tea?")
    for stream in (herself, did_not_ask):
        assert stream.next().name == "message.posted"
    assert elsewhere.unread() == []


def test_a_signal_moves_nobodys_place(anna: Person, ben: Person, room: Room, listen: Listen) -> None:
    stream = begun(listen(ben, signals="typing,presence"))
    anna.says(room, "One")
    before = stream.next("message.posted")
    types(anna, room)
    typing = stream.next("typing")
    assert typing.id == before.id
    stream.close()
    anna.says(room, "Two")
    again = listen.resume(ben, typing)
    assert [event.data["text"] for event in again.until("caught_up")] == ["Two"]


def test_nobody_types_more_than_once_a_second(anna: Person, room: Room) -> None:
    types(anna, room)
    refused = anna.post(f"{room}/typing")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["ratelimit"] == '"typing";r=0;t=1'
    assert refused.headers["ratelimit-policy"] == '"typing";q=1;w=1'
    assert float(refused.headers["Retry-After"]) >= 1


def test_only_members_who_may_write_can_type(anna: Person, ben: Person, cleo: Person) -> None:
    room = anna.makes_room("Tea", readonly=ben)
    assert cleo.post(f"{room}/typing").json()["code"] == "room_not_found"
    assert ben.post(f"{room}/typing").json()["code"] == "read_only"
    assert anna.post(f"{room}/typing", {"text": "Hello"}).status_code == 422


def test_in_a_room_that_is_too_full_nobody_is_told(
    start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "AUDIENCE_MAX", 1)
    falcon = start()
    anna, ben, cleo = (falcon.account(name) for name in ("Anna", "Ben", "Cleo"))
    full, other = anna.makes_room("Full", ben, cleo), ben.makes_room("Other", cleo)
    first, _ = begun(listen(cleo, signals="typing")), begun(listen(ben, rooms=str(full.room_id), signals="typing"))
    types(anna, full)
    types(ben, other)
    assert first.next().data == {"room_id": other.room_id, "account_id": ben.account_id}


def test_who_reads_slowly_does_without(anna: Person, ben: Person, room: Room, listen: Listen) -> None:
    stream = begun(listen(ben, signals="typing"))
    stream.fill()
    anna.says(room, "One")
    soon(anna.falcon, lambda: any(each.busy for each in anna.falcon.edge.streams._serving))
    types(anna, room)
    anna.says(room, "Two")
    stream.drain()
    assert [stream.next().name for _ in range(2)] == ["message.posted", "message.posted"]


def test_a_signal_that_nobody_knows_is_refused(anna: Person, listen: Listen) -> None:
    problem = problem_of(listen(anna, signals="typing,smell"), 422, "invalid")
    rule = "must be typing or presence, or both separated by a comma"
    assert problem["errors"] == [{"field": "signals", "rule": rule}]


# --- presence ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(start: Start, monkeypatch: pytest.MonkeyPatch) -> Falcon:
    """One in which those who leave are missed at once."""
    monkeypatch.setattr(signals, "_TURN_SECONDS", 0.01)
    monkeypatch.setattr(signals, "_LINGER_SECONDS", 0.05)
    return start()


def presence(person: Person, *, online: bool) -> tuple[str, Any]:
    return "presence", {"account_id": person.account_id, "online": online}


def test_who_comes_and_goes_is_told_to_those_who_share_a_room(quick: Falcon, listen: Listen) -> None:
    anna, ben, cleo = (quick.account(name) for name in ("Anna", "Ben", "Cleo"))
    anna.makes_room("Tea", ben)
    watching, elsewhere = begun(listen(anna, signals="presence")), begun(listen(cleo, signals="presence"))
    desk = begun(listen(ben))
    assert told(watching.next()) == presence(ben, online=True)
    phone = begun(listen(ben))
    desk.close()
    phone.close()
    assert told(watching.next()) == presence(ben, online=False)
    assert elsewhere.unread() == []


def test_who_is_there_already_is_told_at_the_beginning(quick: Falcon, listen: Listen) -> None:
    anna, ben = quick.account("Anna"), quick.account("Ben")
    anna.makes_room("Tea", ben)
    early = begun(listen(anna, signals="presence"))
    begun(listen(ben))
    assert told(early.next()) == presence(ben, online=True)
    late = begun(listen(anna, signals="presence"))
    assert told(late.next()) == presence(ben, online=True)


def test_in_a_large_room_nobody_is_told_who_is_there(
    quick: Falcon, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "ROOM_MEMBERS_MAX", 2)
    anna, ben, cleo = (quick.account(name) for name in ("Anna", "Ben", "Cleo"))
    anna.makes_room("Large", ben, cleo)
    anna.makes_room("Small", cleo)
    watching = begun(listen(anna, signals="presence"))
    begun(listen(ben))
    begun(listen(cleo))
    assert told(watching.next()) == presence(cleo, online=True)


def test_who_comes_back_at_once_was_never_away(start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_TURN_SECONDS", 0.01)
    falcon = start()
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea", ben)
    watching = begun(listen(anna, signals="presence"))
    first = begun(listen(ben))
    assert told(watching.next()) == presence(ben, online=True)
    first.close()
    begun(listen(ben))
    ben.says(room, "Back")
    assert watching.next().name == "message.posted"


# --- between processes ------------------------------------------------------------------------------------------------


def test_two_processes_of_a_machine_hear_of_one_another(
    tmp_path: Path, start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_TURN_SECONDS", 0.01)
    folder = tmp_path / "shared"
    folder.mkdir()
    falcon = start(run_dir=str(folder))
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea", ben)
    watching = begun(listen(anna, signals="typing,presence"))
    other = Other(falcon, folder)
    other.says({"type": "here", "process": "another", "accounts": [[ben.account_id, [room.room_id]]]})
    assert told(watching.next()) == presence(ben, online=True)
    other.says({"type": "typing", "room_id": room.room_id, "account_id": ben.account_id})
    assert watching.next().name == "typing"
    other.says({"type": "nonsense"})
    other.says({"type": "gone", "process": "another", "accounts": [ben.account_id]})
    assert told(watching.next()) == presence(ben, online=False)
    other.says({"type": "asking"})
    heard = other.hears("here")
    assert [anna.account_id, [room.room_id]] in heard["accounts"]
    other.close()


def test_a_ticket_is_used_in_every_process_once_it_is_used_in_one(tmp_path: Path, start: Start, listen: Listen) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    falcon = start(run_dir=str(folder))
    anna = falcon.account("Anna")
    other = Other(falcon, folder)
    here, elsewhere = (anna.post("/v1/stream/tickets").json()["ticket"] for _ in range(2))
    begun(listen.bare(falcon, {}, ticket=here))
    used = bearer_tokens.read_ticket(falcon.edge.secret, here)
    assert used is not None
    assert msgspec.convert(other.hears("used")["ticket"], bytes) == used.signature
    found = bearer_tokens.read_ticket(falcon.edge.secret, elsewhere)
    assert found is not None
    other.says({"type": "used", "ticket": found.signature})
    soon(falcon, lambda: found.signature in falcon.edge.streams.signals._tickets)
    problem_of(listen.bare(falcon, {}, ticket=elsewhere), 401, "unauthenticated")
    other.close()


# --- from process to process ------------------------------------------------------------------------------------------


class Heard:
    """A transport that goes nowhere. ``sent``: the kinds of signal, in order."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.take: Callable[[bytes], None]

    def open(self, take: Callable[[bytes], None]) -> None:
        self.take = take

    def send(self, data: bytes) -> None:
        self.sent.append(msgspec.json.decode(data)["type"])

    async def close(self) -> None: ...


class Sizes:
    """Every room is small, where it can be found out."""

    def __init__(self) -> None:
        self.fault: Exception | None = None

    async def has_at_most(self, room_id: int, members: int) -> bool:
        if self.fault is not None:
            raise self.fault
        return True


class Process:
    """One that has signals, and a clock that goes when it is told to. Account 65 is in room 321."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.transport, self.sizes = Heard(), Sizes()
        scene = Scene([])
        self.signals = Signals(self.transport, scene.feed, self.sizes, lambda: self.now)
        self.listener, self.ear = scene.subscription()
        self.listener.signals = frozenset({"presence"})
        self.listener.rooms = {ROOM: "member"}
        scene.feed.add(self.listener)
        self.transport.open(self.signals._take)

    def hears(self, **signal: Any) -> None:
        self.transport.take(msgspec.json.encode({**signal, "process": "another"}))

    async def passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            await self.signals._turn()

    def told(self) -> list[tuple[str, Any]]:
        return [(frame.name, msgspec.json.decode(frame.data)) for frame in self.ear.frames]


def test_a_process_that_is_heard_of_is_asked_who_is_there_and_again_when_it_was_forgotten() -> None:
    async def scenario() -> None:
        here = Process()
        for _ in range(3):
            here.hears(type="alive")
        assert here.transport.sent == ["asking"]
        await here.passes(40)
        assert "asking" not in here.transport.sent[1:]
        here.hears(type="alive")
        assert here.transport.sent.count("asking") == 2

    play(scenario)


def test_who_was_with_a_process_that_has_fallen_silent_is_gone() -> None:
    async def scenario() -> None:
        here = Process()
        here.hears(type="here", accounts=[[ANN, [ROOM]]])
        await here.passes(30)
        assert here.told() == [("presence", {"account_id": ANN, "online": True})]
        await here.passes(10)
        assert here.told()[1:] == [("presence", {"account_id": ANN, "online": False})]

    play(scenario)


def test_who_is_here_is_said_when_he_comes_and_then_once_a_minute() -> None:
    async def scenario() -> None:
        here = Process()
        here.signals.came(here.listener)
        said = []
        for _ in range(3):
            await here.passes(60)
            said.append(here.transport.sent.count("here"))
        assert said == [1, 2, 3]

    play(scenario)


def test_who_is_here_is_said_later_where_it_cannot_be_found_out_who_may_know(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The tables are away, or we have a fault."""
    monkeypatch.setattr(signals, "_TURN_SECONDS", 0.005)

    async def scenario() -> None:
        here = Process()
        here.sizes.fault = ReadStoreUnavailable("away")
        here.signals.start()
        here.signals.came(here.listener)
        await eventually(lambda: "who is there is told later: away" in caplog.text)
        here.sizes.fault = RuntimeError("broken")
        await eventually(lambda: "signals met a fault of ours" in caplog.text)
        assert "here" not in here.transport.sent
        here.sizes.fault = None
        await eventually(lambda: "here" in here.transport.sent)
        await here.signals.stop()

    play(scenario)


def test_what_is_no_signal_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        here = Process()
        here.transport.take(b"nonsense")
        assert (here.transport.sent, here.told()) == ([], [])

    play(scenario)
    assert "a signal is not as Falcon's are" in caplog.text
