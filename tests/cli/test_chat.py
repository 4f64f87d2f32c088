from collections.abc import Callable

import httpx
import msgspec
import pytest

from tests.cli.conftest import Run
from tests.cli.fake import (
    TIME,
    FakeClock,
    FakeFalcon,
    Script,
    busy,
    event,
    listed_room,
    message,
    problem,
    room,
    streaming,
    unanswered,
)


def test_send_prints_the_seq_of_the_message(run: Run, server: FakeFalcon) -> None:
    result = run(server, "send", "64", "Who wants tea?", "--mention", "130", "--mention", "131", "--reply-to", "7")
    assert (result.exit_code, result.stdout) == (0, "1\n")
    assert server.messages[64][0]["text"] == "Who wants tea?"
    assert server.messages[64][0]["mentions"] == [130, 131]
    assert server.messages[64][0]["reply_to"] == 7


def test_send_reads_standard_input_without_the_line_break_at_its_end(run: Run, server: FakeFalcon) -> None:
    assert run(server, "send", "64", "-", input="  two\nlines\n\n").exit_code == 0
    assert server.messages[64][0]["text"] == "  two\nlines\n"


def test_send_says_with_which_key_it_can_be_repeated(run: Run, server: FakeFalcon) -> None:
    script = Script(unanswered)
    result = run(script, "send", "64", "Who wants tea?")
    (key,) = set(script.header("Idempotency-Key"))
    assert result.exit_code == 1
    assert f"run the command again with --key {key} within ten minutes" in " ".join(result.stderr.split())
    assert run(server, "send", "64", "Who wants tea?", "--key", str(key)).exit_code == 0
    assert server.requests[-1].headers["Idempotency-Key"] == key
    assert "--key" not in run(Script(unanswered), "read", "64", "1").stderr  # to repeat it does no harm


def test_send_refuses_what_is_no_key_and_no_text(run: Run, server: FakeFalcon) -> None:
    for key in ("", "two words", "x" * 65):
        result = run(server, "send", "64", "Hi", "--key", key)
        assert result.exit_code == 2 and "1 to 64 visible ASCII characters" in result.stderr
    result = run(server, "send", "64", "\udcff")  # as Python has an argument that is not UTF-8
    assert (result.exit_code, result.stderr) == (1, "an argument is not UTF-8\n")
    assert server.messages[64] == []


def test_send_refuses_standard_input_that_is_no_text(run: Run, server: FakeFalcon) -> None:
    result = run(server, "send", "64", "-", input=b"\xff\xfe")
    assert (result.exit_code, result.stderr) == (1, "standard input is not UTF-8 at byte 0: a message is text\n")


def test_tail_shows_time_number_author_and_text(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [
        message(64, 1, "Hi"),
        message(64, 2, "", deleted=True, edited_at=TIME),
        message(64, 3, "Ho", author_id=131, reply_to=1, edited_at=TIME),
        message(64, 4, "", author_id=0, deleted=True, missing=True),
    ]
    assert run(server, "tail", "64").stdout.splitlines() == [
        "2026-11-25 09:30:00  #1  Alice: Hi",
        "2026-11-25 09:30:00  #2  Alice: (deleted)",
        "2026-11-25 09:30:00  #3  account 131 (to #1): Ho (edited)",
        "2026-11-25 09:30:00  #4  (missing: the server cannot show it)",
    ]


def test_tail_shows_reactions_with_their_numbers_and_threads_with_their_messages(run: Run, server: FakeFalcon) -> None:
    reactions = [{"emoji": "👍", "count": 2, "accounts": [130, 131]}, {"emoji": "🎉", "count": 1, "accounts": [130]}]
    thread = {"room_id": 192, "last_seq": 3, "last_at": TIME, "participants": [131]}
    yes = message(64, 2, "Yes", reactions=[], thread=thread)
    server.messages[64] = [message(64, 1, "Tea?", reactions=reactions, thread=None), yes]
    assert run(server, "tail", "64").stdout.splitlines() == [
        "2026-11-25 09:30:00  #1  Alice: Tea?  [👍 2, 🎉 1]",
        "2026-11-25 09:30:00  #2  Alice: Yes  [thread 192: 3]",
    ]


def test_times_as_json_are_those_of_the_api(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "Hi") | {"posted_at": "2026-11-25T09:30:17.400Z"}]
    (told,) = run(server, "tail", "64", "--json").stdout.splitlines()
    assert msgspec.json.decode(told)["posted_at"] == "2026-11-25T09:30:17.400Z"


