"""What was acknowledged is never denied, though the read tables are behind the log."""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import get_args

import httpx
import msgspec
import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.read_store import SqliteReadStore
from falcon.adapters.sqlite.source import SqliteSource
from falcon.adapters.sqlite.tables import SqliteTables
from falcon.http import bearer_tokens
from falcon.http.freshness import Freshness
from falcon.http.problems import Problem
from falcon.http.stream import endpoints
from falcon.journal.ports import JournalUnavailable
from falcon.projections.runner import ProjectionCatchUp
from falcon.read.catalogue import projections
from falcon.read.store import ReadStoreUnavailable
from falcon.run import bootstrap
from falcon.run.bootstrap import embedded
from falcon.run.settings import Settings
from falcon.write.positions import OwnersPositions
from tests.http.commands import COMMANDS, Command, Scene
from tests.http.test_transfer import room_line
from tests.support.http import Falcon, Json, Person, Room, problem, texts
from tests.support.store_calls import StoreCalls
from tools.simulation.threads import Simulation

UNKNOWN_ACCOUNT = 999_999


class Tables:
    """Read tables that are behind. They catch up when their position has been read three times."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stuck = False
        self.looks = 0
        source = SqliteSource(database.connect(settings.database, writable=False))
        self._catch_up = ProjectionCatchUp(projections(), source, SqliteTables(database.connect(settings.database)))
        applied = SqliteReadStore.applied

        async def look(store: SqliteReadStore, partition: int) -> int:
            self.looks += 1
            if self.looks % 3 == 0 and not self.stuck:
                self.catch_up()
            return await applied(store, partition)

        monkeypatch.setattr(SqliteReadStore, "applied", look)
        monkeypatch.setattr(embedded, "InlineProjector", lambda *parts: None)
        monkeypatch.setattr(embedded.CatchUpThread, "_run", lambda thread: None)
        monkeypatch.setattr(embedded, "Freshness", lambda store, source, has_notifications: Freshness(store, source))

    def catch_up(self) -> None:
        while self._catch_up.step():
            pass


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def tables(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Tables:
    database.prepare(settings.database, settings.partitions)
    return Tables(settings, monkeypatch)


@pytest.fixture(params=["the log itself says where it stands", "the owners say where it stands"])
def falcon(settings: Settings, tables: Tables, request: pytest.FixtureRequest) -> Iterator[Falcon]:
    with Falcon(settings.data_dir) as started:
        if "owners" in request.param:
            started.edge.reads.freshness = Freshness(started.edge.store, OwnersPositions(started.edge.gateway))
        yield started


@pytest.fixture
def behind(falcon: Falcon, tables: Tables) -> Tables:
    """From now on every read has to wait."""
    tables.catch_up()
    tables.looks = 0
    return tables


# --- what was just made is there --------------------------------------------------------------------------------------


def test_an_account_that_was_just_made_is_let_in(falcon: Falcon, behind: Tables) -> None:
    made = falcon.admin.post("/v1/accounts", {"name": "Anna"})
    anna = Person(falcon, made.json()["account_id"], "Anna", made.json()["token"])
    assert anna.get("/v1/me").json()["account_id"] == anna.account_id


def test_an_account_that_was_just_made_is_let_in_with_the_position_that_it_got(falcon: Falcon, behind: Tables) -> None:
    made = falcon.admin.post("/v1/accounts", {"name": "Anna"})
    anna = Person(falcon, made.json()["account_id"], "Anna", made.json()["token"])
    assert anna.get("/v1/me", position=made.headers["falcon-position"], wait="5").status_code == 200


def test_a_token_that_was_just_issued_is_good(falcon: Falcon, anna: Person, behind: Tables) -> None:
    issued = anna.post(f"/v1/accounts/{anna.account_id}/tokens").json()
    again = Person(falcon, anna.account_id, "Anna", issued["token"])
    assert again.post("/v1/rooms", {"name": "Tea kitchen"}).status_code == 201


def test_a_room_is_made_with_accounts_that_were_just_made(falcon: Falcon, behind: Tables) -> None:
    guests = [falcon.account(name) for name in ("Anna", "Ben", "Cleo")]
    invited = [{"account_id": guest.account_id} for guest in guests]
    assert falcon.admin.post("/v1/rooms", {"name": "Tea kitchen", "members": invited}).status_code == 201


def test_members_that_were_just_made_are_looked_up_a_second_time_all_at_once(
    falcon: Falcon, behind: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    invited = [{"account_id": falcon.account(name).account_id} for name in ("Anna", "Ben", "Cleo")]
    calls = StoreCalls(falcon, monkeypatch)
    assert falcon.admin.post("/v1/rooms", {"name": "Tea kitchen", "members": invited}).status_code == 201
    assert calls.made.count("names_of") == 2


def test_an_account_that_was_just_made_is_brought_in(falcon: Falcon, anna: Person, behind: Tables) -> None:
    room = anna.makes_room()
    dora = falcon.account("Dora")
    brought_in = anna.put(f"{room}/members/{dora.account_id}", {"role": "member"}, key="dora")
    assert (brought_in.status_code, brought_in.json()["name"]) == (200, "Dora")
    assert texts(dora.reads(room)) == []


def test_two_who_were_just_made_open_their_direct_room_from_both_sides(falcon: Falcon, behind: Tables) -> None:
    dora, emil = falcon.account("Dora"), falcon.account("Emil")
    opened = dora.put(f"/v1/direct/{emil.account_id}")
    assert (opened.status_code, opened.json()["name"]) == (201, "Emil")
    found = emil.put(f"/v1/direct/{dora.account_id}")
    assert (found.status_code, found.json()["room_id"]) == (200, opened.json()["room_id"])


@pytest.mark.parametrize("path", ["{room}", "{room}/members", "{room}/messages"])
def test_a_room_that_was_just_made_is_read(anna: Person, behind: Tables, path: str) -> None:
    room = anna.makes_room()
    read = anna.get(path.format(room=room))
    assert read.status_code == 200, read.text


def test_one_who_was_just_brought_in_reads(anna: Person, ben: Person, behind: Tables) -> None:
    room = anna.makes_room()
    anna.reads(room)  # it is readable now
    anna.put(f"{room}/members/{ben.account_id}", {"role": "member"})
    ben.reads(room)


def test_a_message_that_was_just_sent_is_read(anna: Person, behind: Tables) -> None:
    room = anna.makes_room()
    anna.reads(room)
    assert anna.message(room, anna.says(room, "Tea?"))["text"] == "Tea?"


def test_one_who_may_write_by_now_may_say_that_he_types(anna: Person, ben: Person, behind: Tables) -> None:
    room = anna.makes_room(readonly=ben)
    problem(ben.post(f"{room}/typing"), 403, "read_only")
    anna.put(f"{room}/members/{ben.account_id}", {"role": "member"})
    assert ben.post(f"{room}/typing").status_code == 204


def test_one_who_was_just_removed_does_not_say_that_he_types(anna: Person, ben: Person, behind: Tables) -> None:
    room = anna.makes_room(readonly=ben)
    problem(ben.post(f"{room}/typing"), 403, "read_only")
    anna.delete(f"{room}/members/{ben.account_id}")
    problem(ben.post(f"{room}/typing"), 404, "room_not_found")


def imports(admin: Person, *lines: Json) -> httpx.Response:
    content = b"\n".join(msgspec.json.encode(line) for line in lines)
    return admin.post("/v1/import", content=content, headers={"Content-Type": "application/x-ndjson"}, wait="10")


def test_an_import_finds_the_accounts_and_rooms_that_were_just_made(falcon: Falcon, behind: Tables) -> None:
    admin, dora = falcon.admin, falcon.account("Dora")
    time = "2026-11-25T09:30:00.123Z"
    member = {"account_id": dora.account_id, "role": "admin"}
    line = {"type": "room", "source": "elsewhere", "ref": "1", "kind": "group", "name": "Tea", "description": ""}
    made = imports(admin, {**line, "created_at": time, "members": [member]})
    assert made.status_code == 200, made.text
    room = Room(falcon, made.json()["rooms"]["1"])
    message = {"type": "message", "room_id": room.room_id, "posted_at": time, "text": "Hi"}
    for seq in (2, 4):
        assert dora.says(room, "Go on") == seq - 1
        emil = falcon.account("Emil")
        imported = imports(admin, {**message, "seq": seq, "author_id": emil.account_id})
        assert imported.status_code == 200, imported.text


def test_the_tokens_of_an_account_that_was_just_made_are_listed(falcon: Falcon, behind: Tables) -> None:
    dora = falcon.account("Dora")
    assert len(falcon.admin.get(f"/v1/accounts/{dora.account_id}/tokens").json()["tokens"]) == 1


def test_an_edit_needs_no_look_at_the_room_before(anna: Person, behind: Tables) -> None:
    room = anna.makes_room()
    seq = anna.says(room, "Tee?")
    assert anna.patch(f"{room}/messages/{seq}", {"text": "Tea?"}).json()["text"] == "Tea?"


def test_an_edit_of_what_has_just_changed_waits_as_long_as_the_client_says(anna: Person, behind: Tables) -> None:
    room = anna.makes_room()
    seq = anna.says(room, "Tee?")
    behind.catch_up()
    anna.patch(f"{room}/messages/{seq}", {"text": "Tea?"})
    behind.stuck = True
    refused = anna.patch(f"{room}/messages/{seq}", {"text": "Tea!"}, wait="0")
    problem(refused, 503, "unavailable")
    assert "within 0 s" in refused.json()["detail"]


def test_what_is_readable_is_shown_without_asking_the_log(anna: Person, room: Room, behind: Tables) -> None:
    behind.catch_up()
    anna.reads(room)
    anna.get(f"{room}/members")
    assert behind.looks == 0


def opens_a_stream(falcon: Falcon, query: str, token: str | None = None) -> None:
    """Raises the Problem of a refusal."""
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]

    async def opened() -> None:
        scope = {"type": "http", "method": "GET", "path": "/v1/stream", "query_string": query.encode()}
        edge = falcon.edge
        response = await endpoints.open_stream(edge.streams, edge.authenticator, {**scope, "headers": headers})
        response._opening.release()

    falcon.run(opened())


def test_a_ticket_for_a_token_that_was_just_issued_is_good(falcon: Falcon, behind: Tables) -> None:
    made = falcon.admin.post("/v1/accounts", {"name": "Anna"}).json()
    token_hash = bearer_tokens.hash_of(bearer_tokens.parse(made["token"])[1])  # type: ignore[index]
    opens_a_stream(falcon, f"ticket={bearer_tokens.ticket(falcon.edge.secret, made['account_id'], token_hash)}")


def test_a_stream_of_a_room_that_was_just_made_begins(falcon: Falcon, anna: Person, behind: Tables) -> None:
    anna.get("/v1/me")
    opens_a_stream(falcon, f"rooms={anna.makes_room().room_id}", anna.token)


def test_a_stream_of_a_room_that_is_not_there_is_refused(falcon: Falcon, anna: Person, behind: Tables) -> None:
    with pytest.raises(Problem, match="room_not_found"):
        opens_a_stream(falcon, "rooms=999999", anna.token)


# --- what is not there ------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_refused_as_ever(falcon: Falcon, anna: Person, ben: Person, behind: Tables) -> None:
    room = anna.makes_room()
    anna.reads(room)
    problem(ben.get(f"{room}/messages"), 404, "room_not_found")
    problem(anna.get(f"{room}/messages/1"), 404, "message_not_found")
    problem(anna.get("/v1/rooms/999999"), 404, "room_not_found")
    problem(anna.put(f"/v1/direct/{UNKNOWN_ACCOUNT}"), 404, "account_not_found")
    problem(anna.put(f"{room}/members/{UNKNOWN_ACCOUNT}", {"role": "member"}), 404, "account_not_found")
    unknown = {"name": "Tea", "members": [{"account_id": ben.account_id}, {"account_id": UNKNOWN_ACCOUNT}]}
    problem(anna.post("/v1/rooms", unknown), 422, "invalid", "members[1].account_id")
    problem(falcon.admin.get(f"/v1/accounts/{UNKNOWN_ACCOUNT}/tokens"), 404, "account_not_found")


@pytest.fixture
def caught_up(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The partitions that requests have caught up for."""
    partitions: list[int] = []
    catch_up = falcon.edge.reads.freshness.catch_up

    async def noted(partition: int, seconds: float) -> None:
        partitions.append(partition)
        await catch_up(partition, seconds)

    monkeypatch.setattr(falcon.edge.reads.freshness, "catch_up", noted)
    return partitions


