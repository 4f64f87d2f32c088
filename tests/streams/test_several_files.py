"""A Falcon with several database files is the same to its clients as one with a single file. A copy with another number
of files keeps all but the places in streams and exports."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from falcon.adapters.sqlite import files
from falcon.read.catalogue import READ_MODELS
from falcon.run.bootstrap import FirstAccounts, embedded
from falcon.run.settings import Settings
from tests.http.test_backup import merged
from tests.streams.reader import Event, Listen
from tests.support.http import Falcon, Person, Room

ROOMS = 12


class Known(NamedTuple):
    """A person, whichever Falcon serves."""

    account_id: int
    name: str
    token: str

    def at(self, falcon: Falcon) -> Person:
        return Person(falcon, self.account_id, self.name, self.token)


def known(person: Person) -> Known:
    return Known(person.account_id, person.name, person.token)


@contextmanager
def served(folder: Path, count: int) -> Iterator[tuple[Falcon, Listen]]:
    """By so many files."""
    with Falcon(folder, processes=count) as falcon:
        assert len(files.present(falcon.settings.database)) == count
        listen = Listen()
        yield falcon, listen
        listen.close()


def told(events: list[Event]) -> list[tuple[str, int, Any]]:
    """Of each event its name, its room, and the message or the member."""
    return [(e.name, e.data["room_id"], e.data.get("seq", e.data.get("account_id"))) for e in events]


def of_room(events: list[tuple[str, int, Any]], room_id: int) -> list[tuple[str, int, Any]]:
    return [event for event in events if event[1] == room_id]


def with_files(folder: Path, count: int) -> None:
    """Put a copy with so many files in the place of the folder."""
    copy = folder.with_name(f"{folder.name}-{count}")
    embedded.copy(Settings(data_dir=folder), copy, processes=count)
    shutil.rmtree(folder)
    copy.rename(folder)


@pytest.mark.parametrize("counts", [(1, 2), (3, 1), (2, 3)])
def test_a_stream_begins_again_on_a_copy_with_another_number_of_files_and_resumes_there(
    tmp_path: Path, counts: tuple[int, int]
) -> None:
    folder = tmp_path / "data"
    with served(folder, counts[0]) as (falcon, listen):
        anna, ben = known(falcon.account("Anna")), known(falcon.account("Ben"))
        rooms = [anna.at(falcon).makes_room(f"Room {number}", ben.at(falcon)).room_id for number in range(ROOMS)]
        last = listen(ben.at(falcon)).next("hello").id
        missed = _chatter(falcon, anna, ben, rooms)
    with_files(folder, counts[1])
    with served(folder, counts[1]) as (falcon, listen):
        refused = ben.at(falcon).get("/v1/stream", params={"resume": last})
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed")
        last = listen(ben.at(falcon)).next("hello").id
        missed = _chatter(falcon, anna, ben, rooms)
        replayed = told(listen(ben.at(falcon), resume=last).until("caught_up"))
        assert len(replayed) == len(missed)
        for room_id in rooms:
            assert of_room(replayed, room_id) == of_room(missed, room_id)


def _chatter(falcon: Falcon, anna: Known, ben: Known, rooms: list[int]) -> list[tuple[str, int, Any]]:
    """Anna says something in each room, makes one more with Ben, and takes a message back. Gives what Ben is to
    hear."""
    author, heard = anna.at(falcon), list[tuple[str, int, Any]]()
    for room_id in rooms:
        heard.append(("message.posted", room_id, author.says(Room(falcon, room_id), "Tea?")))
    made = author.makes_room("Another", ben.at(falcon))
    rooms.append(made.room_id)
    heard.append(("room.created", made.room_id, None))
    heard += [("message.posted", made.room_id, author.says(made, "Welcome")) for _ in range(2)]
    assert author.delete(f"{made}/messages/1").status_code == 204
    heard.append(("message.deleted", made.room_id, 1))
    return heard


# --- what clients keep ------------------------------------------------------------------------------------------------


def test_a_retry_gets_the_answer_that_another_number_of_files_gave(tmp_path: Path) -> None:
    answers: dict[int, bytes] = {}
    positions: list[str] = []
    folder = tmp_path / "data"
    for count in (1, 2, 1):
        if answers:
            with_files(folder, count)
        with served(folder, count) as (falcon, _):
            if not answers:
                anna = known(falcon.account("Anna"))
                rooms = [anna.at(falcon).makes_room(f"Room {number}").room_id for number in range(8)]
            for room_id in rooms:
                sent = anna.at(falcon).post(f"/v1/rooms/{room_id}/messages", {"text": "Tea?"}, key=f"key-{room_id}")
                assert answers.setdefault(room_id, sent.content) == sent.content
                positions.append(sent.headers["falcon-position"])
            for room_id, position in zip(rooms * 3, positions, strict=False):
                read = anna.at(falcon).get(f"/v1/rooms/{room_id}/messages", position=position, wait="0")
                assert [message["seq"] for message in read.json()["messages"]] == [1]


def test_an_export_that_was_broken_off_begins_again_on_a_copy(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with served(folder, 1) as (falcon, _):
        anna, ben = known(falcon.account("Anna")), known(falcon.account("Ben"))
        rooms = [anna.at(falcon).makes_room(f"Room {number}", ben.at(falcon)).room_id for number in range(6)]
        _chatter(falcon, anna, ben, rooms)
        since = msgspec.json.decode(falcon.admin.get("/v1/export").content.splitlines()[0])["position"]
    with_files(folder, 2)
    with served(folder, 2) as (falcon, _):
        _chatter(falcon, anna, ben, rooms)
        refused = falcon.admin.get("/v1/export", params={"resume": f"room:{rooms[0]}", "since": since})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "since")
        lines = merged(falcon.admin.get("/v1/export").content)
        assert len([line for line in lines if line["type"] == "room"]) == len(rooms)


# --- queries ----------------------------------------------------------------------------------------------------------


def test_every_list_is_the_same_from_any_number_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with served(folder, 1) as (falcon, _):
        anna = falcon.account("Anna")
        people = [falcon.account(f"Person {number}") for number in range(9)]
        rooms = [anna.makes_room(f"Room {number}", *people[: number % 9]) for number in range(30)]
        rooms += [anna.direct_with(person) for person in people]
        for number, room in enumerate(rooms):
            for _ in range(number % 4):
                anna.says(room, "Tea?", mentions=[])
        person, admin = known(anna), known(falcon.admin)
        before = _all_lists(falcon, person, admin, rooms)
    for count in (2, 5, 1):
        with_files(folder, count)
        with served(folder, count) as (falcon, _):
            assert _all_lists(falcon, person, admin, rooms) == before


def _all_lists(falcon: Falcon, person: Known, admin: Known, rooms: list[Room]) -> list[Any]:
    anna = person.at(falcon)
    found: list[Any] = [anna.walks("/v1/rooms", "rooms", limit) for limit in (1, 7, 200)]
    for room in rooms:
        found += [anna.get(str(room)).json(), anna.reads(room), anna.walks(f"{room}/members", "members", 2)]
    export = admin.at(falcon).get("/v1/export")
    lines = [msgspec.json.decode(line) for line in export.text.splitlines()]
    assert lines[-1]["type"] == "end"
    found.append(
        [{**line, "position": None, "source": None} for line in lines if line["type"] not in ("changes", "end")]
    )
    return found


def test_the_page_caches_of_several_files_take_as_much_as_that_of_one(tmp_path: Path) -> None:
    def kibibytes(count: int) -> int:
        settings = Settings(data_dir=tmp_path / f"{count}", processes=count)
        embedded.prepare(settings)
        readers = embedded.open_readers(settings)
        assert len(readers) == count
        return -sum(int(reader.pragma("cache_size")) for reader in readers)

    assert kibibytes(1) == kibibytes(4) == 4 << 10


# --- upkeep -----------------------------------------------------------------------------------------------------------


def test_two_files_are_rebuilt_copied_and_given_a_token_as_one_is(tmp_path: Path) -> None:
    folder, copy = tmp_path / "data", tmp_path / "copy"
    with served(folder, 2) as (falcon, _):
        anna = falcon.account("Anna")
        rooms = [anna.makes_room(f"Room {number}") for number in range(6)]
        for room in rooms:
            anna.says(room, "Tea?")
        pages = [anna.reads(room) for room in rooms]
        progress: list[tuple[int, int]] = []
        events = {
            embedded.rebuild(Settings(data_dir=folder), name, lambda done, total: progress.append((done, total)))
            for name in READ_MODELS
        }
        assert len(events) == 1
        assert progress[-1] == (*events, *events)
        assert all(done <= total for done, total in progress)
        assert [anna.reads(room) for room in rooms] == pages
        embedded.copy(Settings(data_dir=folder), copy)
        person = known(anna)
    assert {path.name for path in copy.iterdir()} == {
        "falcon.db",
        "falcon-1.db",
        "search.db",
        "secret",
        "credentials.json",
    }
    token = asyncio.run(embedded.issue_token(Settings(data_dir=copy), person.account_id))
    with served(copy, 2) as (falcon, _):
        anna = person._replace(token=token).at(falcon)
        assert [anna.reads(room) for room in rooms] == pages
        assert msgspec.json.decode((copy / "credentials.json").read_bytes(), type=FirstAccounts)
