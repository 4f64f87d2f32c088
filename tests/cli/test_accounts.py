from datetime import UTC, datetime

import msgspec
import pytest
from typer.testing import CliRunner

from falcon.cli import app
from falcon.cli.calling import Outside
from tests.cli.conftest import Run
from tests.cli.fake import FakeFalcon, Script, account, problem


def test_an_account_is_made_and_its_token_shown(run: Run, server: FakeFalcon) -> None:
    assert run(server, "account", "add", "Ben", "--role", "guest", "--handle", "ben").stdout == "130 secret\n"
    assert server.requests[-1].headers["Authorization"] == "Bearer 4dmin"
    asked = msgspec.json.decode(server.requests[-1].content)
    assert asked == {"name": "Ben", "role": "guest", "handle": "ben"}


def test_an_account_is_made_once_with_one_key(run: Run, server: FakeFalcon) -> None:
    run(server, "account", "add", "Ben", "--key", "one")
    run(server, "room", "create", "Tea", "--key", "two")
    commands = [request for request in server.requests if request.method == "POST"]
    assert [request.headers["Idempotency-Key"] for request in commands] == ["one", "two"]


def test_a_second_account_of_one_name_is_made_only_if_asked_for(run: Run, server: FakeFalcon) -> None:
    server.accounts += [account(131, "alice"), account(132, "Alice Smith"), account(133, "Carl", deactivated=True)]
    refused = run(server, "account", "add", "ALICE")
    told = "an account is called 'ALICE' already (130, 131): add --same-name to create another one\n"
    assert (refused.exit_code, refused.stdout, refused.stderr) == (1, "", told)
    assert run(server, "account", "add", "ALICE", "--same-name").stdout == "130 secret\n"
    assert run(server, "account", "add", "Carl").stdout == "130 secret\n"  # that one has left


def test_a_command_that_is_repeated_with_its_key_is_no_second_account(run: Run, server: FakeFalcon) -> None:
    made = datetime.now(UTC).isoformat()
    server.accounts.append(account(131, "Ben", created_at=made))
    assert run(server, "account", "add", "Ben").exit_code == 1
    assert run(server, "account", "add", "Ben", "--key", "one").stdout == "130 secret\n"
    assert run(server, "account", "add", "Alice", "--key", "one").exit_code == 1  # hers is old


def test_accounts_are_listed(run: Run, server: FakeFalcon) -> None:
    server.accounts.append(account(131, "Ben", handle="ben", role="owner", deactivated=True))
    header, alice, ben = run(server, "account", "list").stdout.splitlines()
    assert header.split() == ["Account", "Name", "Handle", "Role", "Created", "State"]
    assert alice.split() == ["130", "Alice", "admin", "2026-11-25", "09:30"]
    assert ben.split() == ["131", "Ben", "@ben", "owner", "2026-11-25", "09:30", "deactivated"]


def test_an_account_and_its_token_are_json_for_programs(run: Run, server: FakeFalcon) -> None:
    made = run(server, "account", "add", "Ben", "--json")
    assert msgspec.json.decode(made.stdout).items() >= {"account_id": 130, "name": "Ben", "token": "secret"}.items()
    token = run(server, "account", "token", "130", "--json")
    assert msgspec.json.decode(token.stdout) == {"account_id": 130, "token_id": 2, "token": "another secret"}
    listed = run(server, "account", "list", "--json").stdout.splitlines()
    assert [msgspec.json.decode(line)["name"] for line in listed] == ["Alice"]


def test_an_account_gets_a_token_by_its_name(run: Run, server: FakeFalcon) -> None:
    server.accounts.append(account(131, "Ben"))
    assert run(server, "account", "token", "Ben").stdout == "another secret\n"
    assert server.requests[-1].url.path == "/v1/accounts/131/tokens"


@pytest.mark.parametrize("typed", ["ben", "@ben", "@Ben", "Benjamin"])
def test_an_account_is_found_by_handle_or_name(run: Run, server: FakeFalcon, typed: str) -> None:
    server.lists_accounts = False  # the caller is no admin
    server.accounts += [account(131, "Benjamin", handle="ben"), account(132, "Ben Nevis", handle="ben2")]
    shown = run(server, "account", "show", typed)
    assert shown.stdout.splitlines()[:3] == [
        "Account:     131",
        "Name:        Benjamin",
        "Handle:      @ben",
    ], shown.stderr
    assert {request.headers["Authorization"] for request in server.requests[:2]} == {"Bearer t0ken"}


