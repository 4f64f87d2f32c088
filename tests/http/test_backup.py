"""A backup is exact: it holds the state at the position that it names, even if people acted while it was written."""

import asyncio
import io
import itertools
import random
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.source import source_of
from falcon.cli.importing import import_lines
from falcon.cli.merging import numbered
from falcon.features.accounts.rules import AccountCreated
from falcon.features.messages.bodies import stored
from falcon.features.messages.rules import MessageDeleted, MessageEdited, MessagePosted
from falcon.features.reactions.rules import ReactionAdded, ReactionRemoved
from falcon.features.rooms.rules import MemberChanged, MemberJoined, MemberLeft, RoomChanged, RoomCreated, RoomDeleted
from falcon.http.api import exporting
from falcon.journal.envelope import Position
from falcon.read.times import parse_rfc3339, rfc3339
from falcon.run.bootstrap import embedded
from falcon_chat import Imported
from tests.http.test_transfer import NDJSON, Ids, exported, translated
from tests.support.http import Falcon, Json, Person, problem

_ROOMS: Final = 220  # more than one query reads


def places_in(position: str) -> dict[int, int]:
    """Offsets by partition."""
    return {int(partition): int(offset) for partition, offset in (p.split(":") for p in position.split(","))}


def everything_at(falcon: Falcon, position: str) -> list[Json]:
    """The rows that a backup should have: those of the log's events up to a position."""
    through = places_in(position)
    readers = embedded.open_readers(falcon.settings)
    source = source_of(readers)
    accounts: dict[str, Json] = {}
    rooms: dict[str, Json] = {}
    members: dict[str, dict[str, str]] = {}
    messages: dict[tuple[str, int], Json] = {}
    reactions: dict[tuple[str, int, str, str], Json] = {}
    cursor = dict.fromkeys(range(source.partitions), Position())
    while True:
        events, after = source.read(cursor, 10_000)
        for recorded in events:
            envelope = recorded.envelope
            if recorded.offset >= through[envelope.partition]:
                continue
            match envelope.event:
                case AccountCreated(account_id=account_id, name=name, role=role):
                    shown = {} if role == "member" else {"role": role}
                    accounts[str(account_id)] = {"type": "account", "ref": str(account_id), "name": name, **shown}
                case RoomCreated() as made:
                    rooms[str(made.room_id)] = {
                        "type": "room",
                        "ref": str(made.room_id),
                        "kind": made.kind,
                        "name": made.name,
                        "description": made.description,
                        "created_at": rfc3339(made.created_at),
                    }
                    members[str(made.room_id)] = {str(m.account_id): m.role for m in made.members}
                case RoomChanged(room_id=room_id, name=name, description=description):
                    rooms[str(room_id)] |= {"name": name, "description": description}
                case RoomDeleted(room_id=room_id):
                    del rooms[str(room_id)]
                    messages = {place: line for place, line in messages.items() if place[0] != str(room_id)}
                case MemberJoined(room_id=room_id, account_id=who, role=role):
                    members[str(room_id)][str(who)] = role
                case MemberChanged(room_id=room_id, account_id=who, role=role):
                    members[str(room_id)][str(who)] = role
                case MemberLeft(room_id=room_id, account_id=who):
                    del members[str(room_id)][str(who)]
                case MessagePosted(message=said) | MessageEdited(message=said) | MessageDeleted(message=said):
                    line = msgspec.to_builtins(stored(said))
                    line |= {"room": str(line.pop("room_id")), "author": str(line.pop("author_id"))}
                    line["mentions"] = [str(account_id) for account_id in said.mentions]
                    messages[line["room"], said.seq] = {"type": "message", **line}
                case ReactionAdded(room_id=room_id, seq=seq, emoji=emoji, account_id=who, reacted_at=reacted_at):
                    line = {"type": "reaction", "room": str(room_id), "seq": seq, "emoji": emoji, "account": str(who)}
                    reactions[str(room_id), seq, emoji, str(who)] = line | {"reacted_at": rfc3339(reacted_at)}
                case ReactionRemoved(room_id=room_id, seq=seq, emoji=emoji, account_id=who):
                    del reactions[str(room_id), seq, emoji, str(who)]
        if not events:
            break
        cursor = dict(after)
    for reader in readers:
        reader.close()
    for ref, room in rooms.items():
        room["members"] = [{"account": who, "role": role} for who, role in members[ref].items()]
    there = {place for place, line in messages.items() if not line["deleted"]}
    reacted = [line for place, line in reactions.items() if place[:2] in there]
    return [*accounts.values(), *rooms.values(), *messages.values(), *reacted]


