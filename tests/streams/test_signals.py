"""Typing and presence as clients get them: told to the ones that ask, at no disadvantage to others."""

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from falcon.http import bearer_tokens
from falcon.streams import receipts, signals
from falcon.streams.keepers import slot_of
from falcon.streams.presence import Presence
from tests.contracts.signal_transport import Other
from tests.streams.processes import Network
from tests.streams.reader import Event, Listen, Listener, Transport, problem_of, soon
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


def test_falcon_tells_of_a_typist_once_a_second_at_most(
    anna: Person, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert signals.TYPING_SECONDS == 1
    monkeypatch.setattr(signals, "TYPING_SECONDS", 3_600.0)  # a busy machine stops the test for longer than a second
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
    rule = "must be some of typing, presence, accounts, receipts, separated by commas"
    assert problem["errors"] == [{"field": "signals", "rule": rule}]


# --- receipts ---------------------------------------------------------------------------------------------------------


def test_hello_names_the_rooms_that_are_too_large_for_receipts(
    anna: Person, ben: Person, cleo: Person, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "MEMBERS_MAX", 2)
    small, large = anna.makes_room("Small", ben), anna.makes_room("Large", ben, cleo)
    rooms = f"{small.room_id},{large.room_id}"
    assert listen(anna, rooms=rooms).next("hello").data["without_receipts"] == []
    stream = listen(anna, rooms=rooms, signals="receipts")
    hello = stream.next("hello")
    assert hello.data["without_receipts"] == [large.room_id]
    resumed = listen(anna, rooms=rooms, signals="receipts", resume=hello.id)
    resumed.next("caught_up")
    for room in (large, small):
        anna.says(room, "Tea?")
        ben.marks_read(room, 1)
    for each in (stream, resumed):
        read = {"room_id": small.room_id, "account_id": ben.account_id, "read_seq": 1}
        assert each.next("receipts").data == read  # the larger room's would have come before


# --- presence ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(start: Start, monkeypatch: pytest.MonkeyPatch) -> Falcon:
    """One in which the people who leave are missed at once."""
    monkeypatch.setattr(signals, "_TURN_SECONDS", 0.01)
    monkeypatch.setattr(signals, "_LINGER_SECONDS", 0.05)
    return start()


def presence(person: Person, *, online: bool) -> tuple[str, Any]:
    return "presence", {"account_id": person.account_id, "online": online}


def watch(*people: Person) -> str:
    return ",".join(str(each.account_id) for each in people)


@BOTH
def test_who_comes_and_goes_is_told_to_those_who_watch(quick: Falcon, listen: Listen, transport: Transport) -> None:
    anna, ben, cleo = (quick.account(name) for name in ("Anna", "Ben", "Cleo"))
    room = anna.makes_room("Tea", ben, cleo)
    watching = begun(listen(anna, transport=transport, watch=watch(anna, ben)))
    watches_nobody = begun(listen(cleo, transport=transport, signals="presence"))
    desk = begun(listen(ben))
    assert told(watching.next()) == presence(ben, online=True)
    phone = begun(listen(ben))
    desk.close()
    phone.close()
    assert told(watching.next()) == presence(ben, online=False)
    anna.says(room, "Ben has left")
    assert watches_nobody.next().name == "message.posted"


def test_who_is_there_already_is_told_at_the_beginning(quick: Falcon, listen: Listen) -> None:
    anna, ben = quick.account("Anna"), quick.account("Ben")
    anna.makes_room("Tea", ben)
    early = begun(listen(anna, watch=watch(ben)))
    begun(listen(ben))
    assert told(early.next()) == presence(ben, online=True)
    late = begun(listen(anna, watch=watch(ben)))
    assert told(late.next()) == presence(ben, online=True)


def test_a_stranger_is_not_told_until_they_share_a_room(quick: Falcon, listen: Listen) -> None:
    anna, ben = quick.account("Anna"), quick.account("Ben")
    begun(listen(ben))
    watching = begun(listen(anna, watch=watch(ben)))
    anna.makes_room("Anna's")
    assert watching.next().name == "room.created"
    room = ben.makes_room("Tea", anna)
    assert [watching.next().name for _ in range(2)] == ["room.created", "presence"]
    ben.delete(f"{room}/members/{anna.account_id}")
    assert watching.next().name == "member.left"
    assert told(watching.next()) == presence(ben, online=False)


def test_a_stream_of_one_room_is_told_of_its_members(quick: Falcon, listen: Listen) -> None:
    anna, ben, cleo = (quick.account(name) for name in ("Anna", "Ben", "Cleo"))
    tea, coffee = anna.makes_room("Tea", ben), anna.makes_room("Coffee", cleo)
    watching = begun(listen(anna, rooms=str(tea.room_id), watch=watch(ben, cleo)))
    begun(listen(cleo, rooms=str(coffee.room_id)))
    begun(listen(ben, rooms=str(tea.room_id)))
    assert told(watching.next()) == presence(ben, online=True)


def test_who_comes_back_at_once_was_never_away(start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_TURN_SECONDS", 0.01)
    falcon = start()
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea", ben)
    watching = begun(listen(anna, watch=watch(ben)))
    first = begun(listen(ben))
    assert told(watching.next()) == presence(ben, online=True)
    first.close()
    begun(listen(ben))
    ben.says(room, "Back")
    assert watching.next().name == "message.posted"


def test_who_reads_slowly_is_told_later_who_is_there(quick: Falcon, listen: Listen) -> None:
    anna, ben = quick.account("Anna"), quick.account("Ben")
    room = anna.makes_room("Tea", ben)
    watching = begun(listen(anna, watch=watch(ben)))
    watching.fill()
    anna.says(room, "One")
    soon(quick, lambda: any(each.busy for each in quick.edge.streams._serving))
    begun(listen(ben))
    soon(quick, lambda: bool(quick.edge.streams.signals._late))
    watching.drain()
    assert watching.next().name == "message.posted"
    assert told(watching.next()) == presence(ben, online=True)


@pytest.mark.parametrize(
    ("watched", "rule"),
    [
        (",".join(map(str, range(1, 502))), "must have at most 500 ids"),
        ("65,ben", "must be ids of accounts, separated by commas"),
        ("65,99999999999999999", "must be ids of accounts, separated by commas"),
        ("", "must be ids of accounts, separated by commas"),
    ],
)
def test_a_stream_watches_at_most_500_accounts(anna: Person, listen: Listen, watched: str, rule: str) -> None:
    problem = problem_of(listen(anna, watch=watched), 422, "invalid")
    assert problem["errors"] == [{"field": "watch", "rule": rule}]
    assert len(watched) < 8_000, "a request has room for it"


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
    watching = begun(listen(anna, signals="typing", watch=watch(ben)))
    other = Other(falcon, folder)
    rooms = base64.b64encode(room.room_id.to_bytes(8, "little")).decode()

    def tells(put: list[Any], dropped: list[int]) -> None:
        part = ["h", slot_of(ben.account_id), False, put, dropped]
        other.says({"type": "parts", "process": "another", "parts": [part]})

    tells([[ben.account_id, rooms]], [])
    assert told(watching.next()) == presence(ben, online=True)
    other.says({"type": "types", "room_id": room.room_id, "account_id": ben.account_id})
    assert watching.next().name == "typing"
    other.says({"type": "nonsense"})
    tells([], [ben.account_id])
    assert told(watching.next()) == presence(ben, online=False)
    other.says({"type": "alive", "process": "another", "keeps": True})
    assert other.hears("again")["process"].startswith(f"{os.getpid()}-")
    other.says({"type": "again", "process": "another", "places": [["w", slot_of(ben.account_id)]]})
    assert other.hears("parts")["parts"]
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


# --- what is not as it should be --------------------------------------------------------------------------------------


def test_what_is_no_signal_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    here = Network("here")["here"].signals
    here._receive(b"nonsense")
    assert "a signal is not as Falcon's are" in caplog.text


def test_a_signal_of_an_unknown_type_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    network = Network("here")
    network["here"].signals._receive(b'{"type": "of a later version", "process": "later"}')
    network.passes(10)
    assert list(network["here"].signals._presence.processes) == ["here"]
    assert caplog.text == ""


def test_signals_go_on_behind_a_fault_of_ours(
    start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signals, "_TURN_SECONDS", 0.01)
    falcon = start()
    with monkeypatch.context() as broken:
        broken.setattr(Presence, "pass_time", None)
        soon(falcon, lambda: "signals met a fault of ours" in caplog.text)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    anna.makes_room("Tea", ben)
    begun(listen(ben))
    assert told(begun(listen(anna, watch=watch(ben))).next()) == presence(ben, online=True)
