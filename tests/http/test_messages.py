"""Sending, reading, editing and deleting messages."""

import re
import unicodedata
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from falcon.write.protocol import CommandEnvelope
from tests.support.builders import tried
from tests.support.http import Falcon, Person, Room, problem, seqs, texts, without_more

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TEXT_BYTES_MAX = 65_535


# --- sending ----------------------------------------------------------------------------------------------------------


def test_a_message_is_answered_with_all_that_it_is(anna: Person, room: Room) -> None:
    posted = anna.post(f"{room}/messages", {"text": "The kettle is on"})
    assert posted.status_code == 201
    message = posted.json()
    assert TIME.fullmatch(message.pop("posted_at"))
    assert message == {
        "room_id": room.room_id,
        "seq": 1,
        "author_id": anna.account_id,
        "text": "The kettle is on",
        "edited_at": None,
        "deleted": False,
        "reply_to": None,
        "mentions": [],
        "reactions": [],
        "thread": None,
    }


def test_everybody_in_the_room_reads_what_was_answered(anna: Person, ben: Person, room: Room) -> None:
    posted = anna.post(f"{room}/messages", {"text": "Hi"}).json()
    assert anna.message(room, 1) == ben.message(room, 1) == posted
    assert anna.reads(room) == ben.reads(room) == {"messages": [posted], "has_before": False, "has_after": False}


def test_messages_are_numbered_from_one_without_gaps_whoever_sends(anna: Person, ben: Person, room: Room) -> None:
    assert [person.says(room, "Hi") for person in (anna, ben, ben, anna)] == [1, 2, 3, 4]
    other = ben.makes_room("Another", anna)
    assert anna.says(other, "Here it starts again") == 1


def test_many_at_once_get_a_number_each(falcon: Falcon, anna: Person, ben: Person, room: Room) -> None:
    sent = [person.request("POST", f"{room}/messages", {"text": str(i)}) for i, person in enumerate([anna, ben] * 50)]
    answers = [answer.json() for answer in falcon.together(*sent)]
    assert sorted(answer["seq"] for answer in answers) == list(range(1, 101))
    kept = {message["seq"]: message["text"] for message in ben.reads(room, limit=200)["messages"]}
    assert kept == {answer["seq"]: answer["text"] for answer in answers}


def test_a_reply_says_to_what(anna: Person, ben: Person, room: Room) -> None:
    question = anna.says(room, "Tea?")
    answer = ben.says(room, "Please", reply_to=question)
    assert anna.message(room, answer)["reply_to"] == question


def test_mentions_are_kept_in_order_once_each(anna: Person, ben: Person, room: Room) -> None:
    seq = anna.says(room, "You and me", mentions=[ben.account_id, anna.account_id, ben.account_id])
    assert ben.message(room, seq)["mentions"] == [ben.account_id, anna.account_id]


# --- texts ------------------------------------------------------------------------------------------------------------

