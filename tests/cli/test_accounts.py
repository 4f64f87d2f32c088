import msgspec

from tests.cli.conftest import Run
from tests.cli.fake import FakeFalcon, Script, account, problem


def test_an_account_is_made_and_its_token_shown(run: Run, server: FakeFalcon) -> None:
    assert run(server, "account", "add", "Alice").stdout == "130 secret\n"
    assert server.requests[0].headers["Authorization"] == "Bearer 4dmin"


def test_an_account_is_made_once_with_one_key(run: Run, server: FakeFalcon) -> None:
    run(server, "account", "add", "Alice", "--key", "one")
    run(server, "room", "create", "Tea", "--key", "two")
    commands = [request for request in server.requests if request.method == "POST"]
    assert [request.headers["Idempotency-Key"] for request in commands] == ["one", "two"]


def test_a_second_account_of_one_name_is_warned_of(run: Run, server: FakeFalcon) -> None:
    assert run(server, "account", "add", "Alice").stderr == ""
    server.accounts.append(account(131, "alice"))
    added = run(server, "account", "add", "Alice")
    assert (added.exit_code, added.stdout) == (0, "130 secret\n")
    assert added.stderr == "Warning: 131 is called 'Alice', too: use ids.\n"


def test_accounts_are_listed(run: Run, server: FakeFalcon) -> None:
    assert run(server, "account", "list").stdout.splitlines()[1].split() == [
        *("130", "Alice", "yes"),
        *("2026-11-25", "09:30"),
    ]


def test_an_account_and_its_token_are_json_for_programs(run: Run, server: FakeFalcon) -> None:
    made = run(server, "account", "add", "Alice", "--json")
    assert msgspec.json.decode(made.stdout).items() >= {"account_id": 130, "name": "Alice", "token": "secret"}.items()
    token = run(server, "account", "token", "130", "--json")
    assert msgspec.json.decode(token.stdout) == {"account_id": 130, "token_id": 2, "token": "another secret"}
    listed = run(server, "account", "list", "--json").stdout.splitlines()
    assert [msgspec.json.decode(line)["name"] for line in listed] == ["Alice"]


def test_an_account_gets_a_token_by_its_name(run: Run, server: FakeFalcon) -> None:
    server.accounts.append(account(131, "Ben"))
    assert run(server, "account", "token", "Ben").stdout == "another secret\n"
    assert server.requests[-1].url.path == "/v1/accounts/131/tokens"


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
