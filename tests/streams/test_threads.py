"""Streams and threads: followers get the thread's events, other members of the room get a line about each message, and
one who has left the room gets nothing."""

import pytest

from falcon.http.stream import opening
from tests.streams.reader import Event, Listen, Transport, problem_of
from tests.support.http import Person, Room


@pytest.fixture
def tea(anna: Person, ben: Person, cleo: Person) -> Room:
    """A room of three in which Anna has asked something."""
    room = anna.makes_room("Tea kitchen", ben, cleo)
    anna.says(room, "Tea?")
    return room


@pytest.fixture
def thread(ben: Person, tea: Room) -> Room:
    """Its thread, which Anna and Ben follow."""
    room = Room(ben.falcon, ben.put(f"{tea}/messages/1/thread").json()["room_id"])
    ben.says(room, "Green")
    return room


def shown(event: Event) -> tuple[str, object]:
    return event.name, event.data.get("text", event.data.get("last_seq"))


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_followers_get_the_messages_and_others_of_the_room_a_line_for_each(
    anna: Person, ben: Person, cleo: Person, tea: Room, thread: Room, listen: Listen, transport: Transport
) -> None:
    follower, other = listen(ben, transport=transport), listen(cleo, transport=transport)
    for stream in (follower, other):
        stream.next("hello")
    seq = anna.says(thread, "Black")
    anna.put(f"{thread}/messages/{seq}/reactions/👍")
    anna.patch(f"{thread}/messages/{seq}", {"text": "Black, with milk"})
    ben.marks_read(thread, seq)
    anna.says(tea, "Enough")
    assert [shown(follower.next()) for _ in range(5)] == [
        ("message.posted", "Black"),
        ("reaction.added", None),
        ("message.edited", "Black, with milk"),
        ("read.moved", None),
        ("message.posted", "Enough"),
    ]
    assert {event.data["room_id"] for event in follower.events[1:5]} == {thread.room_id}
    changed = other.next()
    assert (changed.name, changed.data) == (
        "thread.changed",
        {
            "room_id": tea.room_id,
            "seq": 1,
            "thread_id": thread.room_id,
            "last_seq": seq,
            "last_at": anna.message(thread, seq)["posted_at"],
            "account_id": anna.account_id,
        },
    )
    assert shown(other.next()) == ("message.posted", "Enough")


def test_the_room_hears_that_a_thread_starts(ben: Person, cleo: Person, tea: Room, listen: Listen) -> None:
    stream = listen(cleo)
    stream.next("hello")
    made = ben.put(f"{tea}/messages/1/thread").json()["room_id"]
    ben.put(f"{tea}/messages/1/thread")
    ben.says(tea, "Enough")
    started = stream.next()
    assert (started.name, started.data) == ("thread.started", {"room_id": tea.room_id, "seq": 1, "thread_id": made})
    assert stream.next().name == "message.posted"


def test_one_who_comes_to_follow_gets_what_follows(
    anna: Person, cleo: Person, tea: Room, thread: Room, listen: Listen
) -> None:
    before = listen(cleo).next("hello").id
    stream = listen(cleo)
    stream.next("hello")
    anna.says(thread, "Not yet")
    anna.says(thread, "Cleo?", mentions=[cleo.account_id])
    cleo.delete(f"{thread}/follow")
    anna.says(thread, "Not any more")
    cleo.put(f"{thread}/follow")
    anna.says(thread, "Again")
    expected = [
        ("thread.changed", 2),
        ("message.posted", "Cleo?"),
        ("thread.changed", 4),
        ("message.posted", "Again"),
    ]
    assert [shown(stream.next()) for _ in range(4)] == expected
    replay = listen(cleo, resume=before)
    assert [shown(replay.next()) for _ in range(4)] == expected and replay.next().name == "caught_up"
    assert [each.id for each in replay.events[:4]] == [each.id for each in stream.events[1:5]]


def test_one_who_is_removed_gets_nothing_of_the_threads_after_it(
    anna: Person, ben: Person, tea: Room, thread: Room, listen: Listen
) -> None:
    own = ben.makes_room("Own")
    before = listen(ben).next("hello").id
    live = listen(ben)
    live.next("hello")
    anna.says(thread, "Still")
    anna.delete(f"{tea}/members/{ben.account_id}")
    anna.says(thread, "Not for Ben")
    anna.put(f"{thread}/pins/1")
    anna.delete(f"{thread}/messages/1")
    ben.says(own, "Hi")
    expected = [("message.posted", "Still"), ("member.left", None), ("message.posted", "Hi")]
    assert [shown(live.next()) for _ in range(3)] == expected
    middle = live.events[1].id
    replay = listen(ben, resume=before)
    assert [shown(replay.next()) for _ in range(3)] == expected and replay.next().name == "caught_up"
    replay = listen(ben, resume=middle)
    assert [shown(replay.next()) for _ in range(2)] == expected[1:] and replay.next().name == "caught_up"
    hello = listen(ben).next("hello").data
    assert ([each["room_id"] for each in hello["rooms"]], hello["unread_threads"]) == ([own.room_id], 0)