def test_many_invented_accounts_are_refused_after_one_look_at_the_log(
    falcon: Falcon, anna: Person, behind: Tables, caught_up: list[int]
) -> None:
    dora = falcon.account("Dora")  # she stands before them, and the tables do not show her yet
    invented = [Person(falcon, UNKNOWN_ACCOUNT + number, "", "") for number in range(100)]
    looks = [account_id % falcon.settings.partitions for account_id in (dora.account_id, UNKNOWN_ACCOUNT)]
    members = [{"account_id": person.account_id} for person in (dora, *invented)]
    problem(anna.post("/v1/rooms", {"name": "Tea", "members": members}), 422, "invalid", "members[1].account_id")
    assert caught_up == looks
    emil = falcon.account("Emil")
    refused = imports(falcon.admin, room_line(emil, *invented))
    problem(refused, 422, "invalid", "line 1: members[1].account_id")
    assert caught_up[2:] == [emil.account_id % falcon.settings.partitions, looks[1]]


def test_a_stranger_does_not_learn_which_accounts_there_are(anna: Person, ben: Person, behind: Tables) -> None:
    room = anna.makes_room()
    for account_id in (anna.account_id, UNKNOWN_ACCOUNT):
        problem(ben.put(f"{room}/members/{account_id}", {"role": "member"}), 404, "room_not_found")


