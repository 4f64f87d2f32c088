"""Clients read their own writes: commands give positions, and reads wait for them."""

import re
import time
from collections.abc import Collection

import pytest

from falcon.http import read_your_writes
from falcon.http.read_your_writes import WAIT_SECONDS, WAIT_SECONDS_MAX
from tests.http.commands import COMMANDS, Scene, set_scene
from tests.support.http import Falcon, Person, Room, problem, texts

POSITION = re.compile(r"(\d+):(\d+)(,\d+:\d+)*")
UNREACHABLE = "0:999999999999999999"


@pytest.fixture
def scene(falcon: Falcon) -> Scene:
    return set_scene(falcon)


def readers(scene: Scene) -> list[tuple[Person, str]]:
    """Every query."""
    room = scene.room
    return [
        (scene.anna, "/v1/me"),
        (scene.anna, "/v1/rooms"),
        (scene.anna, f"{room}"),
        (scene.anna, f"{room}/members"),
        (scene.anna, f"{room}/messages"),
        (scene.anna, f"{room}/messages/1"),
        (scene.anna, f"/v1/accounts/{scene.anna.account_id}/tokens"),
        (scene.admin, "/v1/accounts"),
        (scene.admin, "/v1/export"),
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_where_it_stands_and_reads_wait_for_it(falcon: Falcon, scene: Scene, name: str) -> None:
    position = COMMANDS[name](scene).send().headers["falcon-position"]
    match = POSITION.fullmatch(position)
    assert match and int(match[1]) < falcon.settings.partitions
    assert scene.anna.get("/v1/me", position=position, wait="0").status_code == 200


def test_an_import_says_where_it_stands(admin: Person) -> None:
    line = b'{"type":"account","source":"positions","ref":"1","name":"Dora"}'
    done = admin.post("/v1/import", content=line, headers={"Content-Type": "application/x-ndjson"})
    assert POSITION.fullmatch(done.headers["falcon-position"])


def test_a_position_counts_on(anna: Person, room: Room) -> None:
    offsets = []
    for _ in range(3):
        posted = anna.post(f"{room}/messages", {"text": "Hi"})
        partition, offset = map(int, posted.headers["falcon-position"].split(":"))
        assert partition == room.room_id % anna.falcon.settings.partitions
        offsets.append(offset)
    assert offsets == sorted(set(offsets))


def test_several_positions_at_once(anna: Person, room: Room) -> None:
    one = anna.post(f"{room}/messages", {"text": "Hi"}).headers["falcon-position"]
    two = anna.post("/v1/rooms", {"name": "Another"}).headers["falcon-position"]
    for both in (f"{one},{two}", f"{two}, {one}", ",".join([one, two] * 50)):
        assert texts(dict(anna.get(f"{room}/messages", position=both, wait="0").json())) == ["Hi"]


def test_a_read_waits_until_it_can_see_it(
    falcon: Falcon, anna: Person, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = anna.post(f"{room}/messages", {"text": "Hi"}).headers["falcon-position"]
    applied, looks = falcon.edge.store.applied, []

    async def behind(partition: int) -> int:
        looks.append(partition)
        return await applied(partition) if len(looks) > 5 else 0

    monkeypatch.setattr(falcon.edge.store, "applied", behind)
    monkeypatch.setattr(
        falcon.edge.reads.freshness, "has_notifications", lambda: False
    )  # as where another process keeps the tables
    assert texts(dict(anna.get(f"{room}/messages", position=position).json())) == ["Hi"]
    assert len(looks) == 6


def test_one_machine_is_told_of_each_commit(falcon: Falcon, anna: Person, room: Room) -> None:
    assert falcon.edge.reads.freshness.has_notifications()
    position = anna.post(f"{room}/messages", {"text": "Hello"}).headers["falcon-position"]
    partition, offset = map(int, position.split(":"))
    ahead = f"{partition}:{offset + 2}"
    waiting = anna.request("GET", f"{room}/messages", position=ahead, wait="10")
    sends = [anna.request("POST", f"{room}/messages", {"text": f"{i}"}) for i in range(3)]
    page, *_ = falcon.together(waiting, *sends)
    assert [message["text"] for message in page.json()["messages"]][:3] == ["Hello", "0", "1"]


@pytest.mark.parametrize("wait", ["0", "0.05", "1e-2"])
def test_what_cannot_be_reached_is_unavailable_within_the_wait(
    falcon: Falcon, scene: Scene, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    waits: list[float] = []
    reach = falcon.edge.reads.freshness.reach

    async def noted(partition: int, offset: int, seconds: float) -> None:
        waits.append(seconds)
        await reach(partition, offset, seconds)

    monkeypatch.setattr(falcon.edge.reads.freshness, "reach", noted)
    for person, path in readers(scene):
        started = time.monotonic()
        problem(person.get(path, position=UNREACHABLE, wait=wait), 503, "unavailable")
        assert time.monotonic() - started >= float(wait)
        assert waits.pop() <= float(wait)
        problem(person.get(path, position=f"0:0,{UNREACHABLE}", wait="0"), 503, "unavailable")


def test_a_partition_that_is_named_a_thousand_times_is_looked_at_once(
    falcon: Falcon, anna: Person, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    applied, applied_in = falcon.edge.store.applied, falcon.edge.store.applied_in

    async def look(partition: int) -> int:
        looks.append(partition)
        return await applied(partition)

    async def look_at_several(partitions: Collection[int]) -> dict[int, int]:
        looks.extend(partitions)
        return await applied_in(partitions)

    position = anna.post(f"{room}/messages", {"text": "Hi"}).headers["falcon-position"]
    monkeypatch.setattr(falcon.edge.store, "applied", look)
    monkeypatch.setattr(falcon.edge.store, "applied_in", look_at_several)
    partition, _, offset = position.partition(":")
    lower = f"{partition}:0"
    assert anna.get(f"{room}/messages", position=",".join([lower, position, lower] * 400)).status_code == 200
    assert set(looks) == {int(partition)} and len(looks) < 100, "1,200 times named"
    beyond = f"{partition}:{int(offset) + 9}"
    problem(anna.get(f"{room}/messages", position=f"{beyond},{lower}", wait="0"), 503, "unavailable")


def test_a_read_waits_two_seconds_unless_told_otherwise_and_ten_at_most() -> None:
    assert (WAIT_SECONDS, WAIT_SECONDS_MAX) == (2, 10)


def test_several_positions_share_the_wait(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for each partition ends when the wait of the request ends, whenever it begins."""
    now, waits = 100.0, list[float]()

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now

    async def none_applied(partitions: Collection[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 0)

    async def reach_after_a_second(partition: int, offset: int, seconds: float) -> None:
        nonlocal now
        waits.append(seconds)
        now += 1.0

    reads = falcon.edge.reads
    monkeypatch.setattr(read_your_writes, "time", Clock)
    monkeypatch.setattr(falcon.edge.store, "applied_in", none_applied)
    monkeypatch.setattr(reads.freshness, "reach", reach_after_a_second)
    falcon.run(reads.reach_all([(partition, 7) for partition in range(5)], until=103.0))
    assert waits == [3.0, 2.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "position",
    [
        *("", " ", "x", "0", ":", "0:", ":0", "0:-1", "-1:0", "0:1.5", "0x1:0"),
        *("64:0", "99999:0", "100000:0", "0:1234567890123456789", "0:" + "9" * 5000),
        *("0:1,", ",", "0:1;0:2", "0:1 0:2", "é:0".encode(), "٠:٠".encode()),
    ],
)
def test_a_position_is_as_a_command_gave_it(scene: Scene, position: str | bytes) -> None:
    for person, path in readers(scene):
        refused = person.get(path, headers={"Falcon-Position": position})
        problem(refused, 400, "malformed", "Falcon-Position")


@pytest.mark.parametrize("wait", ["", "x", "-1", "10.01", "11", "1e9", "nan", "inf", "-inf", "0x1", "１".encode()])
def test_a_wait_is_0_to_10_seconds(anna: Person, wait: str | bytes) -> None:
    refused = anna.get("/v1/me", headers={"Falcon-Position": "0:0", "Falcon-Wait": wait})
    problem(refused, 422, "invalid", "Falcon-Wait")


@pytest.mark.parametrize("wait", ["0", "0.5", "2", "10", "10.0"])
def test_a_wait_for_what_can_be_read_takes_no_time(anna: Person, wait: str) -> None:
    assert anna.get("/v1/me", position="0:0", wait=wait).status_code == 200


def test_a_command_waits_for_nothing(falcon: Falcon, anna: Person, room: Room) -> None:
    """But for its sender's own partition, where the token may have been revoked."""
    partition = (anna.account_id + 1) % falcon.edge.partitions
    unreachable = UNREACHABLE.replace("0:", f"{partition}:", 1)
    assert anna.post(f"{room}/messages", {"text": "Hi"}, position=unreachable, wait="0").status_code == 201
