"""Items of rooms in memory."""

from dataclasses import dataclass, field

from falcon.domain.ids import RoomId
from falcon.read.room_items import DropItem, Item, PutItem
from falcon.read.write import Write
from tools.harness.memory.models import MemoryQueryContext, query


@dataclass
class RoomItemTables:
    items: dict[tuple[RoomId, bytes], bytes] = field(default_factory=dict)

    def apply(self, write: Write) -> None:
        match write:
            case PutItem(room_id, key, value):
                self.items[room_id, key] = value
            case DropItem(room_id, key):
                self.items.pop((room_id, key), None)


def room_items(
    view: MemoryQueryContext, room_id: RoomId, model: str, first: bytes, last: bytes, limit: int
) -> list[Item]:
    found: RoomItemTables = view.tables(model)
    rows = sorted(found.items.items())
    return [Item(key, value) for (room, key), value in rows if room == room_id and first <= key <= last][:limit]


class MemoryRoomItemQueries:
    room_items = query(room_items)