LONGEST = {
    "ascii": "x" * TEXT_BYTES_MAX,
    "two bytes a character": "é" * (TEXT_BYTES_MAX // 2) + "x",
    "three bytes a character": "茶" * (TEXT_BYTES_MAX // 3),
    "four bytes a character": "🫖" * (TEXT_BYTES_MAX // 4) + "xxx",
    "escaped in JSON": "\x01" * TEXT_BYTES_MAX,
}


@pytest.mark.parametrize("text", LONGEST.values(), ids=LONGEST)
def test_a_text_may_take_65535_bytes(anna: Person, room: Room, text: str) -> None:
    assert len(text.encode()) == TEXT_BYTES_MAX
    seq = anna.says(room, text)
    assert anna.message(room, seq)["text"] == text
    assert texts(anna.reads(room)) == [text]
    assert anna.patch(f"{room}/messages/{seq}", {"text": text[::-1]}).json()["text"] == text[::-1]


@pytest.mark.parametrize("text", LONGEST.values(), ids=LONGEST)
def test_and_not_a_byte_more(anna: Person, room: Room, text: str) -> None:
    problem(anna.post(f"{room}/messages", {"text": text + "!"}), 422, "invalid", "text")
    seq = anna.says(room, "Short")
    problem(anna.patch(f"{room}/messages/{seq}", {"text": text + "!"}), 422, "invalid", "text")
    assert texts(anna.reads(room)) == ["Short"]


def test_an_empty_text_is_no_message(anna: Person, room: Room) -> None:
    problem(anna.post(f"{room}/messages", {"text": ""}), 422, "invalid", "text")


@pytest.mark.parametrize(
    "text",
    [
        "\0",
        "before\0after",
        " ",
        "\n",
        "\r\n",
        "  two spaces, kept  ",
        unicodedata.normalize("NFC", "Käse"),
        unicodedata.normalize("NFD", "Käse"),
        "\ufeffwith a byte order mark",
        "\u2028\u2029\u0085",
        "\uffff\ufffe",
        "\u202eright to left",
        "👩‍👩‍👧‍👦",
        '"quoted" \\ </script>',
        "'; DROP TABLE timeline; --",
    ],
)
def test_a_text_is_kept_as_it_is(anna: Person, ben: Person, room: Room, text: str) -> None:
    seq = anna.says(room, text)
    assert ben.message(room, seq)["text"] == text
    assert ben.summary(room)["last_message"]["text"] == text


@given(text=st.text(min_size=1, max_size=300))
@settings(tried(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_kept_as_it_is(anna: Person, room: Room, text: str) -> None:
    assert anna.message(room, anna.says(room, text))["text"] == text


# --- one message ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seq", ["2", "0", "-1", "01234567890123456", "x", "1.0", "9007199254740991", "9007199254740992"]
)
def test_what_is_no_message_is_not_found(anna: Person, room: Room, seq: str) -> None:
    anna.says(room, "The only one")
    problem(anna.get(f"{room}/messages/{seq}"), 404, "message_not_found")
    problem(anna.patch(f"{room}/messages/{seq}", {"text": "x"}), 404, "message_not_found")
    problem(anna.delete(f"{room}/messages/{seq}"), 404, "message_not_found")


def test_no_seq_reaches_into_another_room(anna: Person, falcon: Falcon) -> None:
    ben = falcon.account("Ben")
    for _ in range(2_000):  # ids of rooms are random
        mine, secret = anna.makes_room("Mine"), ben.makes_room("Secret")
        if mine.room_id | secret.room_id == secret.room_id:
            break
    ben.says(secret, "For nobody else")
    problem(anna.get(f"{mine}/messages/{(secret.room_id << 32) + 1}"), 404, "message_not_found")


# --- editing ----------------------------------------------------------------------------------------------------------


def test_an_author_edits_a_message_and_everybody_reads_the_new_text(anna: Person, ben: Person, room: Room) -> None:
    before = anna.post(f"{room}/messages", {"text": "Tee"}).json()
    edited = anna.patch(f"{room}/messages/1", {"text": "Tea"})
    assert edited.status_code == 200
    after = edited.json()
    assert TIME.fullmatch(after["edited_at"]) and after["edited_at"] >= before["posted_at"]
    assert after == without_more(before) | {"text": "Tea", "edited_at": after["edited_at"]}
    assert ben.message(room, 1) == after | {"reactions": [], "thread": None}
    assert ben.reads(room)["messages"] == [after | {"reactions": [], "thread": None}]
    assert ben.summary(room)["last_message"] == after


def test_an_edit_keeps_the_mentions_unless_it_brings_others(anna: Person, ben: Person, room: Room) -> None:
    seq = anna.says(room, "Ben?", mentions=[ben.account_id])
    assert anna.patch(f"{room}/messages/{seq}", {"text": "Ben!"}).json()["mentions"] == [ben.account_id]
    assert anna.patch(f"{room}/messages/{seq}", {"text": "Ben!", "mentions": None}).json()["mentions"] == [
        ben.account_id
    ]
    to_herself = {"text": "Me!", "mentions": [anna.account_id]}
    assert anna.patch(f"{room}/messages/{seq}", to_herself).json()["mentions"] == [anna.account_id]
    assert anna.patch(f"{room}/messages/{seq}", {"text": "Nobody", "mentions": []}).json()["mentions"] == []


def test_many_edits_at_once_leave_one_of_them(falcon: Falcon, anna: Person, room: Room) -> None:
    seq = anna.says(room, "0")
    edits = [anna.request("PATCH", f"{room}/messages/{seq}", {"text": str(i)}) for i in range(1, 31)]
    answers = falcon.together(*edits)
    kept = without_more(anna.message(room, seq))
    # Some requests give up, since the message keeps changing. They have done nothing.
    for answer in answers:
        assert answer.status_code == 200 or problem(answer, 503, "unavailable")
    assert kept in [answer.json() for answer in answers if answer.status_code == 200]


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_a_deleted_message_keeps_its_place_and_loses_its_text(anna: Person, ben: Person, room: Room) -> None:
    for text in ("One", "Two", "Three"):
        anna.says(room, text, mentions=[ben.account_id])
    before = anna.message(room, 2)
    deleted = anna.delete(f"{room}/messages/2")
    assert (deleted.status_code, deleted.content) == (204, b"")
    after = ben.message(room, 2)
    assert after == before | {"deleted": True, "text": "", "mentions": []}
    page = ben.reads(room)
    assert seqs(page) == [1, 2, 3] and texts(page) == ["One", "", "Three"]
    assert anna.says(room, "Four") == 4


def test_a_room_s_admin_deletes_anything_and_a_member_only_what_is_its_own(
    anna: Person, ben: Person, room: Room
) -> None:
    annas, bens = anna.says(room, "A"), ben.says(room, "B")
    problem(ben.delete(f"{room}/messages/{annas}"), 403, "not_the_author")
    assert anna.delete(f"{room}/messages/{bens}").status_code == 204
    bens = ben.says(room, "B again")
    assert ben.delete(f"{room}/messages/{bens}").status_code == 204


def test_an_edit_and_a_deletion_at_once_end_deleted(falcon: Falcon, anna: Person, room: Room) -> None:
    for _ in range(10):
        seq = anna.says(room, "x")
        edit = anna.request("PATCH", f"{room}/messages/{seq}", {"text": "y"})
        delete = anna.request("DELETE", f"{room}/messages/{seq}")
        edited, deleted = falcon.together(edit, delete)
        assert deleted.status_code == 204
        assert edited.status_code == 200 or problem(edited, 409, "message_deleted")
        assert anna.message(room, seq)["text"] == ""


def test_a_short_request_about_a_long_message_weighs_what_it_takes_along(
    falcon: Falcon, anna: Person, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of such commands would be larger than an owner takes."""
    sizes: list[int] = []
    ask = falcon.edge.gateway.ask

    def weigh(envelope: CommandEnvelope) -> Any:
        sizes.append(envelope.size)
        return ask(envelope)

    anna.says(room, "x" * 60_000)
    monkeypatch.setattr(falcon.edge.gateway, "ask", weigh)
    assert anna.put(f"{room}/messages/1/reactions/{quote('👍')}").is_success
    assert anna.delete(f"{room}/messages/1").is_success
    assert len(sizes) == 2
    assert all(60_000 < size < 61_000 for size in sizes)
