"""Rooms in HBase: a row for each room, one for each pair with a direct room, and an index."""

from collections.abc import Collection, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.rooms.rules import RoomKind
from falcon.features.rooms.table import (
    DropRoom,
    RoomRow,
    SetRoomActivity,
    SetRoomMembers,
    SetRoomName,
    SetRoomOpen,
    SetRoomThreads,
    UpsertRoom,
)
from falcon.read.hbase import (
    INDEXED,
    NO,
    PAIR,
    PREFIXES_KEPT,
    ROW,
    U64,
    YES,
    Cells,
    HBaseModel,
    HBaseQueryContext,
    Row,
    RowAbout,
    encode,
    hashed,
    id_at_end,
    index_key,
    indexed,
    query,
)

ROOM_MADE: Final = b"d:k"  # kind, time of creation, imported, pair
ROOM_NAME: Final = b"d:n"  # name, description
ROOM_LAST_SEQ: Final = b"d:s"
ROOM_UPDATED_AT: Final = b"d:u"
ROOM_GONE: Final = b"d:g"
ROOM_CELLS: Final = frozenset((ROOM_MADE, ROOM_NAME, ROOM_LAST_SEQ, ROOM_UPDATED_AT, ROOM_GONE))  # a room has all
# Only a room that has ever been open has these.
ROOM_OPEN: Final = b"d:o"  # open, default
ROOM_MEMBERS: Final = b"d:c"  # how many
ROOM_PARENT: Final = b"d:p"  # of a thread only: room, seq
ROOM_THREADS: Final = b"d:t"  # only if a message has had a thread
_CLOSED: Final = b"[false,false]"
PAIR_ROOM: Final = b"d:r"

_Made = tuple[RoomKind, str, bool, AccountId | None, AccountId | None]
_decode_made = msgspec.json.Decoder(_Made).decode
_decode_name = msgspec.json.Decoder(tuple[str, str]).decode
_decode_parent = msgspec.json.Decoder(tuple[RoomId, Seq]).decode
_decode_open = msgspec.json.Decoder(tuple[bool, bool]).decode


# --- keys -------------------------------------------------------------------------------------------------------------


@lru_cache(PREFIXES_KEPT)
def room_key(room_id: RoomId) -> bytes:
    return hashed(U64(room_id), ROW)


def pair_key(smaller: AccountId, larger: AccountId) -> bytes:
    return hashed(U64(smaller) + U64(larger), PAIR)


# --- writing ----------------------------------------------------------------------------------------------------------


def _put_room(write: UpsertRoom) -> Cells:
    row = room_key(write.room_id)
    made = (write.kind, write.created_at, write.imported, write.smaller, write.larger)
    cells: Cells = (
        (row, ROOM_MADE, encode(made)),
        (row, ROOM_NAME, encode((write.name, write.description))),
        (row, ROOM_LAST_SEQ, b"0"),
        (row, ROOM_UPDATED_AT, b""),
        (row, ROOM_GONE, NO),
        (index_key(write.room_id), INDEXED, YES),
    )
    if write.parent is not None:
        return (*cells, (row, ROOM_PARENT, encode((write.parent, write.parent_seq))))
    if write.smaller is None or write.larger is None:
        return cells
    return (*cells, (pair_key(write.smaller, write.larger), PAIR_ROOM, b"%d" % write.room_id))


def _set_room_name(write: SetRoomName) -> Cells:
    row = room_key(write.room_id)
    return (
        (row, ROOM_NAME, encode((write.name, write.description))),
        (row, ROOM_UPDATED_AT, write.updated_at.encode()),
    )


def _set_room_activity(write: SetRoomActivity) -> Cells:
    row = room_key(write.room_id)
    return (
        (row, ROOM_LAST_SEQ, b"%d" % write.last_seq),
        (row, ROOM_UPDATED_AT, write.updated_at.encode()),
    )


def _set_room_open(write: SetRoomOpen) -> Cells:
    row = room_key(write.room_id)
    return (row, ROOM_OPEN, encode((write.open, write.default))), (row, ROOM_MEMBERS, b"%d" % write.members)


