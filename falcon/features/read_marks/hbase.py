"""Memberships and mentions in HBase. Each membership is stored twice: under the room, and under the account."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.accounts import hbase as accounts
from falcon.features.messages import hbase as timeline
from falcon.features.reactions import hbase as reactions
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
from falcon.features.rooms import hbase as rooms
from falcon.features.rooms.rules import Role
from falcon.features.rooms.table import RoomRow
from falcon.features.threads.rules import FOLLOWERS_MAX
from falcon.read.hbase import (
    ALL_ROWS,
    FAST_DIFF,
    NO,
    PREFIXES_KEPT,
    THERE_ONLY,
    U16,
    U32,
    U64,
    YES,
    Cells,
    HBaseModel,
    HBaseQueryContext,
    Row,
    RowAbout,
    hashed,
    id_at_end,
    prefix_end,
    query,
)
from falcon.read.store import BeingFilled

MENTIONS_BUCKET: Final = 1_000  # messages: an account's mentions in a room are in few rows
MEMBER: Final = b"d:i"  # 1 while the account is a member
MEMBER_ROLE: Final = b"d:r"
MEMBER_READ_SEQ: Final = b"d:m"
MEMBER_PARENT: Final = b"d:p"  # of one who follows a thread only: the thread's room
MEMBER_CELLS: Final = frozenset((MEMBER, MEMBER_ROLE, MEMBER_READ_SEQ))  # a member has all
_OF_ROOM, _OF_ACCOUNT = b"r", b"a"
_MENTION_KEYS: Final = 4  # if there are more rows than these, scan instead


# --- keys -------------------------------------------------------------------------------------------------------------


def member_key(room_id: RoomId, account_id: AccountId) -> bytes:
    return _members(room_id) + U64(account_id)


def membership_key(account_id: AccountId, room_id: RoomId) -> bytes:
    return _memberships(account_id) + U64(room_id)


def members_range(room_id: RoomId, after: AccountId) -> tuple[bytes, bytes]:
    """The start and the end of the room's members after ``after``."""
    return _members(room_id) + U64(after + 1), prefix_end(_members(room_id))


def memberships_range(account_id: AccountId, after: RoomId = 0) -> tuple[bytes, bytes]:
    """The start and the end of the account's memberships after room ``after``."""
    return _memberships(account_id) + U64(after + 1), prefix_end(_memberships(account_id))