def test_a_revoked_token_is_refused(falcon: Falcon, anna: Person, behind: Tables) -> None:
    token = anna.post(f"/v1/accounts/{anna.account_id}/tokens").json()
    again = Person(falcon, anna.account_id, "Anna", token["token"])
    again.get("/v1/me")
    anna.delete(f"/v1/accounts/{anna.account_id}/tokens/{token['token_id']}")
    behind.catch_up()
    problem(again.get("/v1/me"), 401, "unauthenticated")


@pytest.mark.parametrize("secret", ["A" * 43, secrets.token_urlsafe(32)], ids=["one letter", "random"])
def test_a_token_that_was_never_issued_is_refused_without_asking_the_log(
    falcon: Falcon, anna: Person, behind: Tables, secret: str
) -> None:
    forger = Person(falcon, anna.account_id, "Anna", f"falcon_{anna.account_id}_{secret}")
    problem(forger.get("/v1/me", position="0:999999999999999999"), 401, "unauthenticated")
    assert behind.looks == 0


# --- what cannot be told ----------------------------------------------------------------------------------------------


def refusals(scene: Scene) -> list[httpx.Response]:
    """The tables may lack something in each of the partitions."""
    anna, room, token = scene.anna, scene.room, scene.cleo
    anna.says(room, "Yes")
    partitions = anna.falcon.settings.partitions
    unknown_room = anna.makes_room().room_id + 10_000 * partitions
    unknown = anna.falcon.account("Dora").account_id + 10_000 * partitions
    return [
        anna.get(f"/v1/rooms/{unknown_room}", wait="0"),
        anna.get(f"{room}/messages/9", wait="0"),
        anna.put(f"/v1/direct/{unknown}", wait="0"),
        anna.put(f"{room}/members/{unknown}", {"role": "member"}, wait="0"),
        anna.post("/v1/rooms", {"name": "Tea", "members": [{"account_id": unknown}]}, wait="0"),
        token.get("/v1/me", wait="0"),
    ]


