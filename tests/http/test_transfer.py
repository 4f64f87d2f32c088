"""Whole histories are exported from one Falcon and imported into another."""

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from falcon.features.messages.rules import ImportMessages
from falcon.features.messages.table import RoomSeq
from falcon.read.store import BeingFilled
from falcon.write.protocol import CommandEnvelope
from tests.http.commands import set_scene
from tests.support.http import Falcon, Json, Person, Room, problem, seqs, texts, without_more
from tests.support.store_calls import StoreCalls

NDJSON = {"Content-Type": "application/x-ndjson"}
AT = "2024-02-29T23:59:59.999Z"


def imports(falcon: Falcon, *lines: Json, by: Person | None = None) -> httpx.Response:
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return (by or falcon.admin).post("/v1/import", content=data, headers=NDJSON)


def imported(falcon: Falcon, *lines: Json) -> Json:
    """The body of a successful import's answer."""
    answer = imports(falcon, *lines)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    assert set(body) == {"accounts", "rooms", "imported", "skipped", "left_out", "taken"}
    return body


def whole_export(falcon: Falcon, **params: str) -> list[Json]:
    answer = falcon.admin.get("/v1/export", params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert answer.content.endswith(b"\n")
    lines = [json.loads(line) for line in answer.content.splitlines()]
    assert lines[-1]["type"] == "end"
    return lines


def position_now(falcon: Falcon) -> str:
    position: str = whole_export(falcon)[0]["position"]
    return position


def exported(falcon: Falcon, resume: str | None = None) -> list[Json]:
    """The rows of an export while nothing happens."""
    params = {} if resume is None else {"resume": resume, "since": position_now(falcon)}
    *rows, changes, end = whole_export(falcon, **params)
    assert (changes["type"], changes["through"]) == ("changes", end["position"])
    return rows


def account_line(ref: object = "1", **changed: Any) -> Json:
    return {"type": "account", "source": "there", "ref": ref, "name": f"Account {ref}", **changed}


def room_line(*members: Person, ref: str = "1", **changed: Any) -> Json:
    """A room whose first member is its admin."""
    roles = ["admin", *["member"] * len(members)]
    return {
        "type": "room",
        "source": "there",
        "ref": ref,
        "kind": "group",
        "name": "Imported",
        "description": "",
        "created_at": AT,
        "members": [{"account_id": m.account_id, "role": role} for m, role in zip(members, roles, strict=False)],
        **changed,
    }


def message_line(room: Room, seq: int, author: Person, **changed: Any) -> Json:
    return {
        "type": "message",
        "room_id": room.room_id,
        "seq": seq,
        "author_id": author.account_id,
        "text": f"Message {seq}",
        "posted_at": AT,
        "edited_at": None,
        "deleted": False,
        "reply_to": None,
        "mentions": [],
        **changed,
    }


@pytest.fixture
def there(anna: Person, ben: Person) -> Room:
    """An imported room. Anna is its admin, Ben a member."""
    done = imported(anna.falcon, room_line(anna, ben, ref=f"there of {anna.account_id}"))
    return Room(anna.falcon, next(iter(done["rooms"].values())))


# --- export -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """A Falcon with data of every kind."""
    with Falcon(tmp_path_factory.mktemp("rich")) as falcon:
        scene = set_scene(falcon)
        anna, ben, cleo, room = scene.anna, scene.ben, scene.cleo, scene.room
        ben.says(room, "Please 🫖\n\0", reply_to=1)
        anna.patch(f"{room}/messages/1", {"text": "Tea or coffee?"})
        ben.says(room, "Oops")
        ben.delete(f"{room}/messages/3")
        anna.put(f"{room}/members/{cleo.account_id}", {"role": "readonly"})
        anna.says(anna.direct_with(ben), "Psst")
        cleo.direct_with(anna)
        anna.delete(str(anna.makes_room("Deleted")))
        left = ben.makes_room("Left", anna)
        anna.says(left, "Bye", mentions=[ben.account_id])
        anna.delete(f"{left}/members/{anna.account_id}")
        yield falcon


def test_an_export_has_accounts_then_rooms_then_messages(rich: Falcon) -> None:
    header, *lines = exported(rich)
    assert header == {
        "type": "falcon-export",
        "version": 2,
        "source": rich.edge.instance,
        "position": position_now(rich),
    }
    kinds = [line["type"] for line in lines]
    assert kinds == ["account"] * 4 + ["room"] * 4 + ["message"] * 5
    for kind in ("account", "room"):
        refs = [int(line["ref"]) for line in lines if line["type"] == kind]
        assert refs == sorted(refs)
    places = [(int(line["room"]), line["seq"]) for line in lines if line["type"] == "message"]
    assert places == sorted(places)


def test_the_lines_of_an_export(falcon: Falcon, anna: Person, ben: Person, room: Room) -> None:
    anna.says(room, "Ben?", mentions=[ben.account_id])
    posted = ben.post(f"{room}/messages", {"text": "Yes", "reply_to": 1}).json()
    lines = exported(falcon)
    assert {"type": "account", "ref": str(anna.account_id), "name": "Anna"} in lines
    assert {
        "type": "room",
        "ref": str(room.room_id),
        "kind": "group",
        "name": "Tea kitchen",
        "description": "",
        "created_at": anna.get(str(room)).json()["created_at"],
        "members": sorted(
            [
                {"account": str(anna.account_id), "role": "admin"},
                {"account": str(ben.account_id), "role": "member"},
            ],
            key=lambda member: int(member["account"]),
        ),
    } in lines
    assert {
        "type": "message",
        "room": str(room.room_id),
        "seq": 2,
        "author": str(ben.account_id),
        "text": "Yes",
        "posted_at": posted["posted_at"],
        "edited_at": None,
        "deleted": False,
        "reply_to": 1,
        "mentions": [],
    } in lines


def test_an_export_goes_on_after_any_line_that_was_the_last(rich: Falcon) -> None:
    _, *lines = exported(rich)
    for index, line in enumerate(lines):
        match line["type"]:
            case "message":
                resume = f"message:{line['room']}:{line['seq']}"
            case kind:
                resume = f"{kind}:{line['ref']}"
        assert exported(rich, resume) == lines[index + 1 :], resume


def test_an_export_with_more_than_fits_in_one_read(tmp_path: Path) -> None:
    """A query reads some hundred rows: at the boundaries something could be lost."""
    with Falcon(tmp_path) as falcon:
        anna = falcon.account("Anna")
        accounts = imported(falcon, *(account_line(str(i)) for i in range(450)))["accounts"]
        crowd = [Person(falcon, account_id, ref, "") for ref, account_id in accounts.items()]
        rooms = imported(falcon, *(room_line(anna, *crowd[:201], ref=str(i)) for i in range(3)))["rooms"]
        for ref, count in (("0", 199), ("1", 200), ("2", 401)):
            room = Room(falcon, rooms[ref])
            imported(falcon, *(message_line(room, seq, anna) for seq in range(1, count + 1)))
        _, *lines = exported(falcon)
        assert [line["type"] for line in lines] == ["account"] * 452 + ["room"] * 3 + ["message"] * 800
        assert len({json.dumps(line) for line in lines}) == len(lines)
        assert all(len(line["members"]) == 202 for line in lines if line["type"] == "room")


@pytest.mark.parametrize(
    "resume",
    [
        *("", "x", ":", "room:", "room:1:2", "message:1", "message:1:0", "message:1:2:3", "message::1"),
        *("account", "account:", "account:x", "account:0", "account:1:2", "account:\0", "account:9007199254740992"),
        "account:" + "9" * 5000,
    ],
)
def test_an_export_goes_on_from_what_it_gave(admin: Person, resume: str) -> None:
    since = position_now(admin.falcon)
    problem(admin.get("/v1/export", params={"resume": resume, "since": since}), 422, "invalid", "resume")


@pytest.mark.parametrize(
    "params",
    [
        {"resume": "account:1"},
        {"since": "0:1"},
        *({"resume": "account:1", "since": since} for since in ("", "x", "0:1", "0:1,0:1", "0:-1", "99999:1")),
    ],
)
def test_an_export_goes_on_with_the_position_of_its_first_line(admin: Person, params: Json) -> None:
    problem(admin.get("/v1/export", params=params), 422, "invalid", "since")


def test_an_export_does_not_go_on_from_beyond_the_log(admin: Person) -> None:
    since = ",".join(f"{partition}:{10**15}" for partition in range(admin.falcon.settings.partitions))
    problem(admin.get("/v1/export", params={"resume": "account:1", "since": since}), 422, "invalid", "since")


@pytest.mark.parametrize("resume", ["account:9007199254740991", "message:9007199254740991:9007199254740991"])
def test_an_export_goes_on_from_what_is_not_there(rich: Falcon, resume: str) -> None:
    """Resumes as from the next line: the thing that a line named may have been deleted since."""
    kinds = {line["type"] for line in exported(rich, resume)}
    assert kinds <= ({"room", "message"} if resume.startswith("account") else set())


def test_only_an_admin_exports_and_imports(anna: Person) -> None:
    problem(anna.get("/v1/export"), 403, "not_allowed")
    problem(imports(anna.falcon, account_line(), by=anna), 403, "not_allowed")


# --- there and back ---------------------------------------------------------------------------------------------------


class Ids:
    """Ids in the importing Falcon, by the refs of the export."""

    def __init__(self) -> None:
        self.accounts: dict[str, int] = {}
        self.rooms: dict[str, int] = {}


def move(lines: list[Json], to: Falcon) -> tuple[Ids, int, int]:
    """Imports as ``falcon import`` does; gives the ids, and how many messages were imported and skipped."""
    header, *rest = lines
    source = {"source": header["source"]}
    ids = Ids()
    ids.accounts = imported(to, *({**line, **source} for line in rest if line["type"] == "account"))["accounts"]
    rooms = [line for line in rest if line["type"] == "room"]
    for line in rooms:
        members = [{"account_id": ids.accounts[m["account"]], "role": m["role"]} for m in line["members"]]
        ids.rooms |= imported(to, {**line, **source, "members": members})["rooms"]
    messages = [
        {
            **{name: line[name] for name in line if name not in ("room", "author")},
            "room_id": ids.rooms[line["room"]],
            "author_id": ids.accounts[line["author"]],
            "mentions": [ids.accounts[ref] for ref in line["mentions"]],
        }
        for line in rest
        if line["type"] == "message"
    ]
    done = imported(to, *messages)
    return ids, done["imported"], done["skipped"]


def translated(line: Json, ids: Ids) -> Json:
    """The line that the other Falcon should export."""
    match line["type"]:
        case "account":
            return {**line, "ref": str(ids.accounts[line["ref"]])}
        case "room":
            members = [{**m, "account": str(ids.accounts[m["account"]])} for m in line["members"]]
            members.sort(key=lambda member: int(member["account"]))
            return {**line, "ref": str(ids.rooms[line["ref"]]), "members": members}
        case "reaction":
            account = str(ids.accounts[line["account"]])
            return {**line, "room": str(ids.rooms[line["room"]]), "account": account}
        case _:
            return {
                **line,
                "room": str(ids.rooms[line["room"]]),
                "author": str(ids.accounts[line["author"]]),
                "mentions": [str(ids.accounts[ref]) for ref in line["mentions"]],
            }


def messages_in(lines: Iterable[Json]) -> int:
    return sum(line["type"] == "message" for line in lines)


def test_what_was_exported_and_imported_is_the_same_and_again_changes_nothing(rich: Falcon, tmp_path: Path) -> None:
    header, *lines = exported(rich)
    with Falcon(tmp_path) as other:
        own = exported(other)[1:]
        ids, moved, skipped = move([header, *lines], other)
        assert (moved, skipped) == (messages_in(lines), 0)
        arrived = [line for line in exported(other)[1:] if line not in own]
        expected = [translated(line, ids) for line in lines]
        assert sorted(map(json.dumps, arrived)) == sorted(map(json.dumps, expected))

        before = exported(other)
        again, moved, skipped = move([header, *lines], other)
        assert (moved, skipped) == (0, messages_in(lines))
        assert (again.accounts, again.rooms) == (ids.accounts, ids.rooms)
        assert exported(other) == before


def test_an_import_goes_on_where_it_stopped_also_after_a_restart(rich: Falcon, tmp_path: Path) -> None:
    lines = exported(rich)
    with Falcon(tmp_path) as other:
        first, moved, _ = move(lines[:-2], other)
        assert moved == messages_in(lines) - 2
    with Falcon(tmp_path) as other:
        ids, moved, skipped = move(lines, other)
        assert (moved, skipped) == (2, messages_in(lines) - 2)
        assert (ids.accounts, ids.rooms) == (first.accounts, first.rooms)


def test_two_imports_of_the_same_at_once_make_one(falcon: Falcon, anna: Person, there: Room) -> None:
    lines = [account_line(f"twice {anna.account_id}"), *(message_line(there, seq, anna) for seq in range(1, 301))]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    both = [falcon.admin.request("POST", "/v1/import", content=data, headers=NDJSON) for _ in range(3)]
    answers = [answer.json() for answer in falcon.together(*both)]
    assert sum(answer["imported"] for answer in answers) == 300
    assert sum(answer["skipped"] for answer in answers) == 600
    assert len({json.dumps(answer["accounts"]) for answer in answers}) == 1
    assert seqs(anna.reads(there, after=0, limit=200)) == list(range(1, 201))


def test_a_command_of_an_import_weighs_what_it_brings(
    anna: Person, there: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of imports must not be larger than an owner takes: all commands in it would be lost."""
    edge, sizes = anna.falcon.edge, list[tuple[int, int]]()
    ask = edge.gateway.ask

    def weigh(envelope: CommandEnvelope) -> Any:
        if isinstance(envelope.command, ImportMessages):
            sizes.append((envelope.size, sum(len(message.text) for message in envelope.command.messages)))
        return ask(envelope)

    monkeypatch.setattr(edge.gateway, "ask", weigh)
    imported(anna.falcon, *(message_line(there, seq, anna, text="x" * 10_000) for seq in range(1, 61)))
    assert [text for _, text in sizes] == [200_000] * 3
    assert all(text <= size < text * 1.1 for size, text in sizes)


# --- what is imported -------------------------------------------------------------------------------------------------


def test_an_imported_account_can_be_given_a_token_and_talk(falcon: Falcon, anna: Person) -> None:
    account_id = imported(falcon, account_line("Dora", name="Dora"))["accounts"]["Dora"]
    assert falcon.admin.get(f"/v1/accounts/{account_id}/tokens").json() == {"tokens": []}
    token = falcon.admin.post(f"/v1/accounts/{account_id}/tokens").json()["token"]
    dora = Person(falcon, account_id, "Dora", token)
    assert dora.get("/v1/me").json()["is_admin"] is False
    assert dora.says(dora.direct_with(anna), "Hello") == 1


def test_an_imported_room_is_as_it_was(anna: Person, ben: Person, there: Room) -> None:
    shown = anna.get(str(there)).json()
    assert (shown.pop("open"), shown.pop("default"), shown.pop("peer_id")) == (False, False, None)
    assert shown == {
        "room_id": there.room_id,
        "kind": "group",
        "name": "Imported",
        "description": "",
        "role": "admin",
        "last_seq": 0,
        "created_at": AT,
    }
    assert ben.get(str(there)).json()["role"] == "member"


def members_line(room: Room, *members: Person) -> Json:
    of_room = [{"account_id": member.account_id, "role": "member"} for member in members]
    return {"type": "members", "room_id": room.room_id, "members": of_room}


def test_further_members_come_in_lines_of_their_own(anna: Person, ben: Person, cleo: Person, there: Room) -> None:
    for _ in range(2):  # repeating it changes nothing
        answer = imported(
            anna.falcon, members_line(there, ben), members_line(there, cleo), message_line(there, 1, cleo)
        )
    assert (answer["imported"], answer["skipped"]) == (0, 1)
    found = anna.get(f"{there}/members").json()["members"]
    assert {each["account_id"] for each in found} == {anna.account_id, ben.account_id, cleo.account_id}
    assert cleo.says(there, "hello") == 2


def test_an_import_that_goes_on_adds_members_to_a_room_that_people_write_in(
    anna: Person, cleo: Person, there: Room
) -> None:
    anna.says(there, "hello")
    assert imported(anna.falcon, members_line(there, cleo))["left_out"] == {}
    assert cleo.says(there, "hello") == 2


def test_members_who_may_have_left_the_room_are_not_added_and_are_counted(
    anna: Person, ben: Person, cleo: Person, there: Room
) -> None:
    assert anna.delete(f"{there}/members/{ben.account_id}").is_success
    assert imported(anna.falcon, members_line(there, anna, ben, cleo))["left_out"] == {str(there.room_id): 2}
    assert ben.get(str(there)).status_code == cleo.get(str(there)).status_code == 404


def test_what_people_wrote_in_a_room_is_not_taken_for_a_message_of_the_file(
    anna: Person, ben: Person, there: Room
) -> None:
    imported(anna.falcon, message_line(there, 1, anna))
    anna.says(there, "in between")
    of_the_file = [message_line(there, 1, anna), *(message_line(there, seq, ben) for seq in (2, 3))]
    refused = imports(anna.falcon, *of_the_file)
    problem(refused, 403, "not_allowed", "line 2: seq")
    assert texts(anna.reads(there)) == ["Message 1", "in between"]


def test_what_all_lines_name_is_looked_up_at_once(
    falcon: Falcon, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    guests = [falcon.account(f"Guest {number}") for number in range(3)]
    groups = [room_line(anna, guest, ref=f"with {guest.account_id}") for guest in guests]
    directs = [room_line(anna, guest, ref=f"for {guest.account_id}", kind="direct", name="") for guest in guests]
    calls = StoreCalls(falcon, monkeypatch)
    made = imported(falcon, *groups, *directs)["rooms"]
    there = [Room(falcon, room_id) for room_id in made.values()]
    lines = [message_line(room, 1, guest) for room, guest in zip(there, guests * 2, strict=True)]
    for _ in range(2):  # the second time the rooms have all of it
        imported(falcon, *lines)
    looks = Counter(calls.made)
    assert (looks["names_of"], looks["rooms_among"], looks["direct_rooms"], looks["messages"]) == (1, 2, 1, 1)
    assert not {"room", "message"} & looks.keys(), "nothing is looked up by itself"


def test_the_messages_that_rooms_have_are_looked_up_in_fifty_rooms_at_a_time(
    falcon: Falcon, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two queries other requests have a turn."""
    made = imported(falcon, *(room_line(anna, ref=f"{number} of {anna.account_id}") for number in range(101)))
    lines = [message_line(Room(falcon, room_id), 1, anna) for room_id in made["rooms"].values()]
    imported(falcon, *lines)
    asked, turns = list[tuple[int, int]](), list[None]()
    messages = falcon.edge.store.messages

    async def ask(wanted: Collection[RoomSeq]) -> dict[RoomSeq, bytes]:
        asked.append((len(wanted), len(turns)))
        asyncio.get_running_loop().call_soon(turns.append, None)
        return await messages(wanted)

    monkeypatch.setattr(falcon.edge.store, "messages", ask)
    assert imported(falcon, *lines)["skipped"] == 101
    assert asked == [(50, 0), (50, 1), (1, 2)]


def test_accounts_are_imported_while_the_tables_of_rooms_and_messages_are_filled(
    falcon: Falcon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def being_filled(_: object) -> object:
        raise BeingFilled("a model")

    for query in ("rooms_among", "direct_rooms", "messages"):
        monkeypatch.setattr(falcon.edge.store, query, being_filled)
    assert "Fay" in imported(falcon, account_line("Fay"))["accounts"]


def test_members_that_cannot_be_imported_are_named(anna: Person, ben: Person, room: Room, there: Room) -> None:
    nobody = Person(anna.falcon, 2**53 - 1, "", "")
    problem(imports(anna.falcon, members_line(room, ben)), 403, "not_allowed", "line 1: room_id")
    refused = imports(anna.falcon, members_line(there, ben, nobody))
    problem(refused, 422, "invalid", "line 1: members[1].account_id")
    nowhere = members_line(there, ben) | {"room_id": 2**53 - 1}
    problem(imports(anna.falcon, nowhere), 404, "room_not_found", "line 1: room_id")


def test_an_imported_message_is_as_it_was(anna: Person, ben: Person, there: Room) -> None:
    line = message_line(there, 1, ben, edited_at="2025-01-01T00:00:00.000Z", mentions=[anna.account_id])
    assert imported(anna.falcon, line, message_line(there, 2, anna, deleted=True, text="gone"))["imported"] == 2
    del line["type"]
    assert without_more(anna.message(there, 1)) == line
    gone = anna.message(there, 2)
    assert (gone["deleted"], gone["text"]) == (True, "")


def reaction_line(room: Room, seq: int, emoji: str, person: Person) -> Json:
    return {
        "type": "reaction",
        "room_id": room.room_id,
        "seq": seq,
        "emoji": emoji,
        "account_id": person.account_id,
        "reacted_at": AT,
    }


def test_imported_reactions_are_as_they_were(anna: Person, ben: Person, cleo: Person, there: Room) -> None:
    """In the same request as their message, and of an account that is no member."""
    told = [("👍", cleo), ("🎉", ben), ("👍", anna)]
    reactions = [reaction_line(there, 1, emoji, person) for emoji, person in told]
    for _ in range(2):
        imported(anna.falcon, message_line(there, 1, ben), *reactions)
    listed = anna.get(f"{there}/messages/1/reactions").json()["reactions"]
    assert listed == [{"emoji": e, "account_id": p.account_id, "reacted_at": AT} for e, p in told]
    assert [(each["emoji"], each["count"]) for each in anna.message(there, 1)["reactions"]] == [("👍", 2), ("🎉", 1)]
    anna.delete(f"{there}/messages/1")
    imported(anna.falcon, message_line(there, 1, ben), *reactions)
    assert anna.message(there, 1)["reactions"] == []


def test_reactions_that_cannot_be_imported_are_named(anna: Person, ben: Person, room: Room, there: Room) -> None:
    imported(anna.falcon, message_line(there, 1, ben))
    good = reaction_line(there, 1, "👍", ben)
    for line, status, code, field in (
        (good | {"emoji": "x"}, 422, "invalid", "line 1: emoji"),
        (good | {"seq": 2}, 422, "invalid", "line 1: seq"),
        (good | {"account_id": 2**40}, 422, "invalid", "line 1: account_id"),
        (good | {"reacted_at": "yesterday"}, 422, "invalid", "line 1: reacted_at"),
        (good | {"room_id": room.room_id}, 403, "not_allowed", None),
    ):
        problem(imports(anna.falcon, line), status, code, field)


def test_people_talk_on_in_an_imported_room(anna: Person, ben: Person, there: Room) -> None:
    imported(anna.falcon, message_line(there, 1, anna))
    assert ben.says(there, "On with it", reply_to=1) == 2
    assert anna.patch(f"{there}/messages/1", {"text": "Edited"}).status_code == 200
    gap = imports(anna.falcon, message_line(there, 2, anna), message_line(there, 4, anna))
    problem(gap, 422, "invalid", "line 2: seq")
    assert imported(anna.falcon, message_line(there, 1, anna))["skipped"] == 1
    assert texts(anna.reads(there)) == ["Edited", "On with it"]


def test_an_imported_direct_room_is_the_one_of_its_two(anna: Person, ben: Person, cleo: Person) -> None:
    line = room_line(ref=f"direct {anna.account_id}", kind="direct", name="")
    line["members"] = [{"account_id": person.account_id, "role": "member"} for person in (anna, ben)]
    room_id = imported(anna.falcon, line)["rooms"][line["ref"]]
    opened = anna.put(f"/v1/direct/{ben.account_id}")
    assert (opened.status_code, opened.json()["room_id"], opened.json()["name"]) == (200, room_id, "Ben")

    anna.direct_with(cleo)
    line["ref"], line["members"][1]["account_id"] = "another", cleo.account_id
    refused = imports(anna.falcon, line, {**line, "ref": "once more"})
    problem(refused, 403, "not_allowed", "line 1: members")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2026-11-25T09:30:00.123Z", "2026-11-25T09:30:00.123Z"),
        ("2026-11-25T09:30:00Z", "2026-11-25T09:30:00.000Z"),
        ("2026-11-25T09:30:00.123456Z", "2026-11-25T09:30:00.123Z"),
        ("2026-11-25T09:30:00+09:00", "2026-11-25T00:30:00.000Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ("1000-01-01T00:00:00Z", "1000-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_come_in_any_zone_and_go_out_in_utc(anna: Person, there: Room, written: str, kept: str) -> None:
    imported(anna.falcon, message_line(there, 1, anna, posted_at=written, edited_at=written))
    message = anna.message(there, 1)
    assert (message["posted_at"], message["edited_at"]) == (kept, kept)


def test_blank_lines_and_other_line_ends_say_nothing(falcon: Falcon) -> None:
    lines = [json.dumps(account_line(ref)).encode() for ref in ("blank 1", "blank 2")]
    for data in (b"\n\n" + lines[0] + b"\r\n \r\n" + lines[1] + b"\r\n", b"\n".join(lines)):
        answer = falcon.admin.post("/v1/import", content=data, headers=NDJSON)
        assert set(answer.json()["accounts"]) == {"blank 1", "blank 2"}
    for nothing in (b"", b"\n", b" \r\n\n"):
        answer = falcon.admin.post("/v1/import", content=nothing, headers=NDJSON)
        assert answer.json() == {"accounts": {}, "rooms": {}, "imported": 0, "skipped": 0, "left_out": {}, "taken": {}}


# --- what cannot be imported ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({}, "type"),
        ({"type": "falcon-export", "version": 1}, "type"),
        ({"type": None}, "type"),
        ({"type": "account", "source": "s", "ref": "r"}, "name"),
        (account_line(name=""), "name"),
        (account_line(name="x" * 256), "name"),
        (account_line(source=""), "source"),
        (account_line(ref=""), "ref"),
        (account_line(ref=1), "ref"),
        (account_line(is_admin=True), "is_admin"),
        (room_line(kind="channel"), "kind"),
        (room_line(name="x" * 256), "name"),
        (room_line(description="x" * 4097), "description"),
        (room_line(created_at="yesterday"), "created_at"),
        (room_line(created_at="2026-11-25"), "created_at"),
        (room_line(created_at="2026-11-25T09:30:00"), "created_at"),
        (room_line(created_at="2026-02-30T09:30:00Z"), "created_at"),
        (room_line(created_at=1764063000), "created_at"),
        (room_line(members=[{"account": "1", "role": "admin"}]), "members[0].account"),
        (room_line(members=[{"account_id": 1, "role": "owner"}]), "members[0].role"),
        ({"type": "message", "room": "1"}, "room"),
    ],
)
def test_a_line_that_cannot_be_is_named_with_its_field(falcon: Falcon, line: Json, field: str) -> None:
    refused = imports(falcon, account_line("before a wrong line"), line)
    problem(refused, 422, "invalid", f"line 2: {field}")
    assert "before a wrong line" not in [each.get("name") for each in exported(falcon)]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"seq": 0}, "seq"),
        ({"seq": 2**53}, "seq"),
        ({"seq": "1"}, "seq"),
        ({"text": ""}, "text"),
        ({"text": "é" * 32_768}, "text"),
        ({"text": None}, "text"),
        ({"posted_at": ""}, "posted_at"),
        ({"posted_at": None}, "posted_at"),
        ({"edited_at": "x"}, "edited_at"),
        ({"deleted": 1}, "deleted"),
        ({"reply_to": 0}, "reply_to"),
        ({"mentions": ["1"]}, "mentions[0]"),
        ({"mentions": [1] * 101}, "mentions"),
        ({"author_id": 0}, "author_id"),
        ({"room_id": 0}, "room_id"),
        ({"author": "1"}, "author"),
    ],
)
def test_a_message_that_cannot_be_is_named_with_its_field(anna: Person, there: Room, changed: Json, field: str) -> None:
    refused = imports(anna.falcon, message_line(there, 1, anna), {**message_line(there, 2, anna), **changed})
    problem(refused, 422, "invalid", f"line 2: {field}")
    assert seqs(anna.reads(there)) == []


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"x",
        b"\xff",
        b'{"type": "\xff"}',
        b'{"type": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"NaN",
    ],
)
def test_a_line_that_is_no_json_is_named(falcon: Falcon, data: bytes) -> None:
    good = json.dumps(account_line("before no json")).encode()
    refused = falcon.admin.post("/v1/import", content=good + b"\n" + data, headers=NDJSON)
    assert "ine 2" in problem(refused, 400, "malformed")["detail"]
    assert "Account before no json" not in [each.get("name") for each in exported(falcon)]


