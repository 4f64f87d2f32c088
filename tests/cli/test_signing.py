import msgspec
import pytest
import typer

from tests.cli.conftest import Run
from tests.cli.fake import FakeFalcon, account, listed_room


def test_a_person_gets_a_link_and_by_default_that_is_oneself(run: Run, server: FakeFalcon) -> None:
    server.accounts.append(account(131, "Ben"))
    assert run(server, "sign-in", "Ben").stdout == "http://tea/#sign-in=131_code\n"
    assert run(server, "sign-in").stdout == "http://tea/#sign-in=130_code\n"
    assert msgspec.json.decode(run(server, "sign-in", "--json").stdout)["url"] == "http://tea/#sign-in=130_code"


def test_a_link_opens_in_the_browser(run: Run, server: FakeFalcon, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(typer, "launch", opened.append)
    run(server, "sign-in", "--open")
    assert opened == ["http://tea/#sign-in=130_code"]


def test_people_are_invited_to_rooms_by_name(run: Run, server: FakeFalcon) -> None:
    server.rooms.append(listed_room(64, "Tea kitchen"))
    invited = run(server, "invite", "--role", "guest", "--room", "Tea kitchen", "--room", "65", "--uses", "3")
    assert invited.stdout == "http://tea/#invitation=1_code\n"
    asked = msgspec.json.decode(server.requests[-1].content)
    assert asked == {"role": "guest", "rooms": [64, 65], "uses": 3, "expires_in": 7 * 86_400}


def test_sessions_are_listed_and_end(run: Run, server: FakeFalcon) -> None:
    server.sessions = [3, 5, 8]
    lines = run(server, "session", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["Session", "3", "5", "8"]
    assert "(this)" in lines[1] and "192.0.2.7" in lines[2] and "Firefox" in lines[2]
    assert run(server, "session", "end", "5").stdout == "Ended.\n"
    assert server.sessions == [3, 8]
    run(server, "session", "end", "--others")
    assert server.sessions == [3]


@pytest.mark.parametrize("arguments", [(), ("5", "--others")])
def test_what_shall_end_is_said(run: Run, server: FakeFalcon, arguments: tuple[str, ...]) -> None:
    server.sessions = [3, 5]
    assert run(server, "session", "end", *arguments).exit_code == 2
    assert server.sessions == [3, 5]