def made_behind(row: Json, position: str) -> bool:
    """True if it is an account that was made after the position: an earlier room may refer to it."""
    if row["type"] != "account" or "at" not in row:
        return False
    partition, offset = row["at"].split(":")
    return int(offset) >= places_in(position)[int(partition)]


def comparable(lines: list[Json]) -> list[str]:
    """Rows in a fixed order, without their places in the log."""
    rows = []
    for line in lines:
        row = {name: value for name, value in line.items() if name not in ("at", "missing")}
        if row["type"] == "room":
            row["created_at"] = rfc3339(parse_rfc3339(row["created_at"]))
            row["members"] = sorted(row["members"], key=lambda member: int(member["account"]))
        if row["type"] == "reaction":
            row["reacted_at"] = rfc3339(parse_rfc3339(row["reacted_at"]))
        rows.append(msgspec.json.encode(row, order="sorted").decode())
    return sorted(rows)


def merged(export: bytes) -> list[Json]:
    return [msgspec.json.decode(raw) for _, raw in numbered(io.BytesIO(export), "the backup")]


class Busy:
    """People who act in all ways that a backup holds, while it is written."""

    def __init__(self, falcon: Falcon, people: list[Person], rooms: list[int], seed: int) -> None:
        self._falcon = falcon
        self._people = people
        self._rooms = rooms
        self._random = random.Random(seed)
        self.ended = False
        self.done = 0

    async def go_on(self) -> None:
        while not self.ended:
            method, path, body = self._act()
            who = self._falcon.admin if path == "/v1/accounts" else self._people[0]
            if "/reactions/" in path:
                who = self._random.choice(self._people)
            answer = await self._falcon._client.send(who.request(method, path, body))
            assert answer.status_code < 500, answer.text
            if path == "/v1/rooms" and answer.status_code == 201:
                self._rooms.append(answer.json()["room_id"])
            if path == "/v1/accounts":
                made = answer.json()
                self._people.append(Person(self._falcon, made["account_id"], made["name"], made["token"]))
            self.done += answer.status_code < 300

    def _act(self) -> tuple[str, str, Json | None]:
        room = f"/v1/rooms/{self._random.choice(self._rooms)}"
        other = self._random.choice(self._people[1:]).account_id
        message = f"{room}/messages/{self._random.randint(1, 3)}"
        acts: list[tuple[int, tuple[str, str, Json | None]]] = [
            (8, ("POST", f"{room}/messages", {"text": "Hi", "mentions": [other]})),
            (4, ("PATCH", message, {"text": "Ho"})),
            (2, ("DELETE", message, None)),
            (8, ("PUT", f"{message}/reactions/{self._random.choice('👍🎉')}", None)),
            (3, ("DELETE", f"{message}/reactions/{self._random.choice('👍🎉')}", None)),
            (3, ("PUT", f"{room}/members/{other}", {"role": self._random.choice(["member", "readonly", "admin"])})),
            (2, ("DELETE", f"{room}/members/{other}", None)),
            (2, ("PATCH", room, {"name": f"Name {self._random.random()}"})),
            (1, ("DELETE", room, None)),
            (3, ("POST", "/v1/rooms", {"name": "New", "members": [{"account_id": other, "role": "member"}]})),
            (1, ("POST", "/v1/accounts", {"name": "Newcomer"})),
            (1, ("PUT", f"/v1/direct/{other}", None)),
        ]
        weights = [weight for weight, _ in acts]
        return self._random.choices([act for _, act in acts], weights)[0]


