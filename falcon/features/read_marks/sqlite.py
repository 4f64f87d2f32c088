"""Memberships and mentions in SQLite, and the room lists of members."""

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.accounts.sqlite import SqliteAccountQueries
from falcon.features.messages import sqlite as timeline
from falcon.features.reactions import sqlite as reactions
from falcon.features.read_marks.table import (
    Access,
    DropMember,
    ManyRooms,
    MemberRoom,
    MemberRow,
    Newest,
    RoomCursor,
    RoomSummaryRow,
    SetMention,
    SetReadMark,
    SetRole,
    UpsertMember,
    room_summary,
)
from falcon.features.rooms import sqlite as rooms
from falcon.features.rooms.rules import Role
from falcon.read.sqlite import Files, SqliteModel, SqliteQueryContext, by_file, in_file_of, json_of, query

MODEL: Final = SqliteModel(
    tables={
        "memberships": """CREATE TABLE memberships{0} (
        room_id INTEGER NOT NULL, account_id INTEGER NOT NULL, role TEXT NOT NULL, read_seq INTEGER NOT NULL,
        parent INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (room_id, account_id)
    ) WITHOUT ROWID;
    CREATE INDEX memberships_{unique} ON memberships{0} (account_id, room_id);
    CREATE INDEX memberships_follows_{unique} ON memberships{0} (account_id, parent) WHERE parent""",
        "mentions": """CREATE TABLE mentions{} (
        account_id INTEGER NOT NULL, room_id INTEGER NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY (account_id, room_id, seq)
    ) WITHOUT ROWID""",
    },
    identities={"memberships": "room_id", "mentions": "room_id"},
    statements={
        UpsertMember: ("INSERT OR REPLACE INTO memberships{} VALUES (?1, ?2, ?3, ?4, ?5)",),
        SetRole: ("UPDATE memberships{} SET role = ?3 WHERE room_id = ?1 AND account_id = ?2",),
        SetReadMark: ("UPDATE memberships{} SET read_seq = ?3 WHERE room_id = ?1 AND account_id = ?2",),
        DropMember: ("DELETE FROM memberships{} WHERE room_id = ?1 AND account_id = ?2",),
        SetMention: (
            "INSERT OR IGNORE INTO mentions{} SELECT ?1, ?2, ?3 WHERE ?4",
            "DELETE FROM mentions{} WHERE account_id = ?1 AND room_id = ?2 AND seq = ?3 AND NOT ?4",
        ),
    },
    folded={SetReadMark: attrgetter("room_id", "account_id")},
)


def access(
    view: SqliteQueryContext, room_id: RoomId, account_id: AccountId, newest: Newest | None = None
) -> Access | None:
    row: Any = view.execute(
        "SELECT m.role, coalesce(m.read_seq, r.last_seq), r.last_seq, coalesce(v.revision, 0), coalesce(w.revision, 0),"
        " r.has_threads, r.parent"
        " FROM rooms r LEFT JOIN memberships m ON m.room_id = r.room_id AND m.account_id = ?2"
        " LEFT JOIN revisions v ON v.room_id = r.room_id LEFT JOIN reaction_revisions w ON w.room_id = r.room_id"
        " WHERE r.room_id = ?1 AND (m.role IS NOT NULL OR r.open OR r.parent)",
        (room_id, account_id),
    ).fetchone()
    if row is None:
        return None
    role, read_seq, last_seq, revision, reacted, has_threads, parent = row
    follows = False
    if parent is not None:
        rights = access(view, parent, account_id)
        if rights is None:
            return None
        role, follows = rights.role, role is not None
    # While reactions are being filled the table may lack the room, or show an old revision.
    version = None
    if view.shows_all:
        version = reactions.version(view, reacted) if reacted else 0
    messages = view.generation("timeline") << timeline.REVISION_BITS | revision
    return Access(role, read_seq, last_seq, messages, version, bool(has_threads), follows)


def rooms_of(
    view: SqliteQueryContext, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
) -> list[RoomSummaryRow]:
    if most is not None and _is_in_more_than(view, account_id, most):
        raise ManyRooms
    if cursor is None:
        return _summaries(view, "WHERE m.account_id = ? AND NOT m.parent", (account_id,), limit)
    where = "WHERE m.account_id = ? AND NOT m.parent AND (r.updated_at, r.room_id) < (?, ?)"
    return _summaries(view, where, (account_id, cursor.updated_at, cursor.room_id), limit)