def _set_room_members(write: SetRoomMembers) -> Cells:
    return ((room_key(write.room_id), ROOM_MEMBERS, b"%d" % write.members),)


def _set_room_threads(write: SetRoomThreads) -> Cells:
    return ((room_key(write.room_id), ROOM_THREADS, YES),)


def _drop_room(write: DropRoom) -> Cells:
    return ((room_key(write.room_id), ROOM_GONE, YES),)


def _identity_of_row(table: str, key: bytes, row: Row) -> int:
    return int(row.get(PAIR_ROOM, b"0")) if key[2:3] == PAIR else id_at_end(key)


MODEL: Final = HBaseModel(
    tables={"rooms": (4, ())},
    puts=("rooms",),
    cells={
        UpsertRoom: (0, _put_room),
        SetRoomName: (0, _set_room_name),
        SetRoomActivity: (0, _set_room_activity),
        SetRoomOpen: (0, _set_room_open),
        SetRoomMembers: (0, _set_room_members),
        SetRoomThreads: (0, _set_room_threads),
        DropRoom: (0, _drop_room),
    },
    identity=attrgetter("room_id"),
    identity_of_row=_identity_of_row,
)


# --- queries ----------------------------------------------------------------------------------------------------------


def _table(view: HBaseQueryContext) -> str:
    return view.table("rooms", "rooms")


def room(view: HBaseQueryContext, room_id: RoomId) -> RoomRow | None:
    return room_in(room_id, view.calls.row(_table(view), room_key(room_id)))


def row_about(view: HBaseQueryContext, room_id: RoomId) -> RowAbout:
    return _table(view), room_key(room_id), "newest", ()


def direct_rooms(view: HBaseQueryContext, pairs: Collection[tuple[AccountId, AccountId]]) -> list[RoomRow]:
    found = view.calls.rows(_table(view), (pair_key(*pair) for pair in pairs), [PAIR_ROOM])
    return rooms_among(view, [int(row[PAIR_ROOM]) for row in found.values()])


def all_rooms(view: HBaseQueryContext, after: RoomId, limit: int) -> list[RoomRow]:
    """Scans the index and reads the rooms in one call; more calls if many of them are gone."""
    found: list[RoomRow] = []
    while len(found) < limit:
        ids = indexed(view, _table(view), after, limit - len(found))
        found += rooms_among(view, ids)
        if len(ids) < limit - len(found):
            break
        after = ids[-1]
    return found


def rooms_among(view: HBaseQueryContext, room_ids: Iterable[RoomId]) -> list[RoomRow]:
    """The rooms that exist, in the order of ``room_ids``."""
    keys = {room_id: room_key(room_id) for room_id in room_ids}
    found = view.calls.rows(_table(view), keys.values())
    rooms = (room_in(room_id, found.get(key, {})) for room_id, key in keys.items())
    return [each for each in rooms if each is not None]


def room_in(room_id: RoomId, row: Row) -> RoomRow | None:
    if not row.keys() >= ROOM_CELLS or row[ROOM_GONE] == YES:
        return None
    kind, created_at, imported, smaller, larger = _decode_made(row[ROOM_MADE])
    name, description = _decode_name(row[ROOM_NAME])
    is_open, default = _decode_open(row.get(ROOM_OPEN, _CLOSED))
    return RoomRow(
        room_id,
        kind,
        name,
        description,
        created_at,
        int(row[ROOM_LAST_SEQ]),
        row[ROOM_UPDATED_AT].decode(),
        imported,
        None if smaller is None or larger is None else (smaller, larger),
        is_open,
        default,
        int(row.get(ROOM_MEMBERS, b"0")),
        _decode_parent(row[ROOM_PARENT]) if ROOM_PARENT in row else None,
        ROOM_THREADS in row,
    )


class HBaseRoomQueries:
    room = query(room)
    rooms_among = query(rooms_among)
    direct_rooms = query(direct_rooms)
    all_rooms = query(all_rooms)