def test_who_has_left_keeps_the_name_in_the_history(run: Run, server: FakeFalcon) -> None:
    server.left[131] = "Ben"
    server.messages[64] = [message(64, 1, "Bye", author_id=131)]
    assert run(server, "tail", "64").stdout == "2026-11-25 09:30:00  #1  Ben: Bye\n"


def test_tail_asks_for_the_names_of_a_page_at_once(run: Run, server: FakeFalcon) -> None:
    server.left |= {131: "Ben", 132: "Cleo"}
    server.messages[64] = [message(64, seq, "Hi", author_id=130 + seq % 3) for seq in range(1, 21)]
    run(server, "tail", "64")
    (asked,) = [request for request in server.requests if request.url.path.endswith("/authors")]
    assert asked.url.params["ids"] == "131,132,130"


def test_messages_are_json_for_programs_each_with_its_authors_name(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "Hi"), message(64, 2, "", author_id=0, deleted=True, missing=True)]
    told = [msgspec.json.decode(line) for line in run(server, "tail", "64", "--json").stdout.splitlines()]
    assert [(each["seq"], each["author_id"], each["author"], each["text"]) for each in told] == [
        (1, 130, "Alice", "Hi"),
        (2, 0, "", ""),
    ]
    assert run(server, "send", "64", "Ho", "--json").stdout.startswith('{"room_id":64,"seq":3,')


def test_a_room_is_found_by_its_name(run: Run, server: FakeFalcon) -> None:
    server.rooms = [listed_room(64, "Tea kitchen"), listed_room(128, "Coffee"), listed_room(192, "coffee")]
    assert run(server, "send", "tea kitchen", "Hi").stdout == "1\n"
    assert run(server, "tail", "Tea kitchen").stdout.endswith("Alice: Hi\n")
    two = run(server, "send", "Coffee", "Hi")
    assert (two.exit_code, two.stderr) == (1, "2 rooms are called 'Coffee': give one of the ids 128, 192\n")
    none = run(server, "send", "Milk", "Hi")
    assert (none.exit_code, none.stderr) == (1, "no room is called 'Milk' (`falcon rooms` lists yours)\n")


def test_digits_that_no_id_has_so_many_of_are_a_name(run: Run, server: FakeFalcon) -> None:
    digits = "9" * 5_000
    server.rooms = [listed_room(64, digits)]
    assert run(server, "send", digits, "Hi").stdout == "1\n"


def test_a_member_is_mentioned_by_name(run: Run, server: FakeFalcon) -> None:
    run(server, "send", "64", "Tea, @Alice?", "--mention", "Alice")
    assert server.messages[64][0]["mentions"] == [130]
    missed = run(server, "send", "64", "Tea?", "--mention", "Zoe")
    assert missed.stderr == "no member is called 'Zoe' (`falcon room members 64` lists them)\n"


def test_a_room_is_marked_read_up_to_its_newest_message_or_another(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, seq, "Hi") for seq in range(1, 6)]
    assert run(server, "read", "64").stdout == "Room 64 is read up to #5: 0 unread, 0 mentions.\n"
    assert run(server, "read", "64", "2", "--back").stdout == "Room 64 is read up to #2: 3 unread, 0 mentions.\n"
    assert server.requests[-1].content == b'{"seq":2,"force":true}'
    assert run(server, "read", "64", "--json").stdout == '{"room_id":64,"read_seq":5,"unread":0,"mentions":0}\n'


