"""Rows of the read tables, as queries see them."""

from typing import Annotated, NamedTuple

import msgspec

from falcon.domain.commands import Role, RoomKind
from falcon.domain.ids import ID_MAX, AccountId, RoomId, Seq


class RoomRow(msgspec.Struct, frozen=True):
    """``peers``: the pair of a direct room."""

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    created_at: str
    last_seq: Seq
    updated_at: str
    imported: bool
    peers: tuple[AccountId, AccountId] | None


class Access(msgspec.Struct, frozen=True):
    """A member's standing in a room, and how far the room's messages go.

    ``version``: another one whenever messages that could be read before may read otherwise.
    """

    role: Role
    read_seq: Seq
    last_seq: Seq
    version: int


class MemberRow(msgspec.Struct, frozen=True):
    account_id: AccountId
    name: str
    role: Role
    read_seq: Seq


class RoomSummaryRow(msgspec.Struct, frozen=True):
    """A room as one of its members lists it; ``room_summary`` makes it and says what holds of its numbers.

    ``last_message`` is the JSON of message ``room.last_seq``, None in a room without messages.
    """

    room: RoomRow
    role: Role
    read_seq: Seq
    mentions: int
    last_message: bytes | None

    @property
    def unread(self) -> int:
        return self.room.last_seq - self.read_seq


def room_summary(
    room: RoomRow, role: Role, read_seq: Seq, mentions: int, newest: tuple[Seq, bytes] | None
) -> RoomSummaryRow:
    """A summary whose numbers belong to one place in the log, though the tables they come from stand at several.

    ``newest``: the newest message that the timeline has up to ``room.last_seq``. ``mentions``: counted from
    ``read_seq`` (excluded) to it. What is ahead of the timeline, or of the room, is not told yet, so that of every
    summary: ``read_seq <= last_seq``, ``unread == last_seq - read_seq``, ``last_message`` is message ``last_seq``, and
    pages have every message up to ``last_seq``.
    """
    last_seq, last_message = newest or (0, None)
    if last_seq != room.last_seq:
        room = msgspec.structs.replace(room, last_seq=last_seq)
    return RoomSummaryRow(room, role, min(read_seq, last_seq), mentions, last_message)


class AccountRow(msgspec.Struct, frozen=True):
    account_id: AccountId
    name: str
    is_admin: bool
    created_at: str


class TokenRow(msgspec.Struct, frozen=True):
    token_id: int
    created_at: str


class Standing(NamedTuple):
    """A member's role in a room, when something last happened there, and the number of its newest message."""

    role: Role
    updated_at: str
    last_seq: Seq


class RoomCursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a list of rooms by newest activity goes on."""

    updated_at: str
    room_id: Annotated[RoomId, msgspec.Meta(ge=1, le=ID_MAX)]
