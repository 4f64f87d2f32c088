import httpx

from tests.cli.conftest import Run
from tests.cli.fake import TIME, FakeClock, FakeFalcon, Script, busy, message, problem, room, unanswered


def test_send_prints_the_seq_of_the_message(run: Run, server: FakeFalcon) -> None:
    result = run(server, "send", "64", "Who wants tea?", "--mention", "130", "--mention", "131", "--reply-to", "7")
    assert (result.exit_code, result.stdout) == (0, "1\n")
    assert server.messages[64][0]["text"] == "Who wants tea?"
    assert server.messages[64][0]["mentions"] == [130, 131]
    assert server.messages[64][0]["reply_to"] == 7


def test_send_reads_standard_input_without_the_line_break_at_its_end(run: Run, server: FakeFalcon) -> None:
    assert run(server, "send", "64", "-", input="  two\nlines\n\n").exit_code == 0
    assert server.messages[64][0]["text"] == "  two\nlines\n"


def test_send_refuses_standard_input_that_is_no_text(run: Run, server: FakeFalcon) -> None:
    result = run(server, "send", "64", "-", input=b"\xff\xfe")
    assert (result.exit_code, result.stderr) == (1, "standard input is not UTF-8 at byte 0: a message is text\n")


def test_tail_shows_time_number_author_and_text(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [
        message(64, 1, "Hi"),
        message(64, 2, "", deleted=True, edited_at=TIME),
        message(64, 3, "Ho", author_id=131, reply_to=1, edited_at=TIME),
    ]
    assert run(server, "tail", "64").stdout.splitlines() == [
        "2026-11-25 09:30:00  #1  Alice: Hi",
        "2026-11-25 09:30:00  #2  Alice: (deleted)",
        "2026-11-25 09:30:00  #3  account 131 (to #1): Ho (edited)",
    ]


def test_tail_shows_the_newest_also_when_they_are_more_than_a_page(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, seq, f"text {seq}") for seq in range(1, 501)]
    lines = run(server, "tail", "64", "-n", "450").stdout.splitlines()
    assert len(lines) == 450
    assert lines[0].endswith("#51  Alice: text 51")
    assert lines[-1].endswith("#500  Alice: text 500")


def test_a_message_cannot_drive_the_terminal(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "\x1b[2Jgone\x07\r\x9b31m\u202egnp\x7f\ttab")]
    server.members[0]["name"] = "Al\x1b]0;title\x07\nice"
    line = run(server, "tail", "64").stdout
    assert line == "2026-11-25 09:30:00  #1  Al␛]0;title␇␊ice: ␛[2Jgone␇␍\\u009b31m\\u202egnp␡\ttab\n"


def test_a_message_cannot_pass_for_a_line_of_somebody_else(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "Hi\n2026-11-25 09:31:00  #2  Bob: I resign")]
    assert run(server, "tail", "64").stdout.splitlines()[1] == "    2026-11-25 09:31:00  #2  Bob: I resign"


def test_following_goes_on_with_what_comes_until_interrupted(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "old"), message(64, 2, "older")]
    clock = FakeClock(patience=2)

    def respond(request: httpx.Request) -> httpx.Response:
        if len(clock.slept) == 1 and len(server.messages[64]) == 2:
            server.messages[64] += [message(64, seq, f"text {seq}") for seq in range(3, 303)]
        return server._respond(request)

    result = run(httpx.MockTransport(respond), "tail", "64", "-n", "1", "--follow", clock=clock)
    shown = [line.split("#")[1].split()[0] for line in result.stdout.splitlines()]
    assert shown == [str(seq) for seq in range(2, 303)]
    assert result.exit_code == 130


def test_following_from_now_on_shows_nothing_old(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "old")]
    result = run(server, "tail", "64", "-n", "0", "-f", clock=FakeClock(patience=1))
    assert result.stdout == ""
    assert server.requests[-1].url.params["after"] == "1"


def test_rooms_are_listed_with_what_is_unread(run: Run, server: FakeFalcon) -> None:
    more = {"read_seq": 1, "mentions": 3, "updated_at": TIME, "last_message": message(64, 6, "Bye\x1b[0m\nnow")}
    server.rooms = [room(64, "Tea [bold]\x1b", last_seq=6, unread=5, **more)]
    shown = run(server, "rooms").stdout.splitlines()
    assert shown[0].split() == ["Room", "Unread", "Mentions", "Name", "Active", "Last", "message"]
    assert " ".join(shown[1].split()) == "64 5 3 Tea [bold]␛ 2026-11-25 09:30:00 Bye␛[0m␊now"


def test_rooms_are_listed_over_pages_and_says_when_there_are_more(run: Run, server: FakeFalcon) -> None:
    more = {"read_seq": 0, "unread": 0, "mentions": 0, "updated_at": TIME, "last_message": None}
    server.rooms = [room(room_id, "Tea", **more) for room_id in range(1, 301)]
    result = run(server, "rooms", "-n", "250")
    assert len(result.stdout.splitlines()) == 251
    assert result.stderr == "There are more; falcon rooms -n 500 shows some of them.\n"
    assert run(server, "rooms", "-n", "300").stderr == ""


def test_a_room_is_made_with_members_and_roles(run: Run, server: FakeFalcon) -> None:
    result = run(server, "room", "create", "Tea", "--member", "130", "--member", "131:readonly")
    assert (result.exit_code, result.stdout) == (0, "64\n")
    assert (
        server.requests[0].content == b'{"name":"Tea","description":"","members":'
        b'[{"account_id":130,"role":"member"},{"account_id":131,"role":"readonly"}]}'
    )


def test_a_member_that_is_none_is_a_fault_of_usage(run: Run, server: FakeFalcon) -> None:
    for member in ("Alice", "130:owner", "130:", ":admin"):
        result = run(server, "room", "create", "Tea", "--member", member)
        assert result.exit_code == (0 if member == "130:" else 2)


def test_a_refusal_is_one_line_that_says_what_to_do(run: Run, server: FakeFalcon) -> None:
    result = run(server, "tail", "65")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "room_not_found: there is no such room (`falcon rooms` lists yours)\n"


def test_a_refusal_names_each_field_and_its_rule(run: Run) -> None:
    errors = [{"field": "text", "rule": "1 to 65,535 bytes"}, {"field": "reply_to", "rule": "no such message"}]
    result = run(Script(problem(422, "invalid", "two things", errors)), "send", "64", "")
    assert result.stderr == "invalid: text: 1 to 65,535 bytes; reply_to: no such message\n"


def test_a_refusal_cannot_drive_the_terminal_either(run: Run) -> None:
    result = run(Script(problem(404, "\x1b[2J", "a\nb\x07[bold]")), "rooms")
    assert result.stderr == "␛[2J: a b␇[bold]\n"


def test_a_server_that_does_not_answer_is_one_line(run: Run) -> None:
    result = run(Script(unanswered), "rooms")
    assert result.exit_code == 1
    assert result.stderr == (
        "no answer within 10 s; the last attempt: http://falcon.test: refused "
        "(is Falcon running there? `falcon doctor` tells more)\n"
    )


def test_a_busy_server_is_waited_for_and_then_named(run: Run) -> None:
    result = run(Script(busy()), "rooms")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "503 overloaded: come back" in result.stderr