def test_a_message_is_reacted_to_and_the_reaction_taken_back(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "Hi")]
    assert run(server, "react", "64", "1", "👍").stdout == "3\n"
    assert run(server, "react", "64", "1", "👍", "--json").stdout == '{"room_id":64,"seq":1,"emoji":"👍","count":3}\n'
    assert run(server, "react", "64", "1", "👍", "--remove").stdout == ""
    assert [request.method for request in server.requests] == ["PUT", "PUT", "DELETE"]


def test_messages_are_pinned_shown_and_unpinned(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, seq, f"Tea {seq}?") for seq in (1, 2)]
    for seq in ("1", "2"):
        assert run(server, "pin", "64", seq).stdout == ""
    assert run(server, "pins", "64").stdout.splitlines() == [
        "2026-11-25 09:30:00  #2  Alice: Tea 2?",
        "2026-11-25 09:30:00  #1  Alice: Tea 1?",
    ]
    run(server, "pin", "64", "2", "--remove")
    (told,) = run(server, "pins", "64", "--json").stdout.splitlines()
    assert msgspec.json.decode(told)["message"]["text"] == "Tea 1?"


def test_a_thread_is_started_written_in_and_followed_by_its_number(run: Run, server: FakeFalcon) -> None:
    server.messages = {64: [message(64, 1, "Tea?")], 192: []}
    server.rooms = [listed_room(64, "Tea kitchen")]
    number = run(server, "thread", "tea kitchen", "1").stdout.strip()
    assert (number, run(server, "send", number, "Green").stdout) == ("192", "1\n")
    shown = msgspec.json.decode(run(server, "thread", "64", "1", "--json").stdout)
    assert (shown["room_id"], shown["parent"]) == (192, {"room_id": 64, "seq": 1})
    for option, method in (("--follow", "PUT"), ("--unfollow", "DELETE")):
        assert run(server, "thread", "64", "1", option).stdout == "192\n"
        asked = server.requests[-1]
        assert (asked.method, asked.url.path) == (method, "/v1/rooms/192/follow")


def test_a_search_shows_where_messages_have_the_words(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "Tea?")]
    found = run(server, "search", "Tea?", "--in", "64", "--from", "130").stdout.splitlines()
    assert found[0] == "2026-11-25 09:30:00  64 #1  Alice: Tea? …"
    assert msgspec.json.decode(run(server, "search", "two", "words", "--json").stdout.splitlines()[0])["snippet"] == [
        ["two words", True],
        [" …", False],
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


def hello(server: FakeFalcon) -> Callable[[], bytes]:
    """The first events of a stream at that moment."""
    more = {"read_seq": 0, "unread": 0, "mentions": 0, "updated_at": TIME, "last_message": None}
    return lambda: event(
        "h",
        "hello",
        {
            "account_id": 130,
            "rooms": [room(64, "Tea", last_seq=len(server.messages[64]), **more)],
            "truncated": False,
            "unread_threads": 0,
        },
    )


def posted(server: FakeFalcon, *texts: str) -> Callable[[], bytes]:
    """Messages that arrive while a client follows."""

    def post() -> bytes:
        sent = []
        for text in texts:
            server.messages[64].append(message(64, len(server.messages[64]) + 1, text))
            sent.append(event(f"m{len(server.messages[64])}", "message.posted", server.messages[64][-1]))
        return b"".join(sent)

    return post


def followed(run: Run, server: FakeFalcon, *options: str) -> list[str]:
    """The output until the server has no more connections, and the reader presses Ctrl-C."""
    result = run(server, "tail", "64", "--follow", *options, clock=FakeClock(patience=2))
    assert result.exit_code == 130, result.output
    return [line.split("  ", 1)[1] for line in result.stdout.splitlines()]


def test_following_goes_on_with_what_comes_until_interrupted(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "old"), message(64, 2, "older")]
    server.streams = [streaming(hello(server), posted(server, *(f"text {seq}" for seq in range(3, 303))))]
    shown = followed(run, server, "-n", "1")
    assert shown == ["#2  Alice: older", *(f"#{seq}  Alice: text {seq}" for seq in range(3, 303))]
    assert next(request.url.params["rooms"] for request in server.requests if request.url.path == "/v1/stream") == "64"