@pytest.fixture
def crowded(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """On so many database files as the test asks for."""
    with Falcon(tmp_path / "crowded", processes=request.param) as falcon:
        people = [falcon.account(name) for name in ("Anna", "Ben", "Cleo")]
        made = falcon.together(
            *(people[0].request("POST", "/v1/rooms", {"name": f"Room {number}"}) for number in range(_ROOMS))
        )
        rooms = [answer.json()["room_id"] for answer in made]
        falcon.together(*(people[0].request("POST", f"/v1/rooms/{room}/messages", {"text": "First"}) for room in rooms))
        yield falcon, people, rooms


def let_others_act(edge: Any, busy: list[Busy], monkeypatch: pytest.MonkeyPatch) -> None:
    """They act before each tenth room is read, and much more before the ends of the log are read."""
    page, ends, read = edge.store.page, edge.tail.ends, itertools.count()

    async def others_do(acts: int) -> None:
        before = sum(each.done for each in busy)
        while sum(each.done for each in busy) < before + acts:
            await asyncio.sleep(0)

    async def page_later(*place: int) -> Any:
        if next(read) % 10 == 0:
            await others_do(1)
        return await page(*place)

    async def ends_later(segments: Any) -> Any:
        await others_do(60)
        return await ends(segments)

    monkeypatch.setattr(edge.store, "page", page_later)
    monkeypatch.setattr(edge.tail, "ends", ends_later)


@pytest.mark.parametrize(("crowded", "seed"), [(1, 1), (1, 2), (2, 3)], indirect=["crowded"])
def test_a_backup_made_under_load_is_what_the_log_says_at_its_position(
    crowded: tuple[Falcon, list[Person], list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    falcon, people, rooms = crowded

    async def backup() -> httpx.Response:
        busy = [Busy(falcon, people, rooms, seed * 10 + number) for number in range(4)]
        let_others_act(falcon.edge, busy, monkeypatch)
        tasks = [asyncio.create_task(each.go_on()) for each in busy]
        answer = await falcon._client.send(falcon.admin.request("GET", "/v1/export"))
        for each in busy:
            each.ended = True
        await asyncio.gather(*tasks)
        return answer

    export = falcon.run(backup()).content
    lines = [msgspec.json.decode(line) for line in export.splitlines()]
    assert sum("at" in line for line in lines) > 20, "nothing happened while it was written"
    _, *rows = merged(export)
    through = lines[-1]["position"]
    assert comparable([row for row in rows if not made_behind(row, through)]) == comparable(
        everything_at(falcon, through)
    )

    with Falcon(tmp_path / "other") as other:
        own = exported(other)[1:]
        ids = restored(export, other)
        arrived = [line for line in exported(other)[1:] if line not in own]
        assert comparable(arrived) == comparable([translated(row, ids) for row in rows])


@pytest.mark.parametrize("critical", [False, True])
def test_an_export_passes_over_what_a_newer_falcon_wrote_only_if_that_is_not_critical(
    tmp_path: Path, critical: bool
) -> None:
    with Falcon(tmp_path) as falcon:
        anna = falcon.account("Anna")
        room = anna.makes_room("Tea")
        applied = falcon.run(falcon.edge.store.applied_everywhere(falcon.edge.partitions))
        anna.says(room, "Before")
        _written_by_a_newer_falcon(falcon, critical=critical)
        lines: list[bytes] = []

        async def export() -> None:
            async for chunk in exporting.Export(falcon.edge, applied).lines(
                exporting._From(exporting._ExportSection.CHANGES)
            ):
                lines.extend(chunk.splitlines())

        if critical:
            with pytest.raises(exporting.ExportFailed, match="written by a newer Falcon"):
                falcon.run(export())
        else:
            falcon.run(export())
        types = [msgspec.json.decode(line)["type"] for line in lines]
        assert types == ["changes", *(["failed"] if critical else ["message", "end"])]


def test_the_changes_of_an_export_hold_no_text_that_is_deleted_by_its_end(tmp_path: Path) -> None:
    with Falcon(tmp_path) as falcon:
        anna = falcon.account("Anna")
        room = anna.makes_room("Tea")
        anna.says(room, "kept")
        applied = falcon.run(falcon.edge.store.applied_everywhere(falcon.edge.partitions))
        anna.says(room, "secret one")
        anna.says(room, "kept, too")
        assert anna.patch(f"{room}/messages/2", {"text": "secret two"}).status_code == 200
        assert anna.delete(f"{room}/messages/2").status_code == 204

        async def changes() -> bytes:
            start = exporting._From(exporting._ExportSection.CHANGES)
            return b"".join([chunk async for chunk in exporting.Export(falcon.edge, applied).lines(start)])

        written = falcon.run(changes())
        said = [line for line in map(msgspec.json.decode, written.splitlines()) if line["type"] == "message"]
        assert b"secret" not in written
        assert [(line["seq"], line["deleted"]) for line in said] == [(2, True), (3, False), (2, True), (2, True)]


def _written_by_a_newer_falcon(falcon: Falcon, *, critical: bool) -> None:
    connection = database.connect(falcon.settings.database)
    with database.transaction(connection):
        ((offset,),) = connection.execute("UPDATE log SET next = next + 1 RETURNING next - 1").fetchall()
        row = (offset, critical, b'{"at":1,"by":0,"event":{}}')
        connection.execute("INSERT INTO journal VALUES (?, 0, 1, 0, 0, 'room-painted', 1, ?, ?)", row)
    connection.close()


def restored(export: bytes, to: Falcon) -> Ids:
    """Imports as ``falcon import`` does."""
    ids = Ids()

    async def send(lines: bytes) -> Imported:
        answer = await to._client.send(to.admin.request("POST", "/v1/import", content=lines, headers=NDJSON))
        assert answer.status_code == 200, answer.text
        done = msgspec.json.decode(answer.content, type=Imported)
        ids.accounts |= done.accounts
        ids.rooms |= done.rooms
        return done

    to.run(import_lines(numbered(io.BytesIO(export), "the backup"), "the backup", send))
    return ids


def test_people_and_rooms_are_there_again_as_they_were_and_no_password_is_in_the_file(tmp_path: Path) -> None:
    with Falcon(tmp_path / "here") as falcon:
        admin = falcon.admin
        for role in ("owner", "admin", "member", "guest", "bot"):
            profile = {"handle": f"the.{role}", "email": f"{role}@example.org", "title": role.title()}
            made = admin.post("/v1/accounts", {"name": f"The {role}", "role": role, **profile}).json()
            admin.patch(f"/v1/accounts/{made['account_id']}", {"about": f"About {role}"})
        leaver, anna = falcon.account("Leaver"), falcon.account("Anna")
        assert anna.put("/v1/me/password", {"password": "tea at four o'clock"}).status_code == 204
        anna.patch("/v1/me", {"handle": "anna", "name": "Anna Maria"})
        signed_in = admin.post("/v1/sign-in", {"login": "anna", "password": "tea at four o'clock", "bearer": True})
        admin.patch(f"/v1/accounts/{leaver.account_id}", {"deactivated": True})
        lobby = admin.makes_room("Lobby", anna)
        admin.patch(str(lobby), {"open": True, "default": True})
        export = admin.get("/v1/export").content
        before = people_and_rooms(admin)
    for secret in (b"argon2", b"tea at four", signed_in.json()["token"].rpartition("_")[2].encode(), b"token"):
        assert secret not in export
    with Falcon(tmp_path / "there") as falcon:
        own = falcon.admin.account_id
        restored(export, falcon)
        assert people_and_rooms(falcon.admin, but=own) == before
        assert falcon.admin.post("/v1/sign-in", {"login": "anna", "password": "tea at four o'clock"}).status_code == 401
        answer = falcon.admin.post("/v1/accounts", {"name": "Impostor", "handle": "the.guest"})
        problem(answer, 409, "handle_taken")


def people_and_rooms(admin: Person, but: int = 0) -> list[Json]:
    """Profiles but for numbers and times, and the open rooms."""
    listed = admin.get("/v1/accounts", params={"limit": 200}).json()["accounts"]
    people = [each for each in listed if each["account_id"] != but]
    for each in people:
        del each["account_id"], each["created_at"]
    rooms = admin.get("/v1/rooms/directory").json()["rooms"]
    return [*sorted(people, key=lambda each: str(each["name"])), *({"open": each["name"]} for each in rooms)]


@pytest.mark.parametrize("files", [1, 2])
def test_a_backup_that_was_broken_off_is_exact_however_much_happened_since(tmp_path: Path, files: int) -> None:
    """Cut at each line: the rest of the export follows messages, rooms and people that the first part lacks."""
    with Falcon(tmp_path / "here", processes=files) as falcon:
        anna, ben = falcon.account("Anna"), falcon.account("Ben")
        tea, den = anna.makes_room("Tea", ben), anna.makes_room("Den", ben)
        for room in (tea, den):
            anna.says(room, "One")
            ben.says(room, "Two")
            for person, emoji in ((ben, "👍"), (anna, "👍"), (ben, "🎉")):
                person.put(f"{room}/messages/1/reactions/{emoji}")
        lines = falcon.admin.get("/v1/export").content.splitlines(keepends=True)
        since = msgspec.json.decode(lines[0])["position"]
        for cut in range(2, len(lines) - 1):
            row = msgspec.json.decode(lines[cut - 1])
            resume = (
                f"message:{row['room']}:{row['seq']}"
                if row["type"] in ("message", "reaction")
                else f"{row['type']}:{row['ref']}"
            )
            newcomer = falcon.account(f"Newcomer {cut}")
            lair = newcomer.makes_room(f"Lair {cut}", anna)
            newcomer.says(lair, "Hello")
            anna.says(tea, f"More {cut}")
            anna.patch(f"{den}/messages/1", {"text": f"Edited {cut}"})
            react = anna.put if cut % 2 else anna.delete
            react(f"{den}/messages/1/reactions/🎉")
            anna.put(f"{den}/members/{newcomer.account_id}", {"role": "readonly"})
            rest = falcon.admin.get("/v1/export", params={"resume": resume, "since": since}).content
            _, *rows = merged(b"".join(lines[:cut]) + rest)
            position = msgspec.json.decode(rest.splitlines()[-1])["position"]
            assert comparable(rows) == comparable(everything_at(falcon, position)), resume


def test_an_export_fails_where_the_timeline_stops_short_of_the_list_of_rooms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of rooms has a message that the timeline never gets."""
    monkeypatch.setattr(exporting, "_SHORT_SECONDS", 0.0)
    with Falcon(tmp_path) as falcon:
        anna = falcon.account("Anna")
        tea = anna.makes_room("Tea")
        for number in range(3):
            anna.says(tea, str(number))
        connection = database.connect(falcon.settings.database)
        connection.execute("DELETE FROM timeline WHERE place >= (? << 32 | 2)", (tea.room_id,))
        connection.close()
        lines: list[bytes] = []

        async def export() -> None:
            applied = await falcon.edge.store.applied_everywhere(falcon.edge.partitions)
            async for chunk in exporting.Export(falcon.edge, applied).lines(None):
                lines.extend(chunk.splitlines())

        with pytest.raises(exporting.ExportFailed):
            falcon.run(export())
        failed = msgspec.json.decode(lines[-1])
        assert failed["type"] == "failed"
        assert failed["detail"].startswith(f"room {tea.room_id} has 3 messages, but the timeline ends at 1")


def test_where_an_export_ends_the_tables_themselves_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an edge has heard of them may be older than the rows that the export has read."""
    with Falcon(tmp_path) as falcon:
        falcon.account("Anna")
        store = falcon.edge.store
        looked: list[int] = []
        applied_everywhere = store.applied_everywhere

        async def heard(*which: Any) -> Any:
            known = await applied_everywhere(*which)
            return known if looked else dict.fromkeys(known, Position())

        monkeypatch.setattr(store, "applied_everywhere", heard)
        monkeypatch.setattr(falcon.edge.reads.freshness, "invalidate", looked.extend)
        monkeypatch.setattr(falcon.edge.tail, "ends", _stale)
        last = msgspec.json.decode(falcon.admin.get("/v1/export").content.splitlines()[-1])
        assert last["type"] == "end"
        assert not last["position"].startswith("0:0")


async def _stale(segments: Any) -> dict[int, int]:
    """The brokers know of nothing yet."""
    return dict.fromkeys(segments, 0)