@pytest.mark.parametrize("data", [b"[]", b"1", b"null", b'"x"'])
def test_a_line_is_an_object(falcon: Falcon, data: bytes) -> None:
    problem(falcon.admin.post("/v1/import", content=data, headers=NDJSON), 422, "invalid", "line 1: body")


@pytest.mark.parametrize("media_type", [None, "application/json", "text/plain", "application/ndjson", ""])
def test_an_import_is_ndjson_and_says_so(falcon: Falcon, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    data = json.dumps(account_line()).encode()
    refused = falcon.admin.post("/v1/import", content=data, headers=headers)
    problem(refused, 415, "unsupported_media_type")


def test_an_import_has_at_most_2000_lines_and_a_mebibyte(falcon: Falcon, anna: Person, there: Room) -> None:
    lines = [message_line(there, seq, anna, text="x") for seq in range(1, 2002)]
    problem(imports(falcon, *lines), 413, "too_large")
    assert imported(falcon, *lines[:2000])["imported"] == 2000
    blanks = b" " * (1 << 20)
    problem(falcon.admin.post("/v1/import", content=blanks + b" ", headers=NDJSON), 413, "too_large")
    assert falcon.admin.post("/v1/import", content=blanks, headers=NDJSON).status_code == 200


def test_messages_go_into_rooms_that_were_imported(anna: Person, room: Room) -> None:
    problem(imports(anna.falcon, message_line(room, 1, anna)), 403, "not_allowed")
    nowhere = message_line(room, 1, anna) | {"room_id": 2**53 - 1}
    problem(imports(anna.falcon, nowhere), 404, "room_not_found")
    an_account = message_line(room, 1, anna) | {"room_id": anna.account_id}
    problem(imports(anna.falcon, an_account), 404, "room_not_found")


@pytest.mark.parametrize("depth", [100, 5_000, 100_000])
def test_deep_nesting_is_refused_like_anything_else(falcon: Falcon, depth: int) -> None:
    data = b'{"x":' + b"[" * depth + b"]" * depth + b"}"
    refused = falcon.admin.post("/v1/import", content=data, headers=NDJSON)
    assert problem(refused, refused.status_code, "invalid" if refused.status_code == 422 else "malformed")


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z"]
)
def test_a_time_past_all_bounds_is_refused(anna: Person, there: Room, time: str) -> None:
    for line in (
        room_line(anna, ref="long ago", created_at=time),
        message_line(there, 1, anna, posted_at=time),
        message_line(there, 1, anna, edited_at=time),
    ):
        assert problem(imports(anna.falcon, line), 422, "invalid")["errors"]