def test_following_from_now_on_shows_nothing_old(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "old")]
    server.streams = [streaming(hello(server), posted(server, "new"))]
    assert followed(run, server, "-n", "0") == ["#2  Alice: new"]


def test_what_comes_while_the_history_is_read_is_shown_once(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "old")]
    begin, late = hello(server), posted(server, "two", "three")
    server.streams = [streaming(lambda: begin() + late(), posted(server, "four"))]
    assert followed(run, server) == ["#1  Alice: old", "#2  Alice: two", "#3  Alice: three", "#4  Alice: four"]


def test_following_goes_on_over_a_lost_connection_behind_what_was_shown(run: Run, server: FakeFalcon) -> None:
    server.streams = [
        streaming(hello(server), posted(server, "one"), httpx.ReadError("gone")),
        streaming(posted(server, "two"), event("m2", "caught_up", {})),
    ]
    assert followed(run, server) == ["#1  Alice: one", "#2  Alice: two"]
    asked = [request.url.params.get("resume") for request in server.requests if request.url.path == "/v1/stream"]
    assert asked == [None, "m1", "m2"]


def test_after_too_long_an_absence_the_history_fills_the_gap(run: Run, server: FakeFalcon) -> None:
    def away() -> bytes:
        server.messages[64] += [message(64, seq, f"text {seq}") for seq in range(2, 453)]
        return event("c", "catch_up", {"rooms": [{"room_id": 64, "last_seq": 452}]})

    server.streams = [
        streaming(hello(server), posted(server, "text 1"), httpx.ReadError("gone")),
        streaming(away, posted(server, "text 453")),
    ]
    assert followed(run, server) == [f"#{seq}  Alice: text {seq}" for seq in range(1, 454)]


def test_following_a_restored_server_shows_what_is_there_now(run: Run, server: FakeFalcon) -> None:
    def restored() -> bytes:
        server.messages[64] = [message(64, 1, "other")]
        return hello(server)()

    unknown = problem(400, "malformed", errors=[{"field": "resume", "rule": "must be the id of an event"}])
    server.streams = [
        streaming(hello(server), posted(server, "one", "two"), httpx.ReadError("gone")),
        lambda request: unknown,
        streaming(restored, posted(server, "three")),
    ]
    assert followed(run, server) == ["#1  Alice: one", "#2  Alice: two", "#1  Alice: other", "#2  Alice: three"]


def test_following_shows_again_what_is_edited_or_deleted(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "Hi")]
    server.streams = [
        streaming(
            hello(server),
            event("e", "message.edited", message(64, 1, "Hello", edited_at=TIME)),
            event("d", "message.deleted", message(64, 1, "", edited_at=TIME, deleted=True)),
        )
    ]
    assert followed(run, server) == ["#1  Alice: Hi", "#1  Alice: Hello (edited)", "#1  Alice: (deleted)"]


def test_an_edit_that_the_history_has_shown_is_not_shown_again(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "Hello", edited_at=TIME), message(64, 2, "", deleted=True)]
    server.streams = [
        streaming(
            hello(server),
            event("e", "message.edited", message(64, 1, "Hello", edited_at=TIME)),
            event("f", "message.edited", message(64, 2, "Ho", edited_at=TIME)),
            event("d", "message.deleted", message(64, 2, "", deleted=True)),
        )
    ]
    assert followed(run, server) == ["#1  Alice: Hello (edited)", "#2  Alice: (deleted)"]


