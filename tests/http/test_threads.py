"""Threads: a room that belongs to a message, for the members of that message's room."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from falcon.domain.limits import MENTIONS_MAX
from falcon.streams.room_lists import FEW
from tests.http.test_backup import restored
from tests.http.test_transfer import exported
from tests.support.http import Falcon, Json, Person, Room, problem, seqs, texts


def thread_of(person: Person, room: Room, seq: int = 1) -> Room:
    """The thread of a message, which is started if it has none."""
    answer = person.put(f"{room}/messages/{seq}/thread")
    assert answer.status_code in (200, 201), answer.text
    return Room(person.falcon, answer.json()["room_id"])


def threads(person: Person, **query: Any) -> list[Json]:
    answer = person.get("/v1/threads", params=query)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["threads"]
    return found


def followed(person: Person) -> list[int]:
    return [each["room_id"] for each in threads(person)]


@pytest.fixture
def asked(anna: Person, room: Room) -> Room:
    """A room of Anna and Ben in which Anna has asked something."""
    anna.says(room, "Tea?")
    return room


def test_a_message_has_one_thread_for_ever(anna: Person, ben: Person, asked: Room) -> None:
    started = ben.put(f"{asked}/messages/1/thread")
    assert (started.status_code, started.headers["falcon-position"] > "") == (201, True)
    body = started.json()
    assert body == {
        "room_id": body["room_id"],
        "kind": "thread",
        "name": "",
        "description": "",
        "role": "member",
        "last_seq": 0,
        "created_at": body["created_at"],
        "peer_id": None,
        "open": False,
        "default": False,
        "parent": {"room_id": asked.room_id, "seq": 1},
        "follows": False,
    }
    again = anna.put(f"{asked}/messages/1/thread")
    assert (again.status_code, again.json()) == (200, {**body, "role": "admin", "follows": True})
    thread = Room(anna.falcon, body["room_id"])
    assert ben.get(str(thread)).json() == body
    assert ben.put(f"{asked}/messages/1/thread", key="once").json() == body
    retried = ben.put(f"{asked}/messages/1/thread", key="once")
    assert (retried.status_code, retried.headers["idempotency-replayed"]) == (200, "true")


def test_a_thread_is_written_and_read_as_a_room(anna: Person, ben: Person, asked: Room) -> None:
    thread = thread_of(ben, asked)
    assert [ben.says(thread, "Green"), anna.says(thread, "Black", reply_to=1, mentions=[ben.account_id])] == [1, 2]
    assert texts(anna.reads(thread)) == ["Green", "Black"]
    assert ben.put(f"{thread}/messages/2/reactions/👍").status_code == 200
    assert ben.put(f"{thread}/pins/1").status_code == 200
    assert anna.patch(f"{thread}/messages/2", {"text": "Black, with milk"}).status_code == 200
    assert anna.delete(f"{thread}/messages/1").status_code == 204  # an admin of the room
    shown = ben.reads(thread)["messages"]
    assert [(each["text"], each["deleted"], each["thread"]) for each in shown] == [
        ("", True, None),
        ("Black, with milk", False, None),
    ]
    assert shown[1]["reactions"] == [{"emoji": "👍", "count": 1, "accounts": [ben.account_id]}]
    assert ben.marks_read(thread, 2) == {"room_id": thread.room_id, "read_seq": 2, "unread": 0, "mentions": 0}
    assert ben.post(f"{thread}/typing").status_code == 204
    members = {each["account_id"]: each["read_seq"] for each in ben.get(f"{thread}/members").json()["members"]}
    assert members == {anna.account_id: 0, ben.account_id: 2}
    assert thread.room_id not in [each["room_id"] for person in (anna, ben) for each in person.rooms()]


def test_a_message_shows_its_thread_to_all_in_the_same_bytes(anna: Person, ben: Person, asked: Room) -> None:
    ben.says(asked, "Cake?")
    assert [each["thread"] for each in anna.reads(asked)["messages"]] == [None, None]
    thread = thread_of(ben, asked)
    empty: Json = {"room_id": thread.room_id, "last_seq": 0, "last_at": None, "participants": []}
    assert anna.message(asked, 1)["thread"] == empty
    before = anna.get(f"{asked}/messages")
    anna.says(thread, "Green")
    ben.says(thread, "Black")
    anna.says(thread, "Both")
    page = anna.get(f"{asked}/messages", headers={"If-None-Match": before.headers["etag"]})
    assert (before.json()["messages"][0]["thread"], page.status_code) == (empty, 200)
    shown = page.json()["messages"]
    last_at = anna.message(thread, 3)["posted_at"]
    participants = [anna.account_id, ben.account_id]
    assert shown[0]["thread"] == {
        "room_id": thread.room_id,
        "last_seq": 3,
        "last_at": last_at,
        "participants": participants,
    }
    assert shown[1]["thread"] is None
    assert ben.get(f"{asked}/messages").content == page.content
    assert ben.get(f"{asked}/messages", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
    one = anna.get(f"{asked}/messages/1")
    assert one.json() == shown[0]
    assert ben.get(f"{asked}/messages/1", headers={"If-None-Match": one.headers["etag"]}).status_code == 304
    ben.says(thread, "Or none")
    assert ben.get(f"{asked}/messages/1", headers={"If-None-Match": one.headers["etag"]}).status_code == 200
    assert "thread" not in anna.summary(asked)["last_message"]
    anna.put(f"{asked}/pins/1")
    assert anna.get(f"{asked}/pins").json()["pins"][0]["message"] == anna.message(asked, 1)


def test_a_thread_goes_on_when_its_message_is_deleted(anna: Person, ben: Person, asked: Room) -> None:
    thread = thread_of(ben, asked)
    anna.delete(f"{asked}/messages/1")
    problem(ben.put(f"{asked}/messages/1/thread"), 409, "message_deleted", "seq")
    assert ben.says(thread, "Still here") == 1
    shown = anna.message(asked, 1)
    assert (shown["deleted"], shown["thread"]["last_seq"]) == (True, 1)
    assert threads(anna)[0]["root"]["deleted"]


def test_only_a_member_who_may_write_starts_a_thread_of_a_message_that_is_there(
    anna: Person, ben: Person, falcon: Falcon
) -> None:
    reader, stranger = falcon.account("Reader"), falcon.account("Stranger")
    room = anna.makes_room("Readers", ben, readonly=reader)
    anna.says(room, "Tea?")
    problem(reader.put(f"{room}/messages/1/thread"), 403, "read_only")
    problem(stranger.put(f"{room}/messages/1/thread"), 404, "room_not_found")
    problem(anna.put(f"{room}/messages/2/thread"), 404, "message_not_found")
    thread = thread_of(anna, room)
    ben.says(thread, "Green")
    problem(ben.put(f"{thread}/messages/1/thread"), 422, "invalid", "seq")
    problem(stranger.put(f"{thread}/messages/1/thread"), 404, "room_not_found")
    # A reader reads and follows, and does not write.
    assert texts(reader.reads(thread)) == ["Green"]
    problem(reader.post(f"{thread}/messages", {"text": "No"}), 403, "read_only")
    assert reader.put(f"{thread}/follow").status_code == 204
    assert reader.get(str(thread)).json()["role"] == "readonly"
    assert threads(reader)[0]["role"] == "readonly"


ASKS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("GET", "/messages", None),
    ("GET", "/messages/1", None),
    ("GET", "/messages/1/reactions", None),
    ("GET", "/members", None),
    ("GET", "/pins", None),
    ("GET", "/authors?ids=1", None),
    ("POST", "/messages", {"text": "Hello"}),
    ("PATCH", "/messages/1", {"text": "Hello"}),
    ("DELETE", "/messages/1", None),
    ("PUT", "/messages/1/reactions/👍", None),
    ("PUT", "/messages/1/thread", None),
    ("PUT", "/pins/1", None),
    ("PUT", "/read", {"seq": 1}),
    ("POST", "/typing", None),
    ("PUT", "/follow", None),
    ("DELETE", "/follow", None),
    ("PATCH", "", {"name": "Mine"}),
    ("DELETE", "", None),
    ("DELETE", "/members/1", None),
]


@pytest.mark.parametrize("leaves", [False, True], ids=["never was a member", "has left and followed"])
def test_one_who_is_no_member_of_the_room_learns_nothing_of_its_threads(
    anna: Person, falcon: Falcon, leaves: bool
) -> None:
    other = falcon.account("Other")
    room = anna.makes_room("Ours", *([other] if leaves else []))
    anna.says(room, "Tea?")
    thread = thread_of(anna, room)
    anna.says(thread, "Green")
    if leaves:
        other.says(thread, "Black")
        assert followed(other) == [thread.room_id]
        assert other.delete(f"{room}/members/{other.account_id}").status_code == 204
        anna.says(thread, "Not for others")
    for method, path, body in ASKS:
        problem(other.send(method, f"{thread}{path}", body), 404, "room_not_found")
    assert threads(other) == threads(other, unread=True) == [] and other.rooms() == []
    hidden = other.get("/v1/accounts/search", params={"q": "Anna", "room": thread.room_id})
    problem(hidden, 404, "room_not_found")


def test_one_who_comes_back_follows_what_it_followed(anna: Person, ben: Person, asked: Room) -> None:
    """Meanwhile it is not listed."""
    thread = thread_of(anna, asked)
    ben.says(thread, "Green")

    def members() -> dict[str, str]:
        return {each["name"]: each["role"] for each in anna.get(f"{thread}/members").json()["members"]}

    assert members() == {"Anna": "admin", "Ben": "member"}
    ben.delete(f"{asked}/members/{ben.account_id}")
    anna.says(thread, "Meanwhile")
    assert members() == {"Anna": "admin"}
    anna.put(f"{asked}/members/{ben.account_id}", {"role": "member"})
    assert members() == {"Anna": "admin", "Ben": "member"}
    assert followed(ben) == [thread.room_id] and texts(ben.reads(thread)) == ["Green", "Meanwhile"]


def test_an_open_room_shows_its_threads_to_all_but_guests(anna: Person, falcon: Falcon) -> None:
    visitor = falcon.account("Visitor")
    room = anna.makes_room("Open")
    anna.patch(str(room), {"open": True})
    anna.says(room, "Tea?")
    thread = thread_of(anna, room)
    anna.says(thread, "Green")
    assert texts(visitor.reads(thread)) == ["Green"]
    shown = visitor.get(str(thread)).json()
    assert (shown["role"], shown["follows"]) == (None, False)
    problem(visitor.post(f"{thread}/messages", {"text": "Hello"}), 403, "not_allowed")
    problem(visitor.put(f"{thread}/follow"), 403, "not_allowed")
    visitor.put(f"{room}/members/{visitor.account_id}", {"role": "member"})
    assert visitor.says(thread, "Hello") == 2


def test_the_threads_of_a_room_go_with_it(anna: Person, ben: Person, asked: Room) -> None:
    thread = thread_of(anna, asked)
    ben.says(thread, "Green")
    anna.delete(str(asked))
    for person in (anna, ben):
        problem(person.get(f"{thread}/messages"), 404, "room_not_found")
        problem(person.post(f"{thread}/messages", {"text": "Hello?"}), 404, "room_not_found")
        assert threads(person) == []


def test_the_name_and_the_members_of_a_thread_are_those_of_its_room(anna: Person, ben: Person, asked: Room) -> None:
    thread = thread_of(anna, asked)
    problem(anna.patch(str(thread), {"name": "Mine"}), 403, "not_allowed")
    problem(anna.delete(str(thread)), 403, "not_allowed")
    problem(anna.put(f"{thread}/members/{ben.account_id}", {"role": "admin"}), 403, "not_allowed")
    problem(anna.delete(f"{thread}/members/{anna.account_id}"), 403, "not_allowed")
    problem(anna.put(f"{asked}/follow"), 422, "invalid", "room_id")


# --- following --------------------------------------------------------------------------------------------------------


def test_the_author_and_those_who_write_or_are_mentioned_follow(anna: Person, ben: Person, falcon: Falcon) -> None:
    carl, dora = falcon.account("Carl"), falcon.account("Dora")
    room = anna.makes_room("Kitchen", ben, carl, dora)
    anna.says(room, "Tea?")
    thread = thread_of(dora, room)
    assert [followed(each) for each in (anna, ben, carl, dora)] == [[thread.room_id], [], [], []]
    ben.says(thread, "Green", mentions=[carl.account_id])
    assert [followed(each) for each in (ben, carl, dora)] == [[thread.room_id], [thread.room_id], []]
    (listed,) = threads(carl, unread=True)
    assert (listed["unread"], listed["mentions"], listed["read_seq"]) == (1, 1, 0)
    assert threads(ben, unread=True) == []  # it has read what it has written
    assert (threads(ben)[0]["read_seq"], ben.get(str(thread)).json()["follows"]) == (1, True)
    stranger = falcon.account("Stranger")
    refused = ben.post(f"{thread}/messages", {"text": "@Stranger", "mentions": [stranger.account_id]})
    problem(refused, 422, "invalid", "mentions")


def test_a_new_follower_has_read_what_was_there(anna: Person, ben: Person, asked: Room) -> None:
    thread = thread_of(anna, asked)
    for text in ("One", "Two"):
        anna.says(thread, text)
    assert ben.put(f"{thread}/follow").status_code == ben.put(f"{thread}/follow").status_code == 204
    assert threads(ben, unread=True) == []
    anna.says(thread, "Three")
    assert [each["unread"] for each in threads(ben, unread=True)] == [1]
    ben.marks_read(thread, 3)
    assert threads(ben, unread=True) == []
    assert ben.marks_read(thread, 1, force=True)["unread"] == 2


def test_an_account_that_does_not_follow_has_no_read_mark(anna: Person, ben: Person, asked: Room) -> None:
    thread = thread_of(anna, asked)
    anna.says(thread, "One")
    for mark in ({"seq": 0, "force": True}, {"seq": 1}):
        moved = ben.put(f"{thread}/read", mark)
        assert moved.json() == {"room_id": thread.room_id, "read_seq": 1, "unread": 0, "mentions": 0}
    assert followed(ben) == []


def test_an_unfollow_holds_until_the_account_is_mentioned(anna: Person, ben: Person, asked: Room) -> None:
    thread = thread_of(anna, asked)
    ben.says(thread, "Green")
    assert ben.delete(f"{thread}/follow").status_code == ben.delete(f"{thread}/follow").status_code == 204
    ben.says(thread, "Still I write")
    assert followed(ben) == [] and not ben.get(str(thread)).json()["follows"]
    said = anna.says(thread, "Ben?")
    anna.patch(f"{thread}/messages/{said}", {"text": "@Ben?", "mentions": [ben.account_id]})
    assert followed(ben) == [thread.room_id]
    ben.delete(f"{thread}/follow")
    ben.put(f"{thread}/follow")
    assert followed(ben) == [thread.room_id]


@pytest.mark.usefixtures("ticking")
def test_threads_are_listed_by_their_newest_message_with_their_roots(anna: Person, ben: Person, falcon: Falcon) -> None:
    room, other = anna.makes_room("One", ben), anna.direct_with(ben)
    made: list[Room] = []
    for place in (room, other, room):
        seq = ben.says(place, f"Root {len(made)}")
        made.append(thread_of(ben, place, seq))
    anna.says(made[0], "The newest")
    listed = ben.walks("/v1/threads", "threads", 2)
    assert [each["room_id"] for each in listed] == [made[each].room_id for each in (0, 2, 1)]
    assert [each["root"]["text"] for each in listed] == ["Root 0", "Root 2", "Root 1"]
    assert [(each["unread"], each["last_seq"]) for each in listed] == [(1, 1), (0, 0), (0, 0)]
    assert listed[0]["last_message"]["text"] == "The newest" and listed[1]["last_message"] is None
    assert [each["room_id"] for each in threads(ben, unread=True)] == [made[0].room_id]
    problem(ben.get("/v1/threads", params={"cursor": "no"}), 422, "invalid", "cursor")


def test_threads_of_an_account_in_many_rooms_are_listed(anna: Person, ben: Person, asked: Room) -> None:
    """Its lists are kept in memory."""
    thread = thread_of(anna, asked)
    anna.falcon.together(*(anna.request("POST", "/v1/rooms", {"name": f"{number}"}) for number in range(FEW + 1)))
    assert followed(anna) == [thread.room_id]
    ben.says(thread, "Green")
    assert [each["unread"] for each in threads(anna, unread=True)] == [1]
    listed = anna.walks("/v1/rooms", "rooms", 50)
    assert thread.room_id not in [each["room_id"] for each in listed] and len(listed) == FEW + 2


def test_threads_are_no_rooms_of_an_account(tmp_path: Any) -> None:
    with Falcon(tmp_path, limits="on", account_rooms=1) as falcon:
        ben = falcon.account("Ben")
        room = ben.makes_room("The only one")
        for seq in range(1, 4):
            ben.says(room, "Tea?")
            thread_of(ben, room, seq)
        problem(ben.post("/v1/rooms", {"name": "Another"}), 429, "rate_limited")
        assert len(threads(ben)) == 3 and len(ben.rooms()) == 1


# --- also in the room -------------------------------------------------------------------------------------------------


def test_a_message_may_be_posted_in_the_room_too(anna: Person, ben: Person, asked: Room) -> None:
    thread = thread_of(anna, asked)
    message = {"text": "Green", "also_in_room": True, "mentions": [anna.account_id]}
    for key in ("a", "b"):
        posted, retried = (ben.post(f"{thread}/messages", message, key=key) for _ in range(2))
        assert posted.status_code == 201 and posted.json() == retried.json()
        in_room = posted.json()["in_room"]
        line = ben.message(asked, in_room)
        assert (line["text"], line["reply_to"], line["mentions"]) == ("Green", 1, [anna.account_id])
    assert seqs(ben.reads(asked)) == [1, 2, 3] and seqs(ben.reads(thread)) == [1, 2]
    assert "in_room" not in ben.post(f"{thread}/messages", {"text": "Here only"}).json()
    refused = ben.post(f"{asked}/messages", {"text": "No thread", "also_in_room": True})
    problem(refused, 422, "invalid", "also_in_room")


# --- exports and imports ----------------------------------------------------------------------------------------------


def test_all_of_a_large_room_are_mentioned_and_follow_also_after_an_import(tmp_path: Path) -> None:
    """Accounts and rooms lie in the files of two processes."""
    with Falcon(tmp_path / "old", processes=2) as old:
        anna, *people = (old.account(f"Person {number}") for number in range(MENTIONS_MAX + 1))
        ids = [each.account_id for each in people]
        room = anna.makes_room("Department", *people)
        refused = anna.post(f"{room}/messages", {"text": "@all", "mentions": [*ids, anna.account_id]})
        problem(refused, 422, "invalid", "mentions")
        anna.says(room, "Tea, @all?", mentions=ids)
        anna.says(thread_of(anna, room), "Green, @all?", mentions=ids)
        last = people[-1]
        backup = old.admin.get("/v1/export").content
        everybody = _told(last, room)
    assert everybody == (1, 1, MENTIONS_MAX + 1)
    with Falcon(tmp_path / "new") as new:
        known = restored(backup, new)
        account_id = known.accounts[str(last.account_id)]
        token = new.admin.post(f"/v1/accounts/{account_id}/tokens").json()["token"]
        there = Room(new, known.rooms[str(room.room_id)])
        assert _told(Person(new, account_id, last.name, token), there) == everybody


def _told(person: Person, room: Room) -> tuple[int, int, int]:
    """Unread mentions in the room and in its thread, and how many follow that."""
    (thread,) = threads(person)
    followers = person.walks(f"/v1/rooms/{thread['room_id']}/members", "members", 200)
    return person.summary(room)["mentions"], thread["mentions"], len(followers)


def test_threads_are_exported_and_imported_with_followers_and_messages(tmp_path: Path) -> None:
    """One that was started, and one that was followed, while the export was written."""
    with Falcon(tmp_path / "old") as old:
        anna, ben = old.account("Anna"), old.account("Ben")
        room, gone = anna.makes_room("Kitchen", ben), anna.makes_room("Gone", ben)
        for place in (room, gone):
            anna.says(place, "Tea?")
            ben.says(place, "Cake?")
        thread = thread_of(ben, room)
        ben.says(thread, "Green")
        anna.says(thread_of(ben, gone), "Nobody reads this")
        before = old.admin.get("/v1/export").content
        position = msgspec.json.decode(before.partition(b"\n")[0])["position"]
        later = thread_of(ben, room, 2)
        anna.says(later, "Plum")
        ben.delete(f"{thread}/follow")
        anna.delete(str(gone))
        rows = before.partition(b'{"type":"changes"')[0]
        changes = old.admin.get("/v1/export", params={"resume": "changes", "since": position}).content
    with Falcon(tmp_path / "new") as new:
        for _ in range(2):  # the second one changes nothing
            ids = restored(rows + changes, new)
        room_id = ids.rooms[str(room.room_id)]
        # Tokens are not exported.
        who = {person.name: ids.accounts[str(person.account_id)] for person in (anna, ben)}
        token = new.admin.post(f"/v1/accounts/{who['Anna']}/tokens").json()["token"]
        reader = Person(new, who["Anna"], "Anna", token)
        shown = [each["thread"] for each in reader.reads(Room(new, room_id))["messages"]]
        assert [(each["last_seq"], each["participants"]) for each in shown] == [(1, [who["Ben"]]), (1, [who["Anna"]])]
        assert texts(reader.reads(Room(new, shown[0]["room_id"]))) == ["Green"]
        followers = [reader.get(f"/v1/rooms/{each['room_id']}/members").json()["members"] for each in shown]
        assert [{each["name"] for each in members} for members in followers] == [{"Anna"}, {"Anna", "Ben"}]
        assert {line["type"] for line in exported(new)} >= {"thread"}
        assert len(ids.rooms) == 3, "neither the deleted room nor its thread"
