"""A chat message as it now stands: the shape that goes out to clients, is stored, and travels in events."""

from typing import Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq

NOBODY: Final[AccountId] = 0  # no account has this id
UNKNOWN_TIME: Final = "1970-01-01T00:00:00.000Z"
MISSING: Final = b'"missing":true'  # in the JSON of a missing message, and of no other: a text has its quotes escaped


class Message(msgspec.Struct, frozen=True, gc=False):
    """Field order is the order on the wire. Times are RFC 3339. A deleted message keeps its place and has no text."""

    room_id: RoomId
    seq: Seq
    author_id: AccountId
    text: str
    posted_at: str
    edited_at: str | None = None
    deleted: bool = False
    reply_to: Seq | None = None
    mentions: tuple[AccountId, ...] = ()


class MissingMessage(Message, frozen=True, gc=False):
    """Stands in the place of a message that the log gave a ``seq`` and the read tables cannot show.

    It decodes as a Message that is deleted and that ``NOBODY`` wrote, so that a client which does not know ``missing``
    shows a deleted message.
    """

    missing: bool = True


_encode: Final = msgspec.json.Encoder().encode


def missing_message(room_id: RoomId, seq: Seq, posted_at: str = UNKNOWN_TIME) -> bytes:
    """The JSON of a message that cannot be shown; ``posted_at`` where its event still tells the time."""
    return _encode(MissingMessage(room_id, seq, NOBODY, "", posted_at, deleted=True))