def reaction(name: str, seq: int, account_id: int, emoji: str, count: int) -> bytes:
    data = {"room_id": 64, "seq": seq, "account_id": account_id, "emoji": emoji, "count": count}
    return event(f"r{account_id}{count}", name, data)


def test_following_shows_reactions_as_they_come(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "Who wants tea?")]
    server.left = {131: "B\x1b[2Job"}
    reactions = [
        reaction("reaction.added", 1, 130, "🍵", 1),
        reaction("reaction.added", 1, 131, "🍵", 2),
        reaction("reaction.removed", 1, 130, "🍵", 1),
    ]
    server.streams = [streaming(hello(server), *reactions, posted(server, "I do"))]
    result = run(server, "tail", "64", "--follow", clock=FakeClock(patience=2))
    assert result.stdout.splitlines() == [
        "2026-11-25 09:30:00  #1  Alice: Who wants tea?",
        "#1  Alice adds 🍵",
        "#1  B␛[2Job adds 🍵",
        "#1  Alice removes 🍵",
        "2026-11-25 09:30:00  #2  Alice: I do",
    ]


def test_following_shows_messages_of_followed_threads_and_that_others_go_on(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "old")]
    changed = {"room_id": 64, "seq": 1, "thread_id": 128, "last_seq": 7, "last_at": TIME, "account_id": 130}
    in_thread = event("t2", "message.posted", message(192, 9, "Green"))
    server.streams = [
        streaming(hello(server), event("t1", "thread.changed", changed), in_thread, posted(server, "new"))
    ]
    result = run(server, "tail", "64", "--follow", clock=FakeClock(patience=2))
    assert [line.partition("  #")[2] or line for line in result.stdout.splitlines()] == [
        "1  Alice: old",
        "#1  Alice writes in the thread of it",
        "9  Alice: Green",
        "2  Alice: new",
    ]
    assert "[thread 192] " in result.stdout


def test_following_shows_pins_as_they_come(run: Run, server: FakeFalcon) -> None:
    server.messages[64] = [message(64, 1, "Tea?")]
    pins = [event(f"p{n}", f"pin.{n}", {"room_id": 64, "seq": 1, "account_id": 130}) for n in ("added", "removed")]
    told = '{"event":"pin.%s","room_id":64,"seq":1,"account_id":130,"account":"Alice"}'
    for option, expected in (
        ([], ["#1  Alice pins it", "#1  Alice unpins it"]),
        (["--json"], [told % "added", told % "removed"]),
    ):
        server.streams = [streaming(hello(server), *pins)]
        result = run(server, "tail", "64", "--follow", *option, clock=FakeClock(patience=2))
        assert result.stdout.splitlines()[1:3] == expected


def test_reactions_are_json_for_programs_that_follow(run: Run, server: FakeFalcon) -> None:
    server.streams = [streaming(hello(server), reaction("reaction.removed", 1, 130, "🍵", 0))]
    result = run(server, "tail", "64", "--follow", "--json", clock=FakeClock(patience=2))
    data = {"room_id": 64, "seq": 1, "account_id": 130, "account": "Alice", "emoji": "🍵", "count": 0}
    assert msgspec.json.decode(result.stdout) == {"event": "reaction.removed", **data}


def test_following_ends_with_the_room_and_with_ones_membership(run: Run, server: FakeFalcon) -> None:
    left = event("l", "member.left", {"room_id": 64, "account_id": 130, "role": "member"})
    for last, said in (
        (event("d", "room.deleted", room(64, "Tea")), "room 64 has been deleted\n"),
        (left, "the account is no longer a member of room 64\n"),
    ):
        server.streams = [streaming(hello(server), last)]
        result = run(server, "tail", "64", "--follow")
        assert (result.exit_code, result.stderr) == (1, said)


