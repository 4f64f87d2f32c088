"""A chat message as it now stands: the shape that goes out to clients, is stored, and travels in events."""

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq


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