@pytest.fixture
def scene(falcon: Falcon, tables: Tables) -> Scene:
    """Everything is readable but a token of Cleo's."""
    anna, ben, cleo = (falcon.account(name) for name in ("Anna", "Ben", "Cleo"))
    room = anna.makes_room("Tea kitchen", ben)
    anna.says(room, "Tea?", mentions=[ben.account_id])
    tables.catch_up()
    issued = falcon.admin.post(f"/v1/accounts/{cleo.account_id}/tokens").json()["token"]
    return Scene(falcon.admin, anna, ben, Person(falcon, cleo.account_id, "Cleo", issued), room)


def test_while_the_tables_stand_still_nothing_is_denied_and_what_they_show_is_given(
    scene: Scene, tables: Tables
) -> None:
    tables.stuck = True
    for refused in refusals(scene):
        problem(refused, 503, "unavailable")
    assert texts(scene.anna.reads(scene.room)) == ["Tea?"]
    assert scene.anna.says(scene.room, "Milk?") == 3


def test_while_the_log_is_away_nothing_is_denied_and_what_the_tables_show_is_given(
    falcon: Falcon, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        async def confirmed(self, partition: int) -> int:
            raise JournalUnavailable("a test has taken the log away")

    falcon.edge.reads.freshness = Freshness(falcon.edge.store, Away())
    for refused in refusals(scene):
        problem(refused, 503, "unavailable")
    assert texts(scene.anna.reads(scene.room)) == ["Tea?"]
    forger = Person(falcon, scene.anna.account_id, "Anna", f"falcon_{scene.anna.account_id}_{'A' * 43}")
    problem(forger.get("/v1/me"), 401, "unauthenticated")


def test_a_key_does_not_remember_that_an_account_could_not_be_read(
    falcon: Falcon, scene: Scene, tables: Tables
) -> None:
    tables.stuck = True
    dora = falcon.account("Dora")
    inviting = scene.anna.request("PUT", f"{scene.room}/members/{dora.account_id}", {"role": "member"}, key="k")
    making = scene.anna.request(
        "POST", "/v1/rooms", {"name": "T", "members": [{"account_id": dora.account_id}]}, key="r"
    )
    opening = scene.anna.request("PUT", f"/v1/direct/{dora.account_id}", key="d")
    for request in (inviting, making, opening):
        request.headers["Falcon-Wait"] = "0"
        problem(falcon.together(request)[0], 503, "unavailable")
    tables.catch_up()
    for request in (inviting, making, opening):
        (answer,) = falcon.together(request)
        assert answer.is_success and "idempotency-replayed" not in answer.headers, answer.text


# --- commands and positions -------------------------------------------------------------------------------------------


def an_older_mark(scene: Scene) -> Command:
    """Mentions after it are counted in the tables."""
    scene.anna.says(scene.room, "Or coffee?", mentions=[scene.ben.account_id])
    return Command(scene.ben, "PUT", f"{scene.room}/read", {"seq": 1})


READING_COMMANDS: dict[str, Callable[[Scene], Command]] = {
    "move the read mark to an older message": an_older_mark,
    **{name: COMMANDS[name] for name in ("open a direct room", "bring somebody in", "change a role")},
}


@pytest.mark.parametrize("name", READING_COMMANDS)
def test_a_command_that_reads_waits_for_its_position(scene: Scene, tables: Tables, name: str) -> None:
    command = READING_COMMANDS[name](scene)
    position = scene.anna.post("/v1/rooms", {"name": "Another"}).headers["falcon-position"]
    tables.looks = 0
    assert command.send(position=position).is_success
    assert tables.looks >= 3


@pytest.mark.parametrize("name", READING_COMMANDS)
def test_a_command_whose_position_is_not_reached_is_not_done(scene: Scene, tables: Tables, name: str) -> None:
    tables.stuck = True
    command = READING_COMMANDS[name](scene)
    position = scene.anna.post("/v1/rooms", {"name": "Another"}).headers["falcon-position"]
    before = scene.anna.falcon.log_length()
    problem(command.send(position=position, wait="0"), 503, "unavailable")
    assert scene.anna.falcon.log_length() == before


# --- after the decision nothing is read -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_done_is_acknowledged_though_the_tables_go_away_meanwhile(
    falcon: Falcon, scene: Scene, tables: Tables, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tables.catch_up()
    command = COMMANDS[name](scene)
    ask = falcon.edge.gateway.ask

    async def away(*_: object) -> object:
        raise ReadStoreUnavailable("a test has taken the tables away")

    async def ask_and_take_the_tables_away(envelope: object) -> object:
        reply = await ask(envelope)  # type: ignore[arg-type]
        for query in (
            "applied",
            "access",
            "names_of",
            "room",
            "members",
            "mentions",
            "message",
            "message_at",
            "tokens",
        ):
            monkeypatch.setattr(falcon.edge.store, query, away)
        return reply

    monkeypatch.setattr(falcon.edge.gateway, "ask", ask_and_take_the_tables_away)
    done = command.send()
    assert done.is_success, done.text


# --- waiting together -------------------------------------------------------------------------------------------------


class Store:
    """The partition's position moves with each look."""

    def __init__(self, *, applied: int, looks: int) -> None:
        self._applied = applied
        self._late = looks
        self.looks = 0

    async def applied(self, partition: int) -> int:
        self.looks += 1
        await asyncio.sleep(0)
        return self._applied if self.looks > self._late else 0

    async def applied_in(self, partitions: Collection[int]) -> dict[int, int]:
        applied = await self.applied(0)
        return dict.fromkeys(partitions, applied)


class Known(Store):
    """Has not heard that the tables have moved to 8."""

    known = 0

    async def applied(self, partition: int) -> int:
        return self.known

    def doubt(self, partitions: Collection[int]) -> None:
        self.looks += 1
        self.known = 8


class Log:
    def __init__(self, confirmed: int) -> None:
        self._confirmed = confirmed

    async def confirmed(self, partition: int) -> int:
        return self._confirmed


def test_a_thousand_who_wait_for_one_partition_are_one_who_looks() -> None:
    async def run() -> int:
        store = Store(applied=8, looks=1_003)
        freshness = Freshness(store, Log(7))  # type: ignore[arg-type]
        await asyncio.gather(*(freshness.catch_up(3, 5.0) for _ in range(1_000)))
        return store.looks

    assert asyncio.run(run()) <= 1_005, "each looks once, and then one for all"


def test_those_who_wait_for_many_partitions_are_one_who_looks() -> None:
    async def run() -> int:
        store = Store(applied=8, looks=70)
        freshness = Freshness(store, Log(7))  # type: ignore[arg-type]
        await asyncio.gather(*(freshness.reach(partition, 7, 5.0) for partition in range(64)))
        return store.looks

    assert asyncio.run(run()) <= 72, "each looks once, and then one for all"


def test_where_the_tables_say_that_they_move_nobody_looks_again_before() -> None:
    class Tables(Store):
        stand_at = 0

        async def applied(self, partition: int) -> int:
            self.looks += 1
            return self.stand_at

    async def run() -> None:
        store = Tables(applied=0, looks=0)
        freshness = Freshness(store, Log(7), has_notifications=lambda: True)  # type: ignore[arg-type]
        near, far = (asyncio.create_task(freshness.reach(3, offset, 500.0)) for offset in (7, 9))
        await asyncio.sleep(0.9)
        looks = store.looks
        assert looks <= 4, "each of them when it came, and one for both"
        store.stand_at = 8
        freshness.moved()
        await near
        assert store.looks == looks + 1 and not far.done()
        store.stand_at = 10
        await far  # a rebuild by another process sends no notice: it is found within a second
        looks = store.looks
        freshness.moved()
        await asyncio.sleep(5)
        assert store.looks == looks, "nobody waits any more"

    Simulation().run(lambda: asyncio.run(run()))


def test_a_request_that_waits_for_long_though_tables_tell_when_they_move_has_them_asked() -> None:
    """A notice was lost: the store still knows an old position."""

    async def run() -> None:
        store = Known(applied=0, looks=0)
        freshness = Freshness(store, Log(7), lambda: True, store.doubt)  # type: ignore[arg-type]
        for tenth in range(20):  # others hear of moves all the time
            asyncio.get_running_loop().call_later(tenth / 10, freshness.moved)
        began = time.monotonic()
        await freshness.reach(3, 7, 5.0)
        assert 0.9 < time.monotonic() - began < 1.2
        assert store.looks == 1

    Simulation().run(lambda: asyncio.run(run()))


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_no_request_is_refused_before_the_tables_were_asked(seconds: float) -> None:
    async def run() -> None:
        store = Known(applied=0, looks=0)
        await Freshness(store, Log(7), lambda: True, store.doubt).reach(3, 7, seconds)  # type: ignore[arg-type]

    Simulation().run(lambda: asyncio.run(run()))


def test_tables_that_stand_still_are_looked_at_seldom_and_seen_to_move_soon() -> None:
    class Still(Store):
        async def applied(self, partition: int) -> int:
            self.looks += 1
            return 8 if time.monotonic() >= until else 0

    async def run() -> tuple[int, float]:
        store = Still(applied=8, looks=0)
        await Freshness(store, Log(7)).reach(3, 7, 20.0)  # type: ignore[arg-type]
        return store.looks, time.monotonic() - until

    simulation = Simulation()
    until = simulation.now + 10
    looks, late = simulation.run(lambda: asyncio.run(run()))
    assert looks < 200, "ten a second, and more of them in the first one"
    assert late < 0.11


def test_one_who_gives_up_leaves_the_others_waiting() -> None:
    async def run() -> None:
        freshness = Freshness(Store(applied=8, looks=6), Log(7))  # type: ignore[arg-type]
        patient = asyncio.create_task(freshness.reach(3, 7, 5.0))
        impatient = asyncio.create_task(freshness.reach(3, 7, 5.0))
        await asyncio.sleep(0)
        impatient.cancel()
        await patient
        assert impatient.cancelled()

    asyncio.run(run())


def test_tables_that_go_away_are_said_to_all_who_wait() -> None:
    class Away(Store):
        async def applied(self, partition: int) -> int:
            applied = await super().applied(partition)
            if self.looks > 5:
                raise ReadStoreUnavailable("a test has taken the tables away")
            return applied

    async def run() -> list[BaseException | None]:
        freshness = Freshness(Away(applied=8, looks=99), Log(7))  # type: ignore[arg-type]
        return await asyncio.gather(*(freshness.reach(3, 7, 5.0) for _ in range(3)), return_exceptions=True)

    assert [type(error) for error in asyncio.run(run())] == [ReadStoreUnavailable] * 3


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_each_token_is_another_one_and_shows_that_it_was_issued(falcon: Falcon, anna: Person) -> None:
    issued = [anna.post(f"/v1/accounts/{anna.account_id}/tokens").json()["token"] for _ in range(5)]
    parsed = [bearer_tokens.parse(token) for token in (*issued, anna.token, falcon.admin.token)]
    found = {secret for _, secret in filter(None, parsed) if bearer_tokens.is_issued(falcon.edge.secret, secret)}
    assert len(found) == 7
    assert not any(bearer_tokens.is_issued(b"another deployment's", secret) for secret in found)


def test_the_first_tokens_of_a_cluster_are_the_same_for_ever() -> None:
    admins = bearer_tokens.derived_secret(b"s" * 16, "first admin's token")
    assert admins == "XJNwK5QHo81HFi6IphrELshr--UcTeEL53hfOWv5Hsc"
    assert admins != bearer_tokens.derived_secret(b"s" * 16, "first account's token")


@pytest.mark.parametrize("purpose", get_args(bearer_tokens.Purpose))
def test_the_first_accounts_are_not_denied_while_the_tables_are_filled_again(purpose: bearer_tokens.Purpose) -> None:
    secret = bearer_tokens.derived_secret(b"s" * 16, purpose)
    assert bearer_tokens.is_issued(b"s" * 16, secret)
    assert not bearer_tokens.is_issued(b"another deployment's", secret)


def test_a_first_account_that_no_table_shows_is_a_refusal_that_says_so(
    falcon: Falcon, behind: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    freshness, behind.stuck = falcon.edge.reads.freshness, True
    reach = freshness.reach
    monkeypatch.setattr(freshness, "reach", lambda partition, offset, seconds: reach(partition, offset, 0.0))
    with pytest.raises(ReadStoreUnavailable, match="is in the log, and in no table: Position"):
        falcon.run(bootstrap.create_account(falcon.edge, "Owner", role="owner", secret="s"))


def test_a_token_whose_random_half_was_changed_was_not_issued() -> None:
    secret = bearer_tokens.new_secret(b"s" * 16)
    for index in (0, 10, 30, 41):
        changed = secret[:index] + ("A" if secret[index] != "A" else "B") + secret[index + 1 :]
        assert not bearer_tokens.is_issued(b"s" * 16, changed)