def mentions_key(account_id: AccountId, room_id: RoomId, seq: Seq) -> bytes:
    return hashed(U64(account_id)) + U64(room_id) + U32(seq // MENTIONS_BUCKET)


def mentions_keys(account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> list[bytes]:
    """The rows with the mentions in messages ``after`` (excluded) to ``through``."""
    first, last = after + 1, min(through, timeline.SEQ_MAX)
    return [mentions_key(account_id, room_id, seq) for seq in _each_bucket(first, last)]


def mentions_range(account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> tuple[bytes, bytes]:
    """The start and the end of these rows."""
    last = mentions_key(account_id, room_id, min(through, timeline.SEQ_MAX))
    return mentions_key(account_id, room_id, after + 1), last + b"\0"


def mentions_rows(after: Seq, through: Seq) -> int:
    """The greatest number of rows with the mentions in messages ``after`` (excluded) to ``through``."""
    return len(_each_bucket(after + 1, min(through, timeline.SEQ_MAX)))


def mention_column(seq: Seq) -> bytes:
    return b"d:" + U16(seq % MENTIONS_BUCKET)


def mentioned_seq(row: bytes, column: bytes) -> Seq:
    """The inverse of ``mentions_key`` and ``mention_column``."""
    return int.from_bytes(row[-4:], "big") * MENTIONS_BUCKET + int.from_bytes(column[-2:], "big")


@lru_cache(PREFIXES_KEPT)
def _members(room_id: RoomId) -> bytes:
    return hashed(U64(room_id), _OF_ROOM)


def _memberships(account_id: AccountId) -> bytes:
    return hashed(U64(account_id), _OF_ACCOUNT)


def _each_bucket(first: Seq, last: Seq) -> range:
    """One seq in each of the rows of mentions from ``first`` to ``last``."""
    return range(first // MENTIONS_BUCKET * MENTIONS_BUCKET, last + 1, MENTIONS_BUCKET) if first <= last else range(0)


# --- writing ----------------------------------------------------------------------------------------------------------


def _put_member(write: UpsertMember) -> Cells:
    fields = {
        MEMBER: YES,
        MEMBER_ROLE: write.role.encode(),
        MEMBER_READ_SEQ: b"%d" % write.read_seq,
    }
    if write.parent:
        fields[MEMBER_PARENT] = b"%d" % write.parent
    return _both_ways(write, fields)


def _set_role(write: SetRole) -> Cells:
    return _both_ways(write, {MEMBER_ROLE: write.role.encode()})


def _set_read_mark(write: SetReadMark) -> Cells:
    return _both_ways(write, {MEMBER_READ_SEQ: b"%d" % write.read_seq})


def _drop_member(write: DropMember) -> Cells:
    return _both_ways(write, {MEMBER: NO})


def _both_ways(write: Any, fields: Mapping[bytes, bytes]) -> Cells:
    rows = (
        member_key(write.room_id, write.account_id),
        membership_key(write.account_id, write.room_id),
    )
    return tuple((row, column, value) for row in rows for column, value in fields.items())


def _set_mention(write: SetMention) -> Cells:
    row = mentions_key(write.account_id, write.room_id, write.seq)
    return ((row, mention_column(write.seq), YES if write.mentioned else NO),)


def _identity_of_row(table: str, key: bytes, row: Row) -> int:
    if table == "mentions":
        return int.from_bytes(key[10:18], "big")
    return int.from_bytes(key[3:11], "big") if key[2:3] == _OF_ROOM else id_at_end(key)


MODEL: Final = HBaseModel(
    tables={"memberships": (4, (FAST_DIFF,)), "mentions": (4, (FAST_DIFF,))},
    puts=("memberships", "mentions"),
    cells={
        UpsertMember: (0, _put_member),
        SetRole: (0, _set_role),
        SetReadMark: (0, _set_read_mark),
        DropMember: (0, _drop_member),
        SetMention: (1, _set_mention),
    },
    identity=attrgetter("room_id"),
    identity_of_row=_identity_of_row,
)


# --- queries ----------------------------------------------------------------------------------------------------------


def _table(view: HBaseQueryContext) -> str:
    return view.table("memberships", "memberships")


def access(
    view: HBaseQueryContext, room_id: RoomId, account_id: AccountId, newest: Newest | None = None
) -> Access | None:
    """Two waits for rows that are not kept: who may read, and what has changed with ``newest`` beside it. If the room
    has a newer message its page is not known either, so ``newest`` is read although what has changed is kept."""
    about_member: RowAbout = _table(view), member_key(room_id, account_id), "member", ()
    (member, _), (room, was_read) = view.rows_about(room_id, (about_member, rooms.row_about(view, room_id)))
    is_member = _is_member(member)
    found = rooms.room_in(room_id, room)
    if found is None or not (is_member or found.open or found.parent):
        return None
    rights = None
    if found.parent is not None:
        rights = access(view, found.parent[0], account_id)
        if rights is None:
            return None
    # Read the versions first: what is read after them is at least as new.
    version, reacted = _versions(view, found, newest, read_on=was_read is not None)
    role, read_seq = (_role(member), _read_seq(member)) if is_member else (None, found.last_seq)
    if rights is not None:
        role = rights.role
    follows = rights is not None and is_member
    return Access(role, read_seq, found.last_seq, version, reacted, found.has_threads, follows)


def _versions(
    view: HBaseQueryContext, room: RoomRow, newest: Newest | None, *, read_on: bool
) -> tuple[int, int | None]:
    """The versions of the messages and of the reactions to them; None while these are being filled. ``read_on``: read
    ``newest`` even if it does not come along with them."""
    room_id, first, last = room.room_id, 1, 0
    if newest is not None and newest.count <= timeline.IN_ROWS_AT_ONCE:
        first, last = max(1, room.last_seq - newest.count + 1), room.last_seq
    heads = [timeline.head_about(view, room_id, first, last)]
    try:
        heads.append(reactions.head_about(view, room_id, first, last))
    except BeingFilled:
        (head, rows), reacted, kinds = view.rows_about(room_id, heads)[0], None, None
    else:
        (head, rows), (head_of_reactions, kinds) = view.rows_about(room_id, heads)
        reacted = reactions.version_in(view, head_of_reactions)
    if newest is not None:
        if rows is None and read_on and first <= last:
            wanted = [(table, beside) for table, _, _, beside in heads[: 2 if reacted else 1]]
            (_, rows), *others = view.calls.rows_at_once(wanted)
            kinds = others[0][1] if others else None
        messages = timeline.up_to_a_hole(rows or {}, room_id, first, last)
        newest.messages = messages if first <= last == first + len(messages) - 1 else None
        newest.reactions = None if kinds is None else reactions.shown_in(view, kinds, first, last)
    return timeline.version_in(view, head), reacted


def rooms_of(
    view: HBaseQueryContext, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
) -> list[RoomSummaryRow]:
    """Reads all memberships of the account and their rooms, then the last messages and the mentions of the picked
    ones."""
    start, stop = memberships_range(account_id)
    scanned = view.calls.scan(_table(view), start, stop, ALL_ROWS if most is None else most + 1, THERE_ONLY)
    if most is not None and len(scanned) > most:
        raise ManyRooms
    scanned = [(key, row) for key, row in scanned if MEMBER_PARENT not in row]
    found = sorted(_with_rooms(view, _members_in(scanned)), key=_newest, reverse=True)
    if cursor is not None:
        found = [each for each in found if _newest(each) < (cursor.updated_at, cursor.room_id)]
    return summaries(view, account_id, found[:limit])


def summaries(view: HBaseQueryContext, account_id: AccountId, of: Sequence[MemberRoom]) -> list[RoomSummaryRow]:
    last = {each.room.room_id: each.room.last_seq for each in of if each.room.last_seq}
    newest = timeline.newest_messages(view, last)
    read = {each.room.room_id: each.read_seq for each in of}
    mentioned = _mentions(view, account_id, {room_id: (read[room_id], seq) for room_id, (seq, _) in newest.items()})
    return [
        room_summary(
            each.room,
            each.role,
            each.read_seq,
            mentioned.get(each.room.room_id, 0),
            newest.get(each.room.room_id),
        )
        for each in of
    ]


def member_rooms(
    view: HBaseQueryContext, account_id: AccountId, limit: int, after: RoomId = 0
) -> tuple[list[MemberRoom], RoomId | None]:
    scanned = view.calls.scan(_table(view), *memberships_range(account_id, after), limit, THERE_ONLY)
    following = id_at_end(scanned[-1][0]) if len(scanned) == limit else None
    return _with_rooms(view, _members_in(scanned)), following


def member_rooms_among(
    view: HBaseQueryContext, account_id: AccountId, room_ids: Collection[RoomId]
) -> list[MemberRoom]:
    return _with_rooms(view, _members_of(view, account_id, room_ids))


def summaries_of(view: HBaseQueryContext, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
    found = sorted(member_rooms_among(view, account_id, room_ids), key=_newest, reverse=True)
    return summaries(view, account_id, found)


def _members_in(scanned: Sequence[tuple[bytes, Row]]) -> dict[RoomId, Row]:
    """An account's rows by room."""
    return {id_at_end(key): row for key, row in scanned if _is_member(row)}


def _with_rooms(view: HBaseQueryContext, members: Mapping[RoomId, Row]) -> list[MemberRoom]:
    """``members``: an account's rows by room."""
    found = rooms.rooms_among(view, members)
    return [MemberRoom(row, _role(members[row.room_id]), _read_seq(members[row.room_id])) for row in found]


def _members_of(view: HBaseQueryContext, account_id: AccountId, room_ids: Collection[RoomId]) -> dict[RoomId, Row]:
    """The account's rows in those of these rooms of which it is a member."""
    keys = {membership_key(account_id, room_id): room_id for room_id in room_ids}
    found = view.calls.rows(_table(view), keys)
    return {room_id: found[key] for key, room_id in keys.items() if _is_member(found.get(key, {}))}


def roles_of(view: HBaseQueryContext, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
    found: dict[RoomId, Role] = {}
    while len(found) < limit:
        scanned = view.calls.scan(_table(view), *memberships_range(account_id, after), limit, THERE_ONLY)
        found |= {id_at_end(key): _role(row) for key, row in scanned if MEMBER_PARENT not in row}
        if len(scanned) < limit:
            break
        after = id_at_end(scanned[-1][0])
    return dict(list(found.items())[:limit])


def follows_of(view: HBaseQueryContext, account_id: AccountId) -> dict[RoomId, RoomId]:
    scanned = view.calls.scan(_table(view), *memberships_range(account_id), ALL_ROWS, THERE_ONLY)
    return {id_at_end(key): int(row[MEMBER_PARENT]) for key, row in scanned if MEMBER_PARENT in row}


def members(view: HBaseQueryContext, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
    start, stop = members_range(room_id, after)
    roles: dict[AccountId, Role] = {}
    for most in (limit, FOLLOWERS_MAX):  # read all followers of a thread if some of them have left its room
        scanned = view.calls.scan(_table(view), start, stop, most, THERE_ONLY) if limit > 0 else []
        rows = {id_at_end(key): row for key, row in scanned if _is_member(row)}
        roles = _roles_in_room(view, rows)
        if len(roles) == len(rows):
            break
    shown = list(roles)[:limit]
    names = {account.account_id: account.name for account in accounts.accounts_among(view, shown)}
    return [MemberRow(each, names.get(each, ""), roles[each], _read_seq(rows[each])) for each in shown]


def _roles_in_room(view: HBaseQueryContext, rows: Mapping[AccountId, Row]) -> dict[AccountId, Role]:
    """The roles of members; of a thread's followers those in its room, without followers who have left that."""
    keys = {each: member_key(int(row[MEMBER_PARENT]), each) for each, row in rows.items() if MEMBER_PARENT in row}
    found = view.calls.rows(_table(view), keys.values()) if keys else {}
    held = {each: row if each not in keys else found.get(keys[each], {}) for each, row in rows.items()}
    return {each: _role(row) for each, row in held.items() if _is_member(row)}


def members_among(view: HBaseQueryContext, room_id: RoomId, account_ids: Collection[AccountId]) -> set[AccountId]:
    keys = {member_key(room_id, account_id): account_id for account_id in account_ids}
    return {keys[key] for key, row in view.calls.rows(_table(view), keys).items() if _is_member(row)}


def mentions(view: HBaseQueryContext, account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> int:
    return _mentions(view, account_id, {room_id: (after, through)})[room_id]


def _newest(member: MemberRoom) -> tuple[str, RoomId]:
    return member.room.updated_at, member.room.room_id


def _is_member(row: Row) -> bool:
    return row.keys() >= MEMBER_CELLS and row[MEMBER] == YES


def _role(row: Row) -> Role:
    return row[MEMBER_ROLE].decode()  # type: ignore[return-value]  # only roles are written


def _read_seq(row: Row) -> Seq:
    return int(row[MEMBER_READ_SEQ])


def _mentions(
    view: HBaseQueryContext, account_id: AccountId, ranges: dict[RoomId, tuple[Seq, Seq]]
) -> dict[RoomId, int]:
    """Counts, by room, the messages from the first (excluded) to the second seq that mention the account.

    A few rows are read by key, for all rooms in one call. If a room has many unread messages its rows are scanned: only
    rows with mentions of the account exist, at most one for a thousand messages.
    """
    keys = {
        room_id: mentions_keys(account_id, room_id, *between)
        for room_id, between in ranges.items()
        if mentions_rows(*between) <= _MENTION_KEYS
    }
    table = view.table("memberships", "mentions")
    found = view.calls.rows(table, (key for of_room in keys.values() for key in of_room))
    counts: dict[RoomId, int] = {}
    for room_id, (after, through) in ranges.items():
        if room_id in keys:
            rows = [(key, found[key]) for key in keys[room_id] if key in found]
        else:
            start, stop = mentions_range(account_id, room_id, after, through)
            rows = view.calls.scan(table, start, stop, ALL_ROWS)
        counts[room_id] = sum(
            after < mentioned_seq(key, column) <= through and value == YES
            for key, row in rows
            for column, value in row.items()
        )
    return counts


class HBaseMembershipQueries:
    access = query(access)
    rooms_of = query(rooms_of)
    roles_of = query(roles_of)
    follows_of = query(follows_of)
    member_rooms = query(member_rooms)
    member_rooms_among = query(member_rooms_among)
    summaries = query(summaries)
    summaries_of = query(summaries_of)
    members = query(members)
    members_among = query(members_among)
    mentions = query(mentions)
