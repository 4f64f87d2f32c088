"""Rooms in memory."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec

from falcon.domain.ids import AccountId, RoomId
from falcon.features.rooms.table import DropRoom, RoomRow, SetRoomActivity, SetRoomName, UpsertRoom
from falcon.read.write import Write
from tools.harness.memory import accounts
from tools.harness.memory.models import MemoryQueryContext, query


@dataclass
class RoomTables:
    rooms: dict[RoomId, RoomRow] = field(default_factory=dict)

    def apply(self, write: Write) -> None:
        match write:
            case UpsertRoom():
                self.rooms[write.room_id] = _room(write)
            case SetRoomName(room_id, name, description, updated_at):
                self._set(room_id, name=name, description=description, updated_at=updated_at)
            case SetRoomActivity(room_id, last_seq, updated_at):
                self._set(room_id, last_seq=last_seq, updated_at=updated_at)
            case DropRoom(room_id):
                self.rooms.pop(room_id, None)

    def _set(self, room_id: RoomId, **fields: Any) -> None:
        if room_id in self.rooms:
            self.rooms[room_id] = msgspec.structs.replace(self.rooms[room_id], **fields)


def _room(put: UpsertRoom) -> RoomRow:
    peers = None if put.smaller is None or put.larger is None else (put.smaller, put.larger)
    return RoomRow(put.room_id, put.kind, put.name, put.description, put.created_at, 0, "", put.imported, peers)


def tables(view: MemoryQueryContext) -> RoomTables:
    found: RoomTables = view.tables("rooms")
    return found


def room(view: MemoryQueryContext, room_id: RoomId) -> RoomRow | None:
    return tables(view).rooms.get(room_id)


def rooms_among(view: MemoryQueryContext, room_ids: Collection[RoomId]) -> list[RoomRow]:
    there = tables(view).rooms
    return [there[room_id] for room_id in room_ids if room_id in there]


def direct_rooms(view: MemoryQueryContext, pairs: Collection[tuple[AccountId, AccountId]]) -> list[RoomRow]:
    return [room for room in tables(view).rooms.values() if room.peers in pairs]


def all_rooms(view: MemoryQueryContext, after: RoomId, limit: int) -> list[RoomRow]:
    rooms = tables(view).rooms
    return [rooms[room_id] for room_id in sorted(rooms) if room_id > after][:limit]


def totals(view: MemoryQueryContext) -> tuple[int, int, int]:
    rooms = tables(view).rooms
    return len(accounts.tables(view).accounts), len(rooms), sum(room.last_seq for room in rooms.values())


class MemoryRoomQueries:
    room = query(room)
    rooms_among = query(rooms_among)
    direct_rooms = query(direct_rooms)
    all_rooms = query(all_rooms)
    totals = query(totals)
