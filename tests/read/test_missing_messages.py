"""A message that the read tables cannot show keeps its place, and every client can read what stands there."""

import msgspec

from falcon.domain.ids import NOBODY
from falcon.features.messages.bodies import MISSING, UNKNOWN_TIME, message_in, missing_message, row_of
from falcon.features.messages.rules import Message
from falcon_chat.models import Message as ClientMessage

NOON = 1_764_072_000_000  # 2025-11-25T12:00:00Z


def test_a_missing_message_says_so_in_the_shape_of_a_message() -> None:
    assert msgspec.json.decode(missing_message(64, 7)) == {
        "room_id": 64,
        "seq": 7,
        "author_id": 0,
        "text": "",
        "posted_at": "1970-01-01T00:00:00.000Z",
        "edited_at": None,
        "deleted": True,
        "reply_to": None,
        "mentions": [],
        "missing": True,
    }


def test_a_missing_message_reads_as_a_deleted_one_where_nobody_knows_of_missing_ones() -> None:
    shown = message_in(missing_message(64, 7))
    assert shown == Message(64, 7, NOBODY, "", UNKNOWN_TIME, deleted=True)
    assert msgspec.json.decode(missing_message(64, 7), type=ClientMessage).deleted


def test_a_client_is_told_which_messages_are_missing() -> None:
    assert msgspec.json.decode(missing_message(64, 7), type=ClientMessage).missing
    said = row_of(Message(64, 7, 65, "Tea?", NOON))
    assert not msgspec.json.decode(said, type=ClientMessage).missing


def test_a_missing_message_tells_its_time_where_that_is_known() -> None:
    assert message_in(missing_message(64, 7, NOON)).posted_at == NOON


def test_no_text_makes_a_message_look_missing() -> None:
    assert MISSING in missing_message(64, 7)
    for text in ('"missing":true', '","missing":true', '\\","missing":true', "missing"):
        assert MISSING not in row_of(Message(64, 7, 65, text, NOON))
