"""Rows of the read tables, as queries see them."""

from typing import Annotated

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
    """A room as one of its members lists it. ``last_message`` is the JSON of the newest message, if there is one."""

    room: RoomRow
    role: Role
    read_seq: Seq
    mentions: int
    last_message: bytes | None


class AccountRow(msgspec.Struct, frozen=True):
    account_id: AccountId
    name: str
    is_admin: bool
    created_at: str


class TokenRow(msgspec.Struct, frozen=True):
    token_id: int
    created_at: str


class RoomCursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a list of rooms by newest activity goes on."""

    updated_at: str
    room_id: Annotated[RoomId, msgspec.Meta(ge=1, le=ID_MAX)]
