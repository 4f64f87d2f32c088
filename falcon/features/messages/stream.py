"""Messages in the stream."""

from typing import Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.messages.rules import MessageDeleted, MessageEdited, MessagePosted
from falcon.streams.event import StreamEvent


class StreamedMessage(msgspec.Struct, frozen=True, gc=False):
    room_id: RoomId
    seq: Seq
    author_id: AccountId
    text: str
    posted_at: str
    edited_at: str | None
    deleted: bool
    reply_to: Seq | None
    mentions: tuple[AccountId, ...]


MESSAGES: Final = {
    MessagePosted: StreamEvent("message.posted", "A message is posted.", StreamedMessage),
    MessageEdited: StreamEvent(
        "message.edited", "Its author edits a message. The data are the message as it is now.", StreamedMessage
    ),
    MessageDeleted: StreamEvent(
        "message.deleted", "A message is deleted. The data are the message without text.", StreamedMessage
    ),
}
EVENTS: Final = tuple(MESSAGES.values())
