"""A chat message as it now stands."""

import msgspec

from falcon.domain.ids import AccountId, Millis, RoomId, Seq


class Message(msgspec.Struct, frozen=True, gc=False):
    """A deleted message keeps its place and has no text."""

    room_id: RoomId
    seq: Seq
    author_id: AccountId
    text: str
    posted_at: Millis
    edited_at: Millis | None = None
    deleted: bool = False
    reply_to: Seq | None = None
    mentions: tuple[AccountId, ...] = ()