def test_a_handle_that_is_anothers_name_needs_its_at(run: Run, server: FakeFalcon) -> None:
    server.accounts += [account(131, "Benjamin", handle="ben"), account(132, "Ben"), account(133, "@ben")]
    told = "2 accounts are called 'ben': give one of the ids 131, 132\n"
    assert run(server, "account", "show", "ben").stderr == told
    assert run(server, "account", "show", "@ben").stdout.startswith("Account:     131\n")
    missed = run(server, "account", "show", "@zoe")
    assert missed.stderr == "no account is called '@zoe' (`falcon account find` finds people)\n"


def test_of_more_than_a_search_gives_an_admins_list_has_the_others(run: Run, server: FakeFalcon) -> None:
    server.accounts += [account(1000 + n, f"Adam Ben {n}") for n in range(20)]
    server.accounts.append(account(131, "Ben"))
    assert run(server, "room", "direct", "Ben").stdout == "1131\n"


def test_people_are_found(run: Run, server: FakeFalcon) -> None:
    server.accounts += [account(131, "Benjamin", handle="ben", title="Tea taster"), account(132, "Carl")]
    lines = run(server, "account", "find", "ben").stdout.splitlines()
    assert lines[0].split() == ["Account", "Name", "Handle", "Role", "Title"]
    assert [line.split() for line in lines[1:]] == [["131", "Benjamin", "@ben", "member", "Tea", "taster"]]


def test_an_account_is_renamed_and_gets_a_profile_and_a_role(run: Run, server: FakeFalcon) -> None:
    server.accounts.append(account(131, "Ben"))
    assert run(server, "account", "rename", "Ben", "Benjamin").stdout == "Account 131 is called 'Benjamin' now.\n"
    texts = ("--handle", "ben", "--email", "ben@example.org", "--title", "Tea taster")
    shown = run(server, "account", "set", "131", *texts).stdout
    assert [line.split()[1] for line in shown.splitlines()[2:4]] == ["@ben", "ben@example.org"]
    assert "Tea taster" not in run(server, "account", "set", "@ben", "--title", "", "--email", "").stdout
    assert msgspec.json.decode(server.requests[-1].content) == {"title": "", "email": None}
    assert (
        run(server, "account", "role", "@ben", "admin").stdout == "The role of account 131, 'Benjamin', is admin now.\n"
    )
    assert run(server, "account", "set", "@ben").exit_code == 2
    assert run(server, "account", "role", "@ben", "king").exit_code == 2


def test_an_account_changes_itself_without_an_admin(run: Run, server: FakeFalcon) -> None:
    assert run(server, "account", "set", "130", "--handle", "alice").exit_code == 0
    assert (server.requests[-1].method, server.requests[-1].url.path) == ("PATCH", "/v1/me")


def test_who_leaves_is_deactivated_and_may_come_again(run: Run, server: FakeFalcon) -> None:
    server.accounts += [account(131, "Ben", handle="ben"), account(132, "Ben")]
    assert run(server, "account", "deactivate", "@ben", input="n\n").exit_code == 1
    assert not server.accounts[1]["deactivated"]
    assert run(server, "account", "deactivate", "@ben", "--yes").stdout == "Account 131, 'Ben', is deactivated.\n"
    assert run(server, "account", "reactivate", "ben").stdout == "Account 131, 'Ben', is active.\n"  # not the other Ben
    assert not server.accounts[1]["deactivated"]


def test_a_command_for_admins_takes_ones_own_token_if_there_is_no_other(server: FakeFalcon) -> None:
    environment = {"FALCON_URL": "http://falcon.test", "FALCON_TOKEN": "t0ken"}
    CliRunner().invoke(app, ["account", "list"], env=environment, obj=Outside(server.transport()))
    assert server.requests[0].headers["Authorization"] == "Bearer t0ken"


def test_revoking_without_saying_which_lists_the_tokens_and_ends_none(run: Run, server: FakeFalcon) -> None:
    server.tokens = [1, 2]
    result = run(server, "account", "revoke", "130")
    assert result.exit_code == 2
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["Token", "1", "2"]
    assert server.tokens == [1, 2]


def test_one_token_is_revoked_or_all(run: Run, server: FakeFalcon) -> None:
    server.tokens = [1, 2, 3]
    assert run(server, "account", "revoke", "130", "2").stdout == "Revoked: 2\n"
    assert server.tokens == [1, 3]
    assert run(server, "account", "revoke", "130", "--all").stdout == "Revoked: 1, 3\n"
    assert server.tokens == []


def test_one_token_and_all_at_once_is_a_fault_of_usage(run: Run, server: FakeFalcon) -> None:
    assert run(server, "account", "revoke", "130", "2", "--all").exit_code == 2


def test_who_is_no_admin_is_told_what_is_needed(run: Run) -> None:
    result = run(Script(problem(403, "not_allowed", "for admins")), "account", "add", "Alice")
    assert result.exit_code == 1
    assert result.stderr.startswith("not_allowed: for admins (")
    assert "FALCON_ADMIN_TOKEN" in result.stderr