def roles_of(view: SqliteQueryContext, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
    rows: Any = view.execute(
        "SELECT room_id, role FROM memberships WHERE account_id = ? AND room_id > ? AND NOT parent"
        " ORDER BY room_id LIMIT ?",
        (account_id, after, limit),
    )
    return dict(rows)


def follows_of(view: SqliteQueryContext, account_id: AccountId) -> dict[RoomId, RoomId]:
    rows: Any = view.execute("SELECT room_id, parent FROM memberships WHERE account_id = ? AND parent", (account_id,))
    return dict(rows)


def member_rooms(
    view: SqliteQueryContext, account_id: AccountId, limit: int, after: RoomId = 0
) -> tuple[list[MemberRoom], RoomId | None]:
    rows: Any = view.execute(
        f"SELECT {rooms.COLUMNS}, m.role, m.read_seq FROM memberships m JOIN rooms r USING (room_id)"
        " WHERE m.account_id = ? AND m.room_id > ? ORDER BY m.room_id LIMIT ?",
        (account_id, after, limit),
    )
    found = [_member_room(row) for row in rows]
    return found, found[-1].room.room_id if len(found) == limit else None


def member_rooms_among(
    view: SqliteQueryContext, account_id: AccountId, room_ids: Collection[RoomId]
) -> list[MemberRoom]:
    rows: Any = view.execute(
        f"SELECT {rooms.COLUMNS}, m.role, m.read_seq FROM json_each(?) e"
        " JOIN memberships m ON m.room_id = e.value AND m.account_id = ? JOIN rooms r ON r.room_id = e.value",
        (json_of(room_ids), account_id),
    )
    return [_member_room(row) for row in rows]


def _member_room(row: Any) -> MemberRoom:
    *room, role, read_seq = row
    return MemberRoom(rooms.room_in(room), role, read_seq)


def summaries(view: SqliteQueryContext, account_id: AccountId, of: Sequence[MemberRoom]) -> list[RoomSummaryRow]:
    places = [(each.room.room_id, each.read_seq, each.room.last_seq) for each in of]
    rows: Any = view.execute(
        "SELECT (SELECT count(*) FROM mentions x WHERE x.account_id = ? AND x.room_id = e.value ->> 0"
        "   AND x.seq > e.value ->> 1 AND x.seq <= t.place & 0xffffffff),"
        f" {timeline.ROW} FROM json_each(?) e LEFT JOIN timeline t ON t.place = (SELECT max(place) FROM timeline"
        "   WHERE place BETWEEN (e.value ->> 0) << 32 AND (e.value ->> 0) << 32 | (e.value ->> 2))"
        f" {timeline.ITS_EVENT}"
        " ORDER BY e.key",
        (account_id, json_of(places)),
    )
    return [
        room_summary(each.room, each.role, each.read_seq, mentions, timeline.newest_in(*row))
        for each, (mentions, *row) in zip(of, rows, strict=True)
    ]


def summaries_of(view: SqliteQueryContext, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
    where = "WHERE m.account_id = ? AND m.room_id IN (SELECT value FROM json_each(?))"
    return _summaries(view, where, (account_id, json_of(room_ids)), len(room_ids))


def members(view: SqliteQueryContext, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
    rows: Any = view.execute(
        "SELECT m.account_id, coalesce(a.name, ''), coalesce(p.role, m.role), m.read_seq FROM memberships m"
        " LEFT JOIN memberships p ON p.room_id = m.parent AND p.account_id = m.account_id"
        " LEFT JOIN accounts a ON a.account_id = m.account_id"
        " WHERE m.room_id = ? AND m.account_id > ? AND (NOT m.parent OR p.role IS NOT NULL)"
        " ORDER BY m.account_id LIMIT ?",
        (room_id, after, limit),
    )
    return [MemberRow(*row) for row in rows]


def members_among(view: SqliteQueryContext, room_id: RoomId, account_ids: Collection[AccountId]) -> set[AccountId]:
    rows: Any = view.execute(
        "SELECT account_id FROM json_each(?) e JOIN memberships m ON m.room_id = ? AND m.account_id = e.value",
        (json_of(account_ids), room_id),
    )
    return {account_id for (account_id,) in rows}


def mentions(view: SqliteQueryContext, account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> int:
    row: Any = view.execute(
        "SELECT count(*) FROM mentions WHERE account_id = ? AND room_id = ? AND seq > ? AND seq <= ?",
        (account_id, room_id, after, through),
    ).fetchone()
    return int(row[0])


def _is_in_more_than(view: SqliteQueryContext, account_id: AccountId, most: int) -> bool:
    row: Any = view.execute(
        "SELECT count(*) FROM (SELECT 1 FROM memberships WHERE account_id = ? LIMIT ?)", (account_id, most + 1)
    ).fetchone()
    return int(row[0]) > most


def _summaries(view: SqliteQueryContext, where: str, bindings: tuple[Any, ...], limit: int) -> list[RoomSummaryRow]:
    """The newest activity first. It is one statement, so that all of it is of one moment: the inner query picks the
    rooms, the outer one looks up what only the picked ones need."""
    rows: Any = view.execute(
        "SELECT p.*, (SELECT count(*) FROM mentions x WHERE x.account_id = p.account_id AND x.room_id = p.room_id"
        "   AND x.seq > p.read_seq AND x.seq <= t.place & 0xffffffff),"
        f" {timeline.ROW} FROM ("
        f" SELECT {rooms.COLUMNS}, m.account_id, m.role, m.read_seq FROM memberships m JOIN rooms r USING (room_id)"
        f"  {where} ORDER BY r.updated_at DESC, r.room_id DESC LIMIT ?) p"
        " LEFT JOIN timeline t ON t.place = (SELECT max(place) FROM timeline"
        "   WHERE place BETWEEN p.room_id << 32 AND p.room_id << 32 | p.last_seq)"
        f" {timeline.ITS_EVENT}"
        " ORDER BY p.updated_at DESC, p.room_id DESC",
        (*bindings, limit),
    )
    return [
        room_summary(
            rooms.room_in(room), role, read_seq, mentions, timeline.newest_in(place, message, type, version, data)
        )
        for *room, _, role, read_seq, mentions, place, message, type, version, data in rows
    ]


class SqliteMembershipQueries:
    access = query(access, "memberships", "rooms", "timeline")
    rooms_of = query(rooms_of, "memberships", "rooms", "timeline")
    roles_of = query(roles_of, "memberships")
    follows_of = query(follows_of, "memberships")
    member_rooms = query(member_rooms, "memberships", "rooms")
    member_rooms_among = query(member_rooms_among, "memberships", "rooms")
    summaries = query(summaries, "memberships", "timeline")
    summaries_of = query(summaries_of, "memberships", "rooms", "timeline")
    members = query(members, "memberships", "accounts")
    members_among = query(members_among, "memberships")
    mentions = query(mentions, "memberships")


class SqliteFilesMembershipQueries:
    """The memberships of a room are in the file of the room, so those of an account are in all of them."""

    access = in_file_of(SqliteMembershipQueries.access)
    members_among = in_file_of(SqliteMembershipQueries.members_among)
    mentions = in_file_of(SqliteMembershipQueries.mentions, 1)

    async def rooms_of(
        self: Files, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
    ) -> list[RoomSummaryRow]:
        if most is not None:
            roles, follows = await _roles_of(self, account_id, most + 1), await _follows_of(self, account_id)
            if len(roles) + len(follows) > most:
                raise ManyRooms
        rows = [
            row
            for file in self.files
            for row in await SqliteMembershipQueries.rooms_of(file, account_id, cursor, limit)
        ]
        return _newest_first(rows)[:limit]

    async def roles_of(self: Files, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
        return await _roles_of(self, account_id, limit, after)

    async def follows_of(self: Files, account_id: AccountId) -> dict[RoomId, RoomId]:
        return await _follows_of(self, account_id)

    async def member_rooms(
        self: Files, account_id: AccountId, limit: int, after: RoomId = 0
    ) -> tuple[list[MemberRoom], RoomId | None]:
        found: list[MemberRoom] = []
        for file in self.files:
            of_file, _ = await SqliteMembershipQueries.member_rooms(file, account_id, limit, after)
            found += of_file
        found = sorted(found, key=lambda each: each.room.room_id)[:limit]
        return found, found[-1].room.room_id if len(found) == limit else None

    async def member_rooms_among(self: Files, account_id: AccountId, room_ids: Collection[RoomId]) -> list[MemberRoom]:
        return [
            each
            for file, of_file in by_file(self, room_ids).items()
            for each in await SqliteMembershipQueries.member_rooms_among(file, account_id, of_file)
        ]

    async def summaries(self: Files, account_id: AccountId, of: Sequence[MemberRoom]) -> list[RoomSummaryRow]:
        members = {each.room.room_id: each for each in of}
        found: dict[RoomId, RoomSummaryRow] = {}
        for file, of_file in by_file(self, members).items():
            rows = await SqliteMembershipQueries.summaries(file, account_id, [members[each] for each in of_file])
            found |= zip(of_file, rows, strict=True)
        return [found[each.room.room_id] for each in of]

    async def summaries_of(self: Files, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
        return _newest_first(
            [
                row
                for file, of_file in by_file(self, room_ids).items()
                for row in await SqliteMembershipQueries.summaries_of(file, account_id, of_file)
            ]
        )

    async def members(self: Files, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
        """The names are in the files of the accounts."""
        rows = await SqliteMembershipQueries.members(self.file_of(room_id), room_id, after, limit)
        names: dict[AccountId, str] = {}
        for file, account_ids in by_file(self, (row.account_id for row in rows)).items():
            names |= await SqliteAccountQueries.names_of(file, account_ids)
        return [msgspec.structs.replace(row, name=names.get(row.account_id, "")) for row in rows]


async def _roles_of(store: Files, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
    roles: dict[RoomId, Role] = {}
    for file in store.files:
        roles |= await SqliteMembershipQueries.roles_of(file, account_id, limit, after)
    return dict(sorted(roles.items())[:limit])


async def _follows_of(store: Files, account_id: AccountId) -> dict[RoomId, RoomId]:
    follows: dict[RoomId, RoomId] = {}
    for file in store.files:
        follows |= await SqliteMembershipQueries.follows_of(file, account_id)
    return follows


def _newest_first(rows: Sequence[RoomSummaryRow]) -> list[RoomSummaryRow]:
    return sorted(rows, key=lambda row: (row.room.updated_at, row.room.room_id), reverse=True)
