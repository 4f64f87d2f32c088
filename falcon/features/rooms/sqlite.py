"""Rooms in SQLite."""

from collections.abc import Collection
from operator import attrgetter
from typing import Any, Final

from falcon.domain.ids import AccountId, RoomId
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
from falcon.read.sqlite import Files, SqliteModel, SqliteQueryContext, by_file, in_file_of, json_of, query

COLUMNS: Final = (
    "r.room_id, r.kind, r.name, r.description, r.created_at, r.last_seq, r.updated_at, r.imported, r.smaller, r.larger,"
    " r.open, r.is_default, r.members, r.parent, r.parent_seq, r.has_threads"
)

MODEL: Final = SqliteModel(
    tables={
        "rooms": """CREATE TABLE rooms{} (
        room_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL,
        created_at TEXT NOT NULL, smaller INTEGER, larger INTEGER, imported INTEGER NOT NULL,
        last_seq INTEGER NOT NULL DEFAULT 0, updated_at TEXT NOT NULL DEFAULT '',
        open INTEGER NOT NULL DEFAULT 0, is_default INTEGER NOT NULL DEFAULT 0, members INTEGER NOT NULL DEFAULT 0,
        parent INTEGER, parent_seq INTEGER, has_threads INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX rooms_{unique} ON rooms{} (smaller, larger) WHERE smaller IS NOT NULL""",
    },
    identities={"rooms": "room_id"},
    statements={
        UpsertRoom: (
            "INSERT OR REPLACE INTO rooms{} (room_id, kind, name, description, created_at, smaller, larger, imported,"
            " parent, parent_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        ),
        SetRoomName: ("UPDATE rooms{} SET name = ?2, description = ?3, updated_at = ?4 WHERE room_id = ?1",),
        SetRoomActivity: ("UPDATE rooms{} SET last_seq = ?2, updated_at = ?3 WHERE room_id = ?1",),
        SetRoomOpen: ("UPDATE rooms{} SET open = ?2, is_default = ?3, members = ?4 WHERE room_id = ?1",),
        SetRoomMembers: ("UPDATE rooms{} SET members = ?2 WHERE room_id = ?1",),
        SetRoomThreads: ("UPDATE rooms{} SET has_threads = 1 WHERE room_id = ?1",),
        DropRoom: ("DELETE FROM rooms{} WHERE room_id = ?1",),
    },
    folded={SetRoomActivity: attrgetter("room_id")},
)


def room(view: SqliteQueryContext, room_id: RoomId) -> RoomRow | None:
    row = view.execute(f"SELECT {COLUMNS} FROM rooms r WHERE room_id = ?", (room_id,)).fetchone()
    return None if row is None else room_in(row)


def rooms_among(view: SqliteQueryContext, room_ids: Collection[RoomId]) -> list[RoomRow]:
    rows = view.execute(
        f"SELECT {COLUMNS} FROM rooms r WHERE room_id IN (SELECT value FROM json_each(?))", (json_of(room_ids),)
    )
    return [room_in(row) for row in rows]


def direct_rooms(view: SqliteQueryContext, pairs: Collection[tuple[AccountId, AccountId]]) -> list[RoomRow]:
    rows = view.execute(
        f"SELECT {COLUMNS} FROM json_each(?) e JOIN rooms r ON r.smaller = e.value ->> 0 AND r.larger = e.value ->> 1",
        (json_of(pairs),),
    )
    return [room_in(row) for row in rows]


def all_rooms(view: SqliteQueryContext, after: RoomId, limit: int) -> list[RoomRow]:
    rows = view.execute(f"SELECT {COLUMNS} FROM rooms r WHERE room_id > ? ORDER BY room_id LIMIT ?", (after, limit))
    return [room_in(row) for row in rows]


def room_in(row: Any) -> RoomRow:
    *fields, imported, smaller, larger, is_open, default, members, parent, parent_seq, has_threads = row
    peers = None if smaller is None else (smaller, larger)
    of_thread = None if parent is None else (parent, parent_seq)
    flags = bool(imported), peers, bool(is_open), bool(default), members, of_thread, bool(has_threads)
    return RoomRow(*fields, *flags)  # type: ignore[call-arg]  # COLUMNS are its fields


class SqliteRoomQueries:
    room = query(room, "rooms")
    rooms_among = query(rooms_among, "rooms")
    direct_rooms = query(direct_rooms, "rooms")
    all_rooms = query(all_rooms, "rooms")


class SqliteFilesRoomQueries:
    room = in_file_of(SqliteRoomQueries.room)

    async def rooms_among(self: Files, room_ids: Collection[RoomId]) -> list[RoomRow]:
        return [
            row
            for file, of_file in by_file(self, room_ids).items()
            for row in await SqliteRoomQueries.rooms_among(file, of_file)
        ]

    async def direct_rooms(self: Files, pairs: Collection[tuple[AccountId, AccountId]]) -> list[RoomRow]:
        return [row for file in self.files for row in await SqliteRoomQueries.direct_rooms(file, pairs)]

    async def all_rooms(self: Files, after: RoomId, limit: int) -> list[RoomRow]:
        rows = [row for file in self.files for row in await SqliteRoomQueries.all_rooms(file, after, limit)]
        return sorted(rows, key=attrgetter("room_id"))[:limit]
