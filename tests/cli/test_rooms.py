import msgspec
import pytest

from tests.cli.conftest import Run
from tests.cli.fake import FakeFalcon, account


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
    assert {request.headers["Authorization"] for request in server.requests} == {"Bearer t0ken"}


def test_a_stranger_is_found_by_no_name(run: Run, server: FakeFalcon) -> None:
    server.lists_accounts = False
    missed = run(server, "room", "direct", "Zoe")
    assert missed.stderr == "no account is called 'Zoe' (`falcon account find` finds people)\n"


def test_two_of_a_name_are_told_apart_by_id(run: Run, server: FakeFalcon, ben: int) -> None:
    server.accounts.append(account(140, "Ben"))
    result = run(server, "room", "add", "64", "Ben")
    assert (result.exit_code, result.stderr) == (1, "2 accounts are called 'Ben': give one of the ids 131, 140\n")
    assert run(server, "room", "add", "64", "140").stdout == "140 Ben: member\n"


def test_a_member_is_removed_by_name(run: Run, server: FakeFalcon) -> None:
    assert run(server, "room", "remove", "64", "Alice").stdout == "Removed: 130 Alice\n"
    assert server.members == []


def test_a_member_is_removed_by_handle_and_no_one_else(run: Run, server: FakeFalcon) -> None:
    server.accounts += [account(131, "Ben", handle="ben"), account(132, "Al", handle="alice2")]
    server.accounts[0]["handle"] = "al"
    assert run(server, "room", "remove", "64", "@ben").stderr == (
        "no member is called '@ben' (`falcon room members 64` lists them)\n"
    )
    assert run(server, "room", "remove", "64", "al").stdout == "Removed: 130 Alice\n"


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
