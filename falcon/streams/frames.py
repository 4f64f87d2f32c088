"""The frames that clients receive. A frame is encoded once for all receivers, in the form of SSE and of WebSockets."""

from typing import Final, Literal, TypeAlias

import msgspec

from falcon.domain.commands import Role, RoomKind
from falcon.domain.ids import AccountId, RoomId, Seq

Reason: TypeAlias = Literal["draining", "slow", "unauthenticated"]

encode: Final = msgspec.json.Encoder().encode


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


class StreamedRoom(msgspec.Struct, frozen=True):
    """A room as one member sees it. ``role`` is this member's."""

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    role: Role
    last_seq: Seq
    created_at: str


class StreamedMember(msgspec.Struct, frozen=True):
    room_id: RoomId
    account_id: AccountId
    role: Role | None


class StreamedReaction(msgspec.Struct, frozen=True):
    """``count``: how many accounts have reacted with the emoji now."""

    room_id: RoomId
    seq: Seq
    account_id: AccountId
    emoji: str
    count: int


class StreamedReadMark(msgspec.Struct, frozen=True):
    room_id: RoomId
    read_seq: Seq
    unread: int
    mentions: int


class StreamEnd(msgspec.Struct, frozen=True):
    reason: Reason
    retry_after_ms: int


class Frame:
    """``id``: the resume token behind this event. ``name``: of the event. ``data``: JSON."""

    __slots__ = ("_sse", "_text", "data", "id", "name", "wire")

    def __init__(self, id: str, name: str, data: bytes) -> None:
        self.id = id
        self.name = name
        self.data = data
        self.wire: dict[str, bytes] = {}  # encoded for each kind of connection by the first that needs it
        self._sse: bytes | None = None
        self._text: str | None = None

    @property
    def sse(self) -> bytes:
        """The frame as a Server-Sent Event. JSON has no line breaks, so the data is one line."""
        if self._sse is None:
            self._sse = b"id: %b\nevent: %b\ndata: %b\n\n" % (self.id.encode(), self.name.encode(), self.data)
        return self._sse

    @property
    def text(self) -> str:
        """The frame as the text of a WebSocket message."""
        if self._text is None:
            self._text = f'{{"id":"{self.id}","event":"{self.name}","data":{self.data.decode()}}}'
        return self._text

    def __len__(self) -> int:
        return len(self.data) + len(self.id) + 40