# --- all or nothing, and only what is possible otherwise --------------------------------------------------------------


def test_sources_and_refs_do_not_run_into_one_another(falcon: Falcon) -> None:
    one = imported(falcon, account_line("c", source="a/b", name="One"))["accounts"]["c"]
    another = imported(falcon, account_line("b/c", source="a", name="Another"))["accounts"]["b/c"]
    assert one != another


def test_a_refused_room_leaves_no_account_behind(falcon: Falcon) -> None:
    problem(imports(falcon, account_line("left behind"), room_line(ref="no admin")), 422, "invalid", "line 2: members")
    assert "Account left behind" not in [line.get("name") for line in exported(falcon)]


@pytest.mark.parametrize("why", ["the room was not imported", "the two have a room already"])
def test_what_only_the_rooms_know_leaves_no_account_behind_either(
    falcon: Falcon, anna: Person, ben: Person, room: Room, why: str
) -> None:
    account = account_line(f"left behind since {why}")
    if why == "the room was not imported":
        refused = imports(falcon, account, message_line(room, 1, anna))
    else:
        anna.direct_with(ben)
        refused = imports(falcon, account, room_line(anna, ben, ref="second", kind="direct"))
    problem(refused, 403, "not_allowed")
    assert account["name"] not in [line.get("name") for line in exported(falcon)]


