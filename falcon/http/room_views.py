"""A room as one account sees it, in the API and in streams."""

import msgspec

from falcon.domain.ids import AccountId
from falcon.http import shapes
from falcon.read.catalogue import ReadStore
from falcon.read.memberships.queries import RoomSummaryRow
from falcon.read.rooms.queries import RoomRow


async def room_summary(store: ReadStore, account_id: AccountId, row: RoomSummaryRow) -> shapes.RoomSummary:
    """Raises ReadStoreUnavailable."""
    room = row.room
    return shapes.RoomSummary(
        room_id=room.room_id,
        kind=room.kind,
        name=await room_name(store, account_id, room),
        description=room.description,
        role=row.role,
        last_seq=room.last_seq,
        created_at=room.created_at,
        read_seq=row.read_seq,
        unread=row.unread,
        mentions=row.mentions,
        last_message=None if row.last_message is None else msgspec.Raw(shapes.messages(row.last_message)),
        updated_at=room.updated_at,
    )


async def room_name(store: ReadStore, account_id: AccountId, room: RoomRow) -> str:
    """The name of a direct room is the other account's. Raises ReadStoreUnavailable."""
    if room.peers is None:
        return room.name
    smaller, larger = room.peers
    peer = await store.account(larger if account_id == smaller else smaller)
    return "" if peer is None else peer.name
