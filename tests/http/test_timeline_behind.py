"""The timeline's table is behind the room's, or has lost a message: pages show what the timeline has, no count promises
more than that, and a lost message is shown as missing."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import apsw
import pytest

from falcon.adapters.sqlite import database
from tests.support.http import Falcon, Json, Person, Room, problem, seqs


class Timeline:
    """The timeline's table. A test may take messages of a room out of it, and put them back."""

    def __init__(self, connection: apsw.Connection, room: Room) -> None:
        self._connection = connection
        self._room_id = room.room_id
        self._taken: list[tuple[int, bytes]] = []

    def lacks(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            place = self._room_id << 32 | seq
            self._taken += self._connection.execute("DELETE FROM timeline WHERE place = ? RETURNING *", (place,))

    def catches_up(self) -> None:
        self._connection.executemany("INSERT INTO timeline VALUES (?, ?)", self._taken)
        self._taken.clear()


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    with Falcon(Path(tmp_path_factory.mktemp("behind"))) as started:
        yield started


@pytest.fixture
def long_room(anna: Person, room: Room) -> Room:
    """Anna's room with 43 messages."""
    for i in range(1, 44):
        anna.says(room, str(i))
    return room


@pytest.fixture
def timeline(falcon: Falcon, long_room: Room) -> Iterator[Timeline]:
    connection = database.connect(falcon.settings.database)
    yield Timeline(connection, long_room)
    connection.close()


@pytest.mark.parametrize(
    ("query", "expected", "has_before", "has_after"),
    [
        ({"limit": 2}, range(40, 42), True, False),
        ({"limit": 1}, range(41, 42), True, False),
        ({"limit": 41}, range(1, 42), False, False),
        ({"limit": 42}, range(1, 42), False, False),
        ({"limit": 200}, range(1, 42), False, False),
        ({"limit": 5, "after": 20}, range(21, 26), True, True),
        (
            {"limit": 5, "after": 36},
            range(37, 42),
            True,
            True,
        ),  # the room's row says so; the next page shows what the timeline has
        ({"limit": 5, "after": 39}, range(40, 42), True, False),
        ({"limit": 5, "after": 41}, range(0), True, False),
        ({"limit": 5, "after": 42}, range(0), True, False),
        ({"limit": 5, "after": 43}, range(0), True, False),
        ({"limit": 5, "before": 44}, range(37, 42), True, False),
        ({"limit": 5, "before": 43}, range(37, 42), True, False),
        ({"limit": 5, "before": 42}, range(37, 42), True, True),
        ({"limit": 5, "before": 41}, range(36, 41), True, True),
        ({"limit": 5, "around": 43}, range(37, 42), True, False),
        ({"limit": 5, "around": 40}, range(37, 42), True, False),
        ({"limit": 5, "around": 30}, range(28, 33), True, True),
    ],
)
def test_a_page_is_taken_from_what_is_there(
    anna: Person, long_room: Room, timeline: Timeline, query: Json, expected: range, has_before: bool, has_after: bool
) -> None:
    timeline.lacks([42, 43])
    page = anna.reads(long_room, **query)
    assert seqs(page) == list(expected)
    assert (page["has_before"], page["has_after"]) == (has_before, has_after)


@pytest.mark.parametrize("there", [1, 10, 24, 25, 26, 40])
def test_a_reader_has_a_full_page_however_far_the_timeline_is_behind(
    anna: Person, long_room: Room, timeline: Timeline, there: int
) -> None:
    timeline.lacks(range(there + 1, 44))
    page = anna.reads(long_room, limit=5)
    assert seqs(page) == list(range(max(1, there - 4), there + 1))
    assert not page["has_after"]


def test_a_room_whose_messages_have_yet_to_come_is_an_empty_one(
    anna: Person, long_room: Room, timeline: Timeline
) -> None:
    timeline.lacks(range(1, 44))
    assert anna.reads(long_room) == {"messages": [], "has_before": False, "has_after": False}
    assert anna.reads(long_room, after=12) == {"messages": [], "has_before": False, "has_after": False}


def test_what_comes_late_is_shown_as_soon_as_it_is_there(anna: Person, long_room: Room, timeline: Timeline) -> None:
    path = f"{long_room}/messages"
    timeline.lacks([42, 43])
    behind = anna.get(path, params={"limit": 5})
    timeline.catches_up()
    tags = {"If-None-Match": behind.headers["etag"]}
    after = anna.get(path, params={"limit": 5}, headers=tags)
    assert (after.status_code, seqs(after.json())) == (200, [39, 40, 41, 42, 43])
    assert anna.get(path, params={"limit": 5}, headers={"If-None-Match": after.headers["etag"]}).status_code == 304


def test_a_room_goes_no_further_than_its_pages(anna: Person, ben: Person, long_room: Room, timeline: Timeline) -> None:
    ben.marks_read(long_room, 43)
    timeline.lacks([42, 43])
    for person, read_seq in ((anna, 41), (ben, 41)):
        line = person.summary(long_room)
        assert (line["last_seq"], line["last_message"]["seq"]) == (41, 41)
        assert (line["read_seq"], line["unread"], line["mentions"]) == (read_seq, 0, 0)
        assert person.get(str(long_room)).json()["last_seq"] == 41
    ben.marks_read(long_room, 30, force=True)
    line = ben.summary(long_room)
    assert (line["read_seq"], line["last_seq"], line["unread"]) == (30, 41, 11)


# --- messages that will never be there --------------------------------------------------------------------------------


def missing(room: Room, seq: int) -> Json:
    return {
        "room_id": room.room_id,
        "seq": seq,
        "author_id": 0,
        "text": "",
        "posted_at": "1970-01-01T00:00:00.000Z",
        "edited_at": None,
        "deleted": True,
        "reply_to": None,
        "mentions": [],
        "missing": True,
        "thread": None,
        "reactions": [],
    }


def test_a_missing_message_does_not_hide_what_follows(anna: Person, long_room: Room, timeline: Timeline) -> None:
    timeline.lacks([7, 8])
    page = anna.reads(long_room, limit=5, after=4)
    assert seqs(page) == [5, 6, 7, 8, 9]
    assert page["messages"][2:4] == [missing(long_room, 7), missing(long_room, 8)]
    assert anna.message(long_room, 7) == missing(long_room, 7)
    walked: list[int] = []
    while not walked or page["has_after"]:
        page = anna.reads(long_room, limit=2, after=walked[-1] if walked else 0)
        walked += seqs(page)
    assert walked == list(range(1, 44))


def test_a_reader_gets_past_however_many_are_missing(anna: Person, long_room: Room, timeline: Timeline) -> None:
    timeline.lacks(range(12, 41))
    page = anna.reads(long_room, after=5, limit=10)
    assert (seqs(page), page["has_after"]) == ([*range(6, 16)], True)
    assert [message.get("missing", False) for message in page["messages"]] == [False] * 6 + [True] * 4
    page = anna.reads(long_room, limit=5)
    assert (seqs(page), page["has_before"], page["has_after"]) == ([39, 40, 41, 42, 43], True, False)


def test_what_is_missing_may_be_brought_back(anna: Person, long_room: Room, timeline: Timeline) -> None:
    """``falcon verify --correct`` restores it. Neither page nor message had an ETag, so no client has cached them."""
    timeline.lacks([7])
    paths = (f"{long_room}/messages?after=4&limit=5", f"{long_room}/messages/7")
    assert all("etag" not in anna.get(path).headers for path in paths)
    timeline.catches_up()
    assert [message["text"] for message in anna.reads(long_room, after=4, limit=5)["messages"]] == list("56789")
    assert anna.message(long_room, 7)["text"] == "7"
    assert all("etag" in anna.get(path).headers for path in paths)


def test_a_missing_message_can_no_more_be_edited_than_a_deleted_one(
    anna: Person, long_room: Room, timeline: Timeline
) -> None:
    timeline.lacks([7])
    problem(anna.patch(f"{long_room}/messages/7", {"text": "Seven"}), 409, "message_deleted")
    timeline.catches_up()
    assert anna.patch(f"{long_room}/messages/7", {"text": "Seven"}).status_code == 200