def test_following_where_nothing_answers_is_one_line(run: Run) -> None:
    result = run(Script(unanswered), "tail", "64", "--follow")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


def test_rooms_are_listed_with_what_is_unread(run: Run, server: FakeFalcon) -> None:
    last = message(64, 6, "Bye\x1b[0m\nnow")
    server.rooms = [listed_room(64, "Tea [bold]\x1b", last_seq=6, unread=5, mentions=3, last_message=last)]
    shown = run(server, "rooms").stdout.splitlines()
    assert shown[0].split() == ["Room", "Unread", "Mentions", "Name", "Active", "Last", "message"]
    assert " ".join(shown[1].split()) == "64 5 3 Tea [bold]␛ 2026-11-25 09:30 Alice: Bye␛[0m␊now"


def test_the_list_of_rooms_fits_eighty_columns_and_keeps_every_id(
    run: Run, server: FakeFalcon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    last = message(64, 6, "Who will bring the very long letter to the post office before it closes? " * 3)
    server.rooms = [
        listed_room(6_400_000_064, "Tea kitchen", unread=12_345, last_message=last),
        listed_room(9_007_199_254_740_991, "A room whose name is long enough for three lines or so", last_message=last),
    ]
    shown = run(server, "rooms").stdout
    assert all(len(line.rstrip()) <= 80 for line in shown.splitlines())
    assert shown.split("\n")[0].split() == ["Room", "Unread", "Mentions", "Name", "Active", "Last", "me…"]
    for wanted in ("6400000064", "9007199254740991", "12345", "Tea kitchen", "2026-11-25 09:30"):
        assert wanted in shown


def test_a_room_that_was_left_while_it_was_listed_does_not_spoil_the_list(run: Run) -> None:
    listed = {"rooms": [listed_room(64, "Tea", last_message=message(64, 1, "Hi"))], "next_cursor": None}
    left = Script(httpx.Response(200, json=listed), problem(404, "room_not_found", "no longer"))
    assert "account 130: Hi" in run(left, "rooms").stdout


def test_rooms_are_json_for_programs(run: Run, server: FakeFalcon) -> None:
    server.rooms = [listed_room(64, "Tea", unread=5), listed_room(128, "Coffee")]
    listed = [msgspec.json.decode(line) for line in run(server, "rooms", "--json").stdout.splitlines()]
    assert [(each["room_id"], each["name"], each["unread"]) for each in listed] == [(64, "Tea", 5), (128, "Coffee", 0)]


def test_rooms_are_listed_over_pages_and_says_when_there_are_more(run: Run, server: FakeFalcon) -> None:
    server.rooms = [listed_room(room_id, "Tea") for room_id in range(1, 301)]
    result = run(server, "rooms", "-n", "250")
    assert len(result.stdout.splitlines()) == 251
    assert result.stderr == "There are more; falcon rooms -n 500 shows some of them.\n"
    assert run(server, "rooms", "-n", "300").stderr == ""


def test_a_refusal_is_one_line_that_says_what_to_do(run: Run, server: FakeFalcon) -> None:
    result = run(server, "tail", "65")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "room_not_found: there is no such room (`falcon rooms` lists yours)\n"


def test_a_refusal_names_each_field_and_its_rule(run: Run) -> None:
    errors = [{"field": "text", "rule": "1 to 65,535 bytes"}, {"field": "reply_to", "rule": "no such message"}]
    result = run(Script(problem(422, "invalid", "two things", errors)), "send", "64", "")
    assert result.stderr == "invalid: text: 1 to 65,535 bytes; reply_to: no such message\n"


def test_a_redirection_is_a_wrong_address(run: Run) -> None:
    result = run(Script(httpx.Response(308, headers={"Location": "https://falcon.test/"})), "tail", "64")
    assert (result.exit_code, result.stderr) == (1, "http_308: Permanent Redirect (check --url)\n")


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
