"""Queries of rooms, and the rows that they return."""

from collections.abc import Collection
from typing import Protocol

import msgspec

from falcon.domain.commands import RoomKind
from falcon.domain.ids import AccountId, RoomId, Seq


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


class RoomQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def room(self, room_id: RoomId) -> RoomRow | None: ...

    async def rooms_among(self, room_ids: Collection[RoomId]) -> list[RoomRow]:
        """The rooms that exist among these."""

    async def direct_rooms(self, pairs: Collection[tuple[AccountId, AccountId]]) -> list[RoomRow]:
        """The direct rooms of these pairs, of which the smaller account comes first."""

    async def all_rooms(self, after: RoomId, limit: int) -> list[RoomRow]: ...

    async def totals(self) -> tuple[int, int, int]:
        """The numbers of accounts, rooms and messages."""
