"""The API's messages are the same bytes as the rows of the read tables."""

from typing import get_args, get_type_hints

import msgspec
from hypothesis import given

from falcon.features.messages.bodies import StoredMessage, message_in, missing_message, row_of
from falcon.features.messages.pages import with_more
from falcon.features.messages.rules import Message
from falcon.features.messages.stream import StreamedMessage
from falcon.features.reactions.table import ShownReaction
from falcon.http import shapes
from falcon.streams import delivery, frames
from tests.support.builders import NOW, ROOM, a_message, anything, edited, tried, without_text


@tried(200)
@given(anything(Message))
def test_a_row_of_a_message_is_its_body_byte_for_byte(message: Message) -> None:
    """So a page can send rows unparsed."""
    at = {"posted_at": message.posted_at % (4 * NOW), "edited_at": message.edited_at and message.edited_at % (4 * NOW)}
    message = msgspec.structs.replace(message, **at)
    body = msgspec.json.encode(shapes.message(message))
    assert row_of(message) == body
    plain = msgspec.structs.replace(message, edited_at=None, deleted=False)
    shown = with_more(row_of(plain), None, None)
    assert shown == msgspec.json.encode(shapes.posted_message(plain, None))
    assert message_in(body) == message


def test_a_row_of_a_missing_message_is_one_of_the_shown_ones() -> None:
    row = missing_message(ROOM, 7, NOW)
    assert msgspec.json.encode(msgspec.json.decode(row, type=shapes.ShownMessage)) == row


def test_a_stream_shows_a_message_as_a_page_does() -> None:
    for message in (a_message(), edited(a_message(mentions=(1, 2)), 1).message, without_text(a_message(reply_to=1))):
        assert frames.encode(delivery.show_message(message, ())) == msgspec.json.encode(shapes.message(message))


def test_row_body_and_frame_have_the_same_fields() -> None:
    fields = StoredMessage.__struct_fields__
    assert (*fields, "reactions", "thread") == shapes.MessageShape.__struct_fields__
    assert fields == StreamedMessage.__struct_fields__
    assert ShownReaction.__struct_fields__ == shapes.ReactionSummary.__struct_fields__
    assert get_args(get_type_hints(shapes.MessageShape)["edited_at"]) == (str, type(None))