def test_a_message_that_comes_twice_in_a_request_is_imported_once(anna: Person, there: Room) -> None:
    twice = [*range(1, 260), 259, *range(258, 262)]
    done = imported(anna.falcon, *(message_line(there, seq, anna) for seq in twice))
    assert (done["imported"], done["skipped"]) == (261, 3)
    assert anna.get(str(there)).json()["last_seq"] == 261


def test_a_gap_anywhere_leaves_no_message_behind(anna: Person, there: Room) -> None:
    lines = [message_line(there, seq, anna) for seq in [*range(1, 300), 400]]
    problem(imports(anna.falcon, *lines), 422, "invalid", "line 300: seq")
    assert seqs(anna.reads(there)) == []


@pytest.mark.parametrize("kind", ["group", "direct"])
def test_an_imported_room_needs_members_that_exist(falcon: Falcon, anna: Person, kind: str) -> None:
    nobody = Person(falcon, 2**53 - 1, "", "")
    refused = imports(falcon, room_line(anna, nobody, ref=f"with nobody {kind}", kind=kind))
    assert refused.status_code in (404, 422), refused.text


@pytest.mark.parametrize("field", ["author_id", "mentions"])
def test_an_imported_message_needs_people_that_exist(anna: Person, there: Room, field: str) -> None:
    changed = {field: 2**53 - 1 if field == "author_id" else [2**53 - 1]}
    refused = imports(anna.falcon, message_line(there, 1, anna) | changed)
    assert refused.status_code in (404, 422), refused.text


def test_an_imported_message_that_is_deleted_mentions_nobody(anna: Person, ben: Person, there: Room) -> None:
    imported(anna.falcon, message_line(there, 1, anna, deleted=True, text="", mentions=[ben.account_id]))
    assert anna.message(there, 1)["mentions"] == []
    assert ben.summary(there)["mentions"] == 0


def test_an_import_fits_through_a_small_mailbox(tmp_path: Path) -> None:
    with Falcon(tmp_path, mailbox_bound=10) as falcon:
        assert len(imported(falcon, *(account_line(str(i)) for i in range(50)))["accounts"]) == 50
