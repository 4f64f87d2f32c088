"""Finding messages by their words, in the rooms that one may read now."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from falcon.adapters.sqlite.layout import begin_of
from falcon.features.search import api as search_api
from falcon.features.search import index as contents
from falcon.features.search.terms import tokens_of
from falcon.projections import consumer as consuming
from falcon.projections.consumer import ProjectionConsumer
from falcon.run.bootstrap import embedded
from falcon.run.settings import Settings
from falcon.telemetry import metrics
from falcon.write.disk import Disk
from tests.http.test_transfer import imported, message_line, room_line
from tests.support.http import Falcon, Json, Person, Room, problem, texts
from tools.harness.waiting import holds_within, until

PUBLIC = {"open": True}


def search(person: Person, q: str, **query: Any) -> Json:
    """All that was said before is searched."""
    query = {name.rstrip("_"): value for name, value in query.items()}
    end = embedded.open_source(person.falcon.settings).end()
    offsets = [(p, end[p].offset) for p in range(person.falcon.settings.partitions)]
    # A file without an event ends where it begins.
    headers = {"falcon-position": ",".join(f"{p}:{offset - 1}" for p, offset in offsets if offset % begin_of(1))}
    answer = person.get("/v1/search", params={"q": q, **query}, headers=headers)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def finds(person: Person, q: str, **query: Any) -> list[str]:
    return [hit["message"]["text"] for hit in search(person, q, **query)["hits"]]


def test_a_message_is_found_with_its_words_marked(anna: Person, ben: Person, room: Room) -> None:
    seq = anna.says(room, "次の会議は15時、Cafe Anna で", mentions=[ben.account_id])
    anna.says(room, "nothing")
    anna.put(f"{room}/messages/{seq}/reactions/👍")
    found = search(ben, "会議 cafe")
    assert found == {
        "hits": [
            {
                "room_id": room.room_id,
                "message": ben.message(room, seq),
                "snippet": [["次の", False], ["会議", True], ["は15時、", False], ["Cafe", True], [" Anna で", False]],
            }
        ],
        "next_cursor": None,
    }


@pytest.mark.parametrize("sort", ["newest", "relevance"])
def test_pages_show_each_hit_once_and_nothing_that_came_later(anna: Person, room: Room, sort: str) -> None:
    texts = [f"matcha {'and milk ' * n}" for n in range(7)]
    for text in texts:
        anna.says(room, text)
    found, cursor = list[str](), dict[str, str]()
    while cursor.get("cursor", "") is not None:
        page = search(anna, "matcha", limit=3, sort=sort, **cursor)
        found += [hit["message"]["text"] for hit in page["hits"]]
        cursor = {"cursor": page["next_cursor"]}
        anna.says(room, "matcha is too late")
    assert found == (texts[::-1] if sort == "newest" else texts)


def test_filters_narrow_a_search(anna: Person, ben: Person, room: Room) -> None:
    other = anna.makes_room("Other", ben)
    anna.says(room, "matcha by Anna")
    ben.says(room, "matcha for Anna", mentions=[anna.account_id])
    ben.says(other, "matcha at https://matcha.example")
    assert finds(anna, "matcha", room=room.room_id) == ["matcha for Anna", "matcha by Anna"]
    assert finds(anna, "matcha", from_=anna.account_id) == ["matcha by Anna"]
    assert finds(anna, "matcha", mentions="me") == ["matcha for Anna"]
    assert finds(anna, "matcha", has="link") == ["matcha at https://matcha.example"]
    assert finds(anna, "matcha", has="file") == []
    assert finds(anna, "matcha -anna") == ["matcha at https://matcha.example"]


def test_what_was_edited_or_deleted_is_found_no_more(anna: Person, room: Room) -> None:
    seq, other = anna.says(room, "matcha"), anna.says(room, "matcha and milk")
    anna.patch(f"{room}/messages/{seq}", {"text": "coffee"})
    anna.delete(f"{room}/messages/{other}")
    assert finds(anna, "matcha") == []
    assert finds(anna, "coffee") == ["coffee"]


def test_rooms_that_one_has_left_are_not_searched(anna: Person, ben: Person, cleo: Person, room: Room) -> None:
    anna.says(room, "matcha")
    assert finds(ben, "matcha") == ["matcha"]
    assert finds(cleo, "matcha") == []
    ben.delete(f"{room}/members/{ben.account_id}")
    assert finds(ben, "matcha") == []
    problem(ben.get("/v1/search", params={"q": "matcha", "room": room.room_id}), 404, "room_not_found", "room")
    anna.patch(str(room), PUBLIC)
    assert finds(ben, "matcha") == finds(cleo, "matcha", room=room.room_id) == ["matcha"]


def test_threads_are_searched_with_their_rooms(anna: Person, ben: Person, cleo: Person, room: Room) -> None:
    anna.says(room, "Matcha?")
    thread = Room(anna.falcon, anna.put(f"{room}/messages/1/thread").json()["room_id"])
    seq = anna.says(thread, "緑茶 please")
    anna.says(thread, "milk")
    (hit,) = search(ben, "緑茶")["hits"]  # who does not follow it
    assert (hit["room_id"], hit["message"]["seq"]) == (thread.room_id, seq)
    assert finds(ben, "緑茶", room=room.room_id) == finds(ben, "緑茶", room=thread.room_id) == ["緑茶 please"]
    assert finds(cleo, "緑茶") == []
    anna.patch(f"{thread}/messages/{seq}", {"text": "紅茶 please"})
    assert (finds(ben, "緑茶"), finds(ben, "紅茶")) == ([], ["紅茶 please"])
    ben.delete(f"{room}/members/{ben.account_id}")
    assert finds(ben, "milk") == []


def test_imported_messages_are_found_at_their_time(anna: Person, ben: Person) -> None:
    done = imported(anna.falcon, room_line(anna, ben, ref=f"found by {anna.account_id}"))
    room = Room(anna.falcon, next(iter(done["rooms"].values())))
    imported(anna.falcon, message_line(room, 1, anna, text="昨年の会議", posted_at="2025-11-25T09:30:00.000Z"))
    anna.says(room, "今年の会議")
    assert finds(ben, "会議") == ["今年の会議", "昨年の会議"]
    assert finds(ben, "会議", after="2025-11-25T09:30:00.000Z") == ["今年の会議"]
    assert finds(ben, "会議", after="2025-11-25T18:29:59+09:00", before="2026-01-01T00:00:00Z") == ["昨年の会議"]


@pytest.mark.parametrize("q", ["", "x" * 201, "a b c d e f g h i j k", "-matcha", "!"])
def test_queries_that_ask_nothing_or_too_much_are_refused(anna: Person, q: str) -> None:
    problem(anna.get("/v1/search", params={"q": q}), 422, "invalid", "q")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("limit", 0), ("limit", 51), ("cursor", "x"), ("after", "yesterday"), ("before", "2026"), ("sort", "oldest")),
        *(("mentions", "you"), ("has", "love"), ("from", "x"), ("room", 0)),
    ],
)
def test_other_parameters_are_checked(anna: Person, field: str, value: object) -> None:
    problem(anna.get("/v1/search", params={"q": "matcha", field: value}), 422, "invalid", field)


def test_a_search_waits_for_its_position_and_no_longer_than_asked(anna: Person) -> None:
    headers = {"falcon-position": "0:999999999", "falcon-wait": "0"}
    problem(anna.get("/v1/search", params={"q": "matcha"}, headers=headers), 503, "unavailable")
    headers["falcon-position"] = "x"
    problem(anna.get("/v1/search", params={"q": "matcha"}, headers=headers), 400, "malformed")


def test_an_index_that_hangs_delays_searches_only(anna: Person, room: Room) -> None:
    anna.says(room, "matcha")
    assert finds(anna, "matcha", room=room.room_id) == ["matcha"]
    index = apsw.Connection(str(embedded.search_of(anna.falcon.settings)))
    index.execute("BEGIN IMMEDIATE")
    sent = anna.post(f"{room}/messages", {"text": "more matcha"})
    at_once = {"falcon-position": sent.headers["falcon-position"], "falcon-wait": "0"}
    assert texts(anna.get(f"{room}/messages", headers=at_once).json()) == ["matcha", "more matcha"]
    problem(anna.get("/v1/search", params={"q": "matcha"}, headers=at_once), 503, "unavailable")
    asked = anna.get("/v1/search", params={"q": "matcha", "room": room.room_id})
    assert [hit["message"]["seq"] for hit in asked.json()["hits"]] == [1], "it shows what it has"
    index.execute("ROLLBACK")
    assert finds(anna, "matcha", room=room.room_id) == ["more matcha", "matcha"]


def test_an_index_that_met_a_fault_says_so_and_tries_again(
    anna: Person, room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = metrics.projection_stopped.labels("search")

    def faulty(consumer: ProjectionConsumer) -> int:
        raise LookupError("a fault of ours")

    monkeypatch.setattr(embedded, "_FAULT_SECONDS", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(ProjectionConsumer, "step", faulty)
        until(lambda: stopped.value == 1, "the index has stopped")
        anna.says(room, "matcha")
    assert finds(anna, "matcha", room=room.room_id) == ["matcha"]
    assert stopped.value == 0
    assert "a fault of ours" in caplog.text


def test_an_event_that_the_index_cannot_take_stops_its_partition_until_it_can(
    anna: Person, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = metrics.projection_stopped.labels("search")

    def faulty(text: str) -> list[str]:
        if text == "poison":
            raise ValueError(text)
        return tokens_of(text)

    monkeypatch.setattr(consuming, "_TRY_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(consuming, "_LOOK_AGAIN_SECONDS", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(contents, "tokens_of", faulty)
        anna.says(room, "poison")
        until(lambda: stopped.value == 1, "the partition has stopped")
    assert finds(anna, "poison", room=room.room_id) == ["poison"]
    until(lambda: stopped.value == 0, "it continues")


# --- over several files, and after a stop -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"


def test_an_index_that_was_lost_is_filled_from_all_files(folder: Path) -> None:
    with Falcon(folder, processes=3) as falcon:
        anna = falcon.account("Anna")
        for n in range(6):
            anna.says(anna.makes_room(f"Room {n}"), f"matcha {n}")
        assert len(finds(anna, "matcha")) == 6
    for path in folder.glob("search.db*"):
        path.unlink()
    with Falcon(folder, processes=3) as falcon:
        again = Person(falcon, anna.account_id, "Anna", anna.token)
        filling = again.get("/v1/search", params={"q": "matcha"})
        problem(filling, 503, "unavailable")
        assert "search" in filling.json()["detail"]
        again.says(again.makes_room("Another"), "matcha is sent meanwhile")
        until(lambda: again.get("/v1/search", params={"q": "matcha"}).status_code == 200, "the index is filled")
        assert len(finds(again, "matcha")) == 7


def test_an_index_that_is_being_filled_leaves_the_reserve_of_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Falcon(folder) as falcon:
        anna = falcon.account("Anna")
        anna.says(anna.makes_room("Matcha"), "matcha")
    for path in folder.glob("search.db*"):
        path.unlink()

    class NearlyFull(Disk):
        def look(self) -> None:
            self.is_nearly_full = is_nearly_full

    is_nearly_full, steps, step = True, list[int](), ProjectionConsumer.step

    def counted(consumer: ProjectionConsumer) -> int:
        steps.append(step(consumer))
        return steps[-1]

    monkeypatch.setattr(ProjectionConsumer, "step", counted)
    monkeypatch.setattr(embedded, "Disk", NearlyFull)
    monkeypatch.setattr(embedded, "_SINK_EVENTS", 1)
    monkeypatch.setattr(embedded, "_IDLE_SECONDS", 0.01)
    with Falcon(folder) as falcon:
        again = Person(falcon, anna.account_id, "Anna", anna.token)
        until(lambda: sum(steps), "the index has the first events")
        assert not holds_within(lambda: sum(steps) > 1, 0.3)
        is_nearly_full = False
        until(lambda: again.get("/v1/search", params={"q": "matcha"}).status_code == 200, "the index is filled")


def test_a_rebuild_fills_the_index_again_while_falcon_runs(folder: Path) -> None:
    with Falcon(folder) as falcon:
        anna = falcon.account("Anna")
        room = anna.makes_room("Matcha")
        anna.says(room, "matcha")
        assert finds(anna, "matcha") == ["matcha"]
        embedded.begin_again(falcon.settings, "search")
        assert anna.get("/v1/search", params={"q": "matcha"}).status_code == 503
        until(lambda: anna.get("/v1/search", params={"q": "matcha"}).status_code == 200, "the index is filled")
        assert finds(anna, "matcha") == ["matcha"]


def test_a_copy_with_another_number_of_files_keeps_the_index(folder: Path, tmp_path: Path) -> None:
    with Falcon(folder) as falcon:
        anna = falcon.account("Anna")
        room = anna.makes_room("Matcha")
        anna.says(room, "matcha")
        assert finds(anna, "matcha") == ["matcha"]
    settings = Settings(data_dir=folder)
    embedded.copy(settings, tmp_path / "copy", processes=2)
    with Falcon(tmp_path / "copy", processes=2) as falcon:
        again = Person(falcon, anna.account_id, "Anna", anna.token)
        again.says(room, "more matcha")
        assert finds(again, "matcha") == ["more matcha", "matcha"]


def test_others_have_their_turn_between_long_hits(anna: Person, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []

    async def sleep(seconds: float) -> None:
        turns.append(seconds)

    for text in ("genmaicha " * 1_000, "genmaicha", "genmaicha " * 900):
        anna.says(room, text)
    monkeypatch.setattr(search_api, "asyncio", SimpleNamespace(sleep=sleep))
    assert len(search(anna, "genmaicha")["hits"]) == 3
    assert turns.count(0) == 2
