"""Streams of open rooms: an account that has not joined names them in ``rooms``."""

import pytest

from tests.streams.reader import Event, Listen, Transport, problem_of
from tests.support.http import Falcon, Person, Room


@pytest.fixture
def tea(anna: Person) -> Room:
    """An open room in which Anna is alone."""
    room = anna.makes_room("Tea kitchen")
    anna.send("PATCH", str(room), {"open": True})
    anna.says(room, "Tea?")
    return room


def shown(event: Event) -> tuple[str, object]:
    return event.name, event.data.get("text", event.data.get("role"))


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_an_open_room_is_heard_before_it_is_joined(
    anna: Person, cleo: Person, tea: Room, listen: Listen, transport: Transport
) -> None:
    stream = listen(cleo, rooms=str(tea.room_id), transport=transport)
    (room,) = stream.next("hello").data["rooms"]
    assert (room["role"], room["unread"], room["last_seq"], room["open"]) == (None, 0, 1, True)
    anna.says(tea, "Or coffee?")
    anna.send("PATCH", str(tea), {"name": "Coffee kitchen"})
    cleo.put(f"{tea}/members/{cleo.account_id}", {"role": "member"})
    anna.send("PATCH", str(tea), {"name": "Tea kitchen"})
    assert [shown(stream.next()) for _ in range(4)] == [
        ("message.posted", "Or coffee?"),
        ("room.changed", None),
        ("member.joined", "member"),
        ("room.changed", "member"),
    ]


def test_an_open_room_is_not_heard_by_all_who_may_read_it(
    anna: Person, cleo: Person, tea: Room, listen: Listen
) -> None:
    stream = listen(cleo)
    assert stream.next().data["rooms"] == []
    anna.says(tea, "Or coffee?")
    own = cleo.makes_room("Own")
    cleo.says(own, "Hi")
    assert [stream.next().name for _ in range(2)] == ["room.created", "message.posted"]
    assert stream.events[-1].data["text"] == "Hi"


def test_a_room_that_is_closed_is_heard_no_more(anna: Person, cleo: Person, tea: Room, listen: Listen) -> None:
    own = cleo.makes_room("Own")
    stream = listen(cleo, rooms=f"{tea.room_id},{own.room_id}")
    stream.next("hello")
    anna.send("PATCH", str(tea), {"open": False})
    anna.says(tea, "We are alone")
    cleo.says(own, "Hi")
    assert [shown(stream.next()) for _ in range(2)] == [("room.changed", None), ("message.posted", "Hi")]
    assert stream.events[1].data["open"] is False


def test_who_leaves_an_open_room_hears_no_more_of_it(anna: Person, cleo: Person, tea: Room, listen: Listen) -> None:
    cleo.put(f"{tea}/members/{cleo.account_id}", {"role": "member"})
    own = cleo.makes_room("Own")
    stream = listen(cleo, rooms=f"{tea.room_id},{own.room_id}")
    stream.next("hello")
    cleo.delete(f"{tea}/members/{cleo.account_id}")
    anna.says(tea, "Gone?")
    cleo.says(own, "Hi")
    assert [shown(stream.next()) for _ in range(2)] == [("member.left", "member"), ("message.posted", "Hi")]


def test_an_open_room_is_replayed(anna: Person, cleo: Person, tea: Room, listen: Listen) -> None:
    hello = listen(cleo, rooms=str(tea.room_id)).next()
    anna.says(tea, "Or coffee?")
    anna.send("PATCH", str(tea), {"name": "Coffee kitchen"})
    stream = listen(cleo, rooms=str(tea.room_id), resume=hello.id)
    assert [shown(stream.next()) for _ in range(2)] == [("message.posted", "Or coffee?"), ("room.changed", None)]
    assert stream.next().name == "caught_up"
    anna.says(tea, "Yes")
    assert stream.next().data["text"] == "Yes"


def test_a_replay_goes_through_joining_and_leaving_as_a_stream_does(
    anna: Person, cleo: Person, tea: Room, listen: Listen
) -> None:
    hello = listen(cleo, rooms=str(tea.room_id)).next()
    cleo.put(f"{tea}/members/{cleo.account_id}", {"role": "member"})
    anna.says(tea, "Welcome")
    stream = listen(cleo, rooms=str(tea.room_id), resume=hello.id)
    assert [stream.next().name for _ in range(3)] == ["member.joined", "message.posted", "caught_up"]


@pytest.mark.parametrize("gone", ["closed", "left"])
def test_one_who_may_read_a_room_again_is_told_to_catch_up(
    anna: Person, cleo: Person, tea: Room, listen: Listen, gone: str
) -> None:
    """A live stream would have ended there, and a replay that went on would show what no stream has shown."""
    if gone == "left":
        cleo.put(f"{tea}/members/{cleo.account_id}", {"role": "member"})
    hello = listen(cleo, rooms=str(tea.room_id)).next()
    if gone == "left":
        cleo.delete(f"{tea}/members/{cleo.account_id}")
    else:
        anna.send("PATCH", str(tea), {"open": False})
        anna.send("PATCH", str(tea), {"open": True})
    anna.says(tea, "Still here?")
    stream = listen(cleo, rooms=str(tea.room_id), resume=hello.id)
    caught = stream.next()
    assert (caught.name, caught.data) == ("catch_up", {"rooms": [{"room_id": tea.room_id, "last_seq": 2}]})
    anna.says(tea, "Yes")
    assert stream.next().data["text"] == "Yes"


def test_a_room_that_is_not_open_is_not_found(anna: Person, cleo: Person, tea: Room, listen: Listen) -> None:
    hello = listen(cleo, rooms=str(tea.room_id)).next()
    anna.send("PATCH", str(tea), {"open": False})
    problem_of(listen(cleo, rooms=str(tea.room_id)), 404, "room_not_found")
    problem_of(listen(cleo, rooms=str(tea.room_id), resume=hello.id), 404, "room_not_found")


def test_a_ticket_opens_a_stream_of_an_open_room(falcon: Falcon, cleo: Person, tea: Room, listen: Listen) -> None:
    ticket = cleo.post("/v1/stream/tickets").json()["ticket"]
    stream = listen.bare(falcon, {}, ticket=ticket, rooms=str(tea.room_id))
    assert [each["room_id"] for each in stream.next("hello").data["rooms"]] == [tea.room_id]


def test_a_direct_room_is_shown_with_the_other_account(anna: Person, ben: Person, listen: Listen) -> None:
    dora = anna.falcon.account("Dora")
    stream = listen(dora)
    stream.next("hello")
    anna.direct_with(dora)
    created = stream.next("room.created").data
    assert (created["name"], created["peer_id"], created["open"]) == (anna.name, anna.account_id, False)
