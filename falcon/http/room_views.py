"""Rooms as one account sees them, in the API and in streams."""

from collections.abc import Mapping, Sequence

import msgspec

from falcon.domain.ids import AccountId
from falcon.features.read_marks.table import RoomSummaryRow
from falcon.features.rooms.rules import Role
from falcon.features.rooms.table import RoomRow
from falcon.http import shapes
from falcon.read.names import AccountNames


async def room_summaries(
    names: AccountNames, account_id: AccountId, rows: Sequence[RoomSummaryRow]
) -> list[shapes.RoomSummary]:
    """Raises ReadStoreUnavailable."""
    known = await names.look_up(_others(account_id, [row.room for row in rows]))
    return [_summary(known, account_id, row) for row in rows]


def _summary(names: Mapping[AccountId, str], account_id: AccountId, row: RoomSummaryRow) -> shapes.RoomSummary:
    room = row.room
    return shapes.RoomSummary(
        room_id=room.room_id,
        kind=room.kind,
        name=_name(names, account_id, room),
        description=room.description,
        role=row.role,
        last_seq=room.last_seq,
        created_at=room.created_at,
        peer_id=room.peer_of(account_id),
        open=room.open,
        default=room.default,
        parent=_parent(room),
        follows=msgspec.UNSET if room.parent is None else True,
        read_seq=row.read_seq,
        unread=row.unread,
        mentions=row.mentions,
        # A row is the body byte for byte, so it is not parsed.
        last_message=None if row.last_message is None else msgspec.Raw(row.last_message),
        updated_at=room.updated_at,
    )


async def room_shape(
    names: AccountNames, account_id: AccountId, room: RoomRow, role: Role | None, *, follows: bool
) -> shapes.RoomShape:
    """``follows``: if the room is a thread. Raises ReadStoreUnavailable."""
    known = await names.look_up(_others(account_id, [room]))
    return shapes.RoomShape(
        room.room_id,
        room.kind,
        _name(known, account_id, room),
        room.description,
        role,
        room.last_seq,
        room.created_at,
        room.peer_of(account_id),
        room.open,
        room.default,
        _parent(room),
        msgspec.UNSET if room.parent is None else follows,
    )


def _parent(room: RoomRow) -> shapes.ThreadParent | msgspec.UnsetType:
    return msgspec.UNSET if room.parent is None else shapes.ThreadParent(*room.parent)


def _others(account_id: AccountId, rooms: Sequence[RoomRow]) -> list[AccountId]:
    """The other accounts in direct rooms."""
    return [peer for room in rooms if (peer := room.peer_of(account_id)) is not None]


def _name(names: Mapping[AccountId, str], account_id: AccountId, room: RoomRow) -> str:
    """The name of a direct room is the other account's."""
    peer = room.peer_of(account_id)
    return room.name if peer is None else names.get(peer, "")
