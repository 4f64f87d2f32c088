import msgspec
import pytest
from typer.testing import CliRunner

from falcon.cli import app
from falcon.cli.calling import Outside
from tests.cli.conftest import Run
from tests.cli.fake import FakeFalcon, account, listed_room


@pytest.fixture
def ben(server: FakeFalcon) -> int:
    """Ben has an account, and is in no room."""
    server.accounts.append(account(131, "Ben"))
    return 131


def test_a_room_is_made_with_members_and_roles(run: Run, server: FakeFalcon) -> None:
    result = run(server, "room", "create", "Tea", "--member", "130", "--member", "131:readonly")
    assert (result.exit_code, result.stdout) == (0, "64\n")
    assert (
        server.requests[0].content == b'{"name":"Tea","description":"","members":'
        b'[{"account_id":130,"role":"member"},{"account_id":131,"role":"readonly"}]}'
    )


def test_a_room_is_made_with_members_by_name(run: Run, server: FakeFalcon, ben: int) -> None:
    server.accounts.append(account(132, "Ops: night"))
    assert run(server, "room", "create", "Tea", "--member", "ben:admin", "--member", "Ops: night").exit_code == 0
    assert msgspec.json.decode(server.requests[-1].content)["members"] == [
        {"account_id": ben, "role": "admin"},
        {"account_id": 132, "role": "member"},
    ]


def test_a_member_that_is_none_is_a_fault_of_usage(run: Run, server: FakeFalcon) -> None:
    for member in ("130:owner", "130:", ":admin"):
        assert run(server, "room", "create", "Tea", "--member", member).exit_code == 2


def test_who_is_added_by_name_may_be_in_no_room_yet(run: Run, server: FakeFalcon, ben: int) -> None:
    added = run(server, "room", "add", "64", "Ben", "--role", "admin")
    assert (added.exit_code, added.stdout) == (0, "131 Ben: admin\n")
    asked = [request.headers["Authorization"] for request in server.requests]
    assert asked == ["Bearer 4dmin", "Bearer t0ken"]  # only an admin lists all accounts; the caller adds the member


def test_without_an_admins_token_people_of_ones_own_rooms_are_found_by_name(server: FakeFalcon, ben: int) -> None:
    server.rooms = [listed_room(64, "Tea")]
    server.members.append({"account_id": 131, "name": "Ben", "role": "member", "read_seq": 0})
    environment = {"FALCON_URL": "http://falcon.test", "FALCON_TOKEN": "t0ken"}

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), env=environment, obj=Outside(server.transport()))
        return result.stdout + result.stderr

    assert run("room", "direct", "Ben") == "1131\n"
    assert run("room", "direct", "Zoe") == (
        "no account is called 'Zoe' (an admin's `falcon account list` lists all accounts)\n"
    )
    assert all(request.headers["Authorization"] == "Bearer t0ken" for request in server.requests)


def test_two_of_a_name_are_told_apart_by_id(run: Run, server: FakeFalcon, ben: int) -> None:
    server.accounts.append(account(140, "Ben"))
    result = run(server, "room", "add", "64", "Ben")
    assert (result.exit_code, result.stderr) == (1, "2 accounts are called 'Ben': give one of the ids 131, 140\n")
    assert run(server, "room", "add", "64", "140").stdout == "140 Ben: member\n"


def test_a_member_is_removed_by_name(run: Run, server: FakeFalcon) -> None:
    assert run(server, "room", "remove", "64", "Alice").stdout == "Removed: 130 Alice\n"
    assert server.members == []


def test_a_rooms_members_are_listed(run: Run, server: FakeFalcon) -> None:
    lines = run(server, "room", "members", "64").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["Account", "Name", "Role", "Read", "up", "to"],
        ["130", "Alice", "admin", "#0"],
    ]
    assert msgspec.json.decode(run(server, "room", "members", "64", "--json").stdout) == server.members[0]


def test_a_room_is_renamed_and_described(run: Run, server: FakeFalcon) -> None:
    renamed = run(server, "room", "rename", "64", "Coffee")
    assert renamed.stdout == "Room 64 is called 'Coffee' now.\n"
    assert server.requests[-1].content == b'{"name":"Coffee"}'
    assert run(server, "room", "describe", "64", "").stdout == "Room 64 has a new description.\n"
    assert server.requests[-1].content == b'{"description":""}'
    assert msgspec.json.decode(run(server, "room", "rename", "64", "Milk", "--json").stdout)["name"] == "Milk"


def test_deleting_a_room_asks_first(run: Run, server: FakeFalcon) -> None:
    kept = run(server, "room", "delete", "64", input="n\n")
    assert kept.exit_code == 1 and 64 in server.messages
    assert kept.stderr.startswith("Delete room 64, 'Tea', with its 0 messages?")
    assert run(server, "room", "delete", "64", "--yes").stdout == "Room 64 is deleted.\n"
    assert server.messages == {}


def test_a_role_is_one_of_three(run: Run, server: FakeFalcon) -> None:
    assert run(server, "room", "add", "64", "131", "--role", "owner").exit_code == 2