def test_one_who_comes_back_gets_the_threads_that_it_follows_live_and_in_a_replay(
    anna: Person, ben: Person, tea: Room, thread: Room, listen: Listen
) -> None:
    before = listen(ben).next("hello").id
    live = listen(ben)
    live.next("hello")
    anna.delete(f"{tea}/members/{ben.account_id}")
    anna.says(thread, "Not for Ben")
    gone = listen(ben).next("hello").id
    anna.put(f"{tea}/members/{ben.account_id}", {"role": "member"})
    anna.says(thread, "Welcome back")
    expected = [("member.left", None), ("member.joined", None), ("message.posted", "Welcome back")]
    assert [shown(live.next()) for _ in range(3)] == expected
    for token, rest in ((before, expected), (gone, expected[1:])):
        replay = listen(ben, resume=token)
        assert [shown(replay.next()) for _ in rest] == rest and replay.next().name == "caught_up"


def test_hello_counts_threads_with_unread_messages_and_shows_none_among_rooms(
    anna: Person, ben: Person, tea: Room, thread: Room, listen: Listen
) -> None:
    assert listen(ben).next("hello").data["unread_threads"] == 0
    anna.says(thread, "Black")
    hello = listen(ben).next("hello").data
    assert ([each["room_id"] for each in hello["rooms"]], hello["unread_threads"]) == ([tea.room_id], 1)
    assert not hello["truncated"]
    ben.marks_read(thread, 2)
    assert listen(ben).next("hello").data["unread_threads"] == 0


def test_a_stream_of_the_room_covers_its_threads(
    anna: Person, ben: Person, cleo: Person, tea: Room, thread: Room, listen: Listen
) -> None:
    other = ben.makes_room("Other", anna)
    ben.says(other, "Cake?")
    elsewhere = Room(ben.falcon, ben.put(f"{other}/messages/1/thread").json()["room_id"])
    stream = listen(ben, rooms=str(tea.room_id))
    hello = stream.next("hello")
    assert hello.data["unread_threads"] == 0
    anna.says(elsewhere, "Plum")
    anna.says(thread, "Black")
    assert shown(stream.next()) == ("message.posted", "Black")
    replay = listen(ben, rooms=str(tea.room_id), resume=hello.id)
    assert [replay.next().name for _ in range(2)] == ["message.posted", "caught_up"]
    assert listen(ben, rooms=str(tea.room_id)).next("hello").data["unread_threads"] == 1
    cleo_stream = listen(cleo, rooms=str(tea.room_id))
    before = cleo_stream.next("hello").id
    # Cleo does not follow it.
    cleo.put(f"/v1/bookmarks/{thread.room_id}/1", {"note": "Green"})
    for each in (cleo_stream, listen(cleo, rooms=str(tea.room_id), resume=before)):
        event = each.next()
        assert (event.name, event.data["room_id"]) == ("bookmark.set", thread.room_id)
    # A thread has no stream of its own.
    problem_of(listen(ben, rooms=str(thread.room_id)), 404, "room_not_found")


def test_catch_up_lists_followed_threads(
    anna: Person, ben: Person, cleo: Person, tea: Room, thread: Room, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = {person: listen(person).next("hello").id for person in (ben, cleo)}
    anna.says(thread, "Black")
    monkeypatch.setattr(opening, "_REPLAY_BYTES_MAX", 1)
    rooms = {person: listen(person, resume=token).next("catch_up").data["rooms"] for person, token in tokens.items()}
    of_tea, of_thread = {"room_id": tea.room_id, "last_seq": 1}, {"room_id": thread.room_id, "last_seq": 2}
    assert rooms == {ben: [of_tea, of_thread], cleo: [of_tea]}


def test_a_line_in_the_room_comes_after_the_message_of_the_thread(
    anna: Person, ben: Person, tea: Room, thread: Room, listen: Listen
) -> None:
    stream = listen(ben)
    stream.next("hello")
    anna.post(f"{thread}/messages", {"text": "Black", "also_in_room": True})
    posted = [stream.next() for _ in range(2)]
    assert [(each.name, each.data["room_id"], each.data["seq"]) for each in posted] == [
        ("message.posted", thread.room_id, 2),
        ("message.posted", tea.room_id, 2),
    ]
