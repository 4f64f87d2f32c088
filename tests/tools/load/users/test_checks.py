"""The checks find what is wrong, and only that: each is shown a Falcon that breaks its promise."""

from datetime import UTC, datetime

from falcon.client import Hello, Message, Messages, RoomSummary
from load_tests.users.checks import Follower, Mark, Reader, Register, in_order, marked

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROOM, ANN = 640, 128


def message(seq: int, name: str = "", version: int = 1, *, room: int = ROOM, author: int = ANN) -> Message:
    """A message of a user here if it has a name; edited if its version is not the first."""
    text = marked(name, version, "tea?") if name else "long ago"
    return Message(room, seq, author, text, NOW, edited_at=NOW if version > 1 else None)


def page(*messages: Message) -> Messages:
    return Messages(messages, has_before=bool(messages) and messages[0].seq > 1, has_after=False)


def listed(last_seq: int, read_seq: int = 0, unread: int | None = None) -> RoomSummary:
    unread = last_seq - read_seq if unread is None else unread
    return RoomSummary(ROOM, "group", "Tea", "", "member", last_seq, NOW, read_seq, unread, 0, None, NOW)


def sent(register: Register, seq: int, name: str) -> Message:
    posted = message(seq, name)
    assert register.acknowledged(posted, name, posted.text, ANN) == []
    return posted


def test_a_room_that_is_as_it_was_confirmed_is_in_order() -> None:
    register = Register()
    messages = [sent(register, seq, f"a{seq}") for seq in (1, 2, 3)]
    reader = Reader(register)
    reader.wrote(messages[-1], Mark("a3", 1))
    assert reader.newest(ROOM, page(*messages)) == []
    assert reader.summaries([listed(3)]) == []
    assert register.audit(ROOM, messages) == []


def test_an_answer_with_another_text_is_no_confirmation() -> None:
    found = Register().acknowledged(message(1, "a1"), "a1", marked("a1", 1, "coffee?"), ANN)
    assert "sent as" in found[0]


def test_two_messages_at_one_place() -> None:
    register = Register()
    sent(register, 5, "a1")
    assert register.seen([message(5, "b1")]) == [f"room {ROOM}, seq 5: was a1, is b1"]


def test_one_message_at_two_places() -> None:
    register = Register()
    sent(register, 5, "a1")
    assert "is there twice" in register.seen([message(6, "a1")])[0]
    assert "is there twice" in register.seen([message(5, "a1", room=704)])[0]


def test_a_confirmed_message_that_is_lost() -> None:
    register = Register()
    sent(register, 5, "a1")
    assert register.audit(ROOM, []) == [f"room {ROOM}, seq 5: a1 was confirmed and is lost"]


def test_a_confirmed_edit_that_is_lost() -> None:
    register = Register()
    posted = sent(register, 5, "a1")
    assert register.edited(message(5, "a1", 2), Mark("a1", 2)) == []
    assert register.audit(ROOM, [posted]) == [f"room {ROOM}, seq 5: the edit a1.2 was confirmed and is lost"]


def test_an_edit_that_is_confirmed_with_what_was_there_before() -> None:
    assert Register().edited(message(5, "a1", 1), Mark("a1", 2)) != []


def test_a_page_with_a_gap_or_a_double() -> None:
    assert "a gap or a double: 1, 3" in in_order(ROOM, page(message(1), message(3)))[0]
    assert "a gap or a double: 1, 1" in in_order(ROOM, page(message(1), message(1)))[0]


def test_a_page_that_denies_what_is_before_it() -> None:
    assert in_order(ROOM, Messages((message(4),), has_before=False, has_after=False)) != []


def test_a_page_with_another_rooms_message() -> None:
    assert "other rooms" in in_order(ROOM, page(message(1, room=704)))[0]


def test_one_does_not_read_what_one_wrote() -> None:
    register = Register()
    reader = Reader(register)
    reader.wrote(sent(register, 3, "a1"), Mark("a1", 1))
    assert reader.newest(ROOM, page(message(1), message(2))) != []
    assert reader.summaries([listed(2)]) != []


def test_ones_edit_does_not_show() -> None:
    register = Register()
    reader = Reader(register)
    posted = sent(register, 1, "a1")
    reader.wrote(message(1, "a1", 2), Mark("a1", 2))
    assert "after the edit a1.2" in reader.newest(ROOM, page(posted))[0]


def test_a_room_that_falls_back() -> None:
    reader = Reader(Register())
    assert reader.newest(ROOM, page(message(1), message(2))) == []
    assert reader.newest(ROOM, page(message(1))) == [f"room {ROOM}: seq 2 is known, and the newest page ends at 1"]


def test_unread_that_does_not_add_up() -> None:
    assert "does not add up" in Reader(Register()).summaries([listed(5, read_seq=2, unread=4)])[0]


def test_a_stream_that_goes_on_where_it_began_is_in_order() -> None:
    follower = Follower(Register())
    follower.hello(Hello(ANN, (listed(4),)))
    assert follower.posted(message(5)) == []
    assert follower.posted(message(6)) == []
    assert follower.reach(ROOM) == 6


def test_a_stream_with_a_gap_says_so_once() -> None:
    follower = Follower(Register())
    follower.hello(Hello(ANN, (listed(4),)))
    assert follower.posted(message(6)) == [f"room {ROOM}: seq 6 comes without seq 5 on a stream"]
    assert follower.posted(message(7)) == []


def test_an_event_that_comes_twice() -> None:
    follower = Follower(Register())
    follower.hello(Hello(ANN, (listed(4),)))
    follower.posted(message(5))
    assert follower.posted(message(5)) == [f"room {ROOM}: seq 5 comes twice on a stream"]


def test_after_a_long_absence_the_stream_goes_on_behind_what_was_read() -> None:
    follower = Follower(Register())
    follower.hello(Hello(ANN, (listed(4),)))
    follower.caught_up_to(ROOM, 500)
    assert follower.posted(message(501)) == []


def test_what_is_to_be_audited_reaches_from_the_first_to_the_last_that_was_confirmed() -> None:
    register = Register()
    sent(register, 7, "a1")
    sent(register, 3, "a2")
    register.seen([message(9, "b1")])  # by a user of another process, and confirmed there
    assert register.to_audit() == {ROOM: (3, 7)}
