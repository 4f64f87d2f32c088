"""What is asked of the read tables, each a function that blocks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from falcon.adapters.hbase import schema
from falcon.adapters.hbase.calls import Calls, Row
from falcon.adapters.hbase.cells import NO_TOKEN
from falcon.adapters.hbase.meta import Generations, Meta, applied_key, applied_of
from falcon.domain.commands import Role, RoomKind
from falcon.domain.ids import ID_MAX, AccountId, Partition, RoomId, Seq, partition_of
from falcon.journal.envelope import Position
from falcon.read.messages import missing_message
from falcon.read.models import (
    Access,
    AccountRow,
    MemberRow,
    RoomCursor,
    RoomRow,
    RoomSummaryRow,
    Standing,
    TokenRow,
    room_summary,
)
from falcon.read.store import ManyRooms, ReadStoreUnavailable, shown_by

_REVISION_BITS: Final = 40
_MENTION_KEYS: Final = 4  # more rows than these are scanned for
_ALL: Final = 2**31 - 1
_SAMPLE: Final = 5_000
_YES: Final = b"1"
_MEMBERS_ONLY: Final = "SingleColumnValueFilter('d', 'i', =, 'binary:1', true, true)"

_Made = tuple[RoomKind, str, bool, AccountId | None, AccountId | None]
_decode_made = msgspec.json.Decoder(_Made).decode
_decode_name = msgspec.json.Decoder(tuple[str, str]).decode
_decode_account = msgspec.json.Decoder(tuple[str, bool, str]).decode
_decode_token = msgspec.json.Decoder(tuple[str, str]).decode


class View(NamedTuple):
    """The tables as they are for one query: its calls, and the generations that were live a moment ago."""

    calls: Calls
    prefix: str
    live: dict[str, Generations]

    def generation(self, projection: str) -> int:
        if projection not in self.live:
            raise ReadStoreUnavailable(f"there are no tables {self.prefix}_* of {projection}: prepare them first")
        return self.live[projection].live

    def timeline(self) -> str:
        return self._table("timeline", "timeline")

    def rooms(self) -> str:
        return self._table("rooms", "rooms")

    def memberships(self) -> str:
        return self._table("memberships", "memberships")

    def mentions(self) -> str:
        return self._table("memberships", "mentions")

    def accounts(self) -> str:
        return self._table("accounts", "accounts")

    def _table(self, projection: str, table: str) -> str:
        return schema.table_name(self.prefix, table, self.generation(projection))


# --- messages ---------------------------------------------------------------------------------------------------------


def applied(view: View, partition: Partition) -> int:
    return applied_in(view, [partition])[partition]


def applied_in(view: View, partitions: Collection[Partition]) -> dict[Partition, int]:
    if not view.live:
        return dict.fromkeys(partitions, 0)
    return {partition: position.offset for partition, position in _shown(view, partitions, view.live).items()}


def applied_everywhere(
    view: View, partitions: int, projections: Sequence[str] | None = None
) -> dict[Partition, Position]:
    """Where the projection stands that is the furthest behind, of these."""
    return _shown(view, range(partitions), view.live if projections is None else projections)


def _shown(view: View, partitions: Collection[Partition], projections: Collection[str]) -> dict[Partition, Position]:
    keys = {
        (name, partition): applied_key(name, generations.live, partition)
        for name, generations in view.live.items()
        for partition in partitions
    }
    found = Meta(view.calls, view.prefix).get_all(list(keys.values()))
    shown: dict[Partition, Position] = {}
    for partition in partitions:
        reached = {name: applied_of(found.get(keys[name, partition])).reached for name in view.live}
        shown[partition] = min(shown_by(name, reached) for name in projections if name in reached)
    return shown


def page(view: View, room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
    """One call where all of it is there, one more where the timeline ends."""
    first, last = max(first, 1), min(last, schema.SEQ_MAX)
    keys = schema.bucket_keys(room_id, first, last) if first <= last else []
    rows = view.calls.rows(view.timeline(), keys)
    messages: list[bytes] = []
    for key in keys:
        columns = schema.message_columns(first + len(messages), last)
        found = _up_to_a_hole(rows.get(key, {}), columns)
        messages += found
        if len(found) < len(columns):
            return messages + _from_a_hole_on(view, room_id, first + len(messages), last)
    return messages


def _up_to_a_hole(row: Row, columns: Sequence[bytes]) -> list[bytes]:
    found: list[bytes] = []
    for column in columns:
        message = row.get(column)
        if message is None:
            break
        found.append(message)
    return found


def _from_a_hole_on(view: View, room_id: RoomId, hole: Seq, last: Seq) -> list[bytes]:
    """What a page shows from message ``hole`` on, which was not found.

    A batch is not written at once, so a reader may find a part of it, and may not show what stands behind a hole there
    as if there were none. But once the timeline has been applied as far as what stands behind, all before it has been
    applied too, and the hole will not be filled by what is still to come.
    """
    newest_row = view.calls.scan(view.timeline(), *schema.messages_range(room_id, schema.SEQ_MAX), 1)
    if _newest_in(newest_row) < hole:
        return []
    applied = _timeline_applied(view, room_id)  # before the rows, which are then at least as new
    keys = [*schema.bucket_keys(room_id, hole, last), *(key for key, _ in newest_row)]
    rows = view.calls.stamped(view.timeline(), keys)
    stamps = {schema.message_seq(key, column): cell.stamp for key, row in rows.items() for column, cell in row.items()}
    through = max((seq for seq, stamp in stamps.items() if stamp <= applied), default=0)
    messages: list[bytes] = []
    for seq in range(hole, last + 1):
        cell = rows.get(schema.bucket_key(room_id, seq), {}).get(schema.message_column(seq))
        if cell is None and seq > through:
            break
        messages.append(missing_message(room_id, seq) if cell is None else cell.value)
    return messages


def _timeline_applied(view: View, room_id: RoomId) -> int:
    """The offset up to which the timeline has been applied in the room's partition."""
    meta = Meta(view.calls, view.prefix)
    log = meta.log()
    if log is None:
        raise ReadStoreUnavailable(f"the tables {view.prefix}_* name no log: prepare them first")
    partition = partition_of(room_id, log.partitions)
    return applied_of(meta.get(applied_key("timeline", view.generation("timeline"), partition))).position.offset


def newest(view: View, room_id: RoomId, through: Seq) -> Seq:
    seq, _ = _walk_back(view, {room_id: min(through, schema.SEQ_MAX)}).get(room_id, (0, b""))
    return seq


def _newest_messages(view: View, through: Mapping[RoomId, Seq]) -> dict[RoomId, tuple[Seq, bytes]]:
    """The newest message of each room up to a seq, with its own; by one call where those very messages are there. It
    brings some of the messages beside them too, which is dearer than a call a room only for few."""
    places = {
        room_id: (schema.bucket_key(room_id, seq), schema.message_column(seq)) for room_id, seq in through.items()
    }
    columns = {column for _, column in places.values()}
    rows = view.calls.rows(view.timeline(), (key for key, _ in places.values()), columns)
    found = {
        room_id: (through[room_id], message)
        for room_id, (key, column) in places.items()
        if (message := rows.get(key, {}).get(column)) is not None
    }
    behind = {room_id: seq for room_id, seq in through.items() if room_id not in found}
    return found | _walk_back(view, behind) if behind else found


def _walk_back(view: View, through: Mapping[RoomId, Seq]) -> dict[RoomId, tuple[Seq, bytes]]:
    """The same where the timeline is behind: mostly by little, so that it is found within two rows of each room, which
    are one call. The rest are looked for one by one, newest first."""
    keys = {
        room_id: schema.bucket_keys(room_id, max(seq - schema.BUCKET, 1), seq)
        for room_id, seq in through.items()
        if seq >= 1
    }
    near = view.calls.rows(view.timeline(), (key for of_room in keys.values() for key in of_room))
    found: dict[RoomId, tuple[Seq, bytes]] = {}
    for room_id, of_room in keys.items():
        rows = [(key, near[key]) for key in of_room if key in near]
        seq = _newest_in(rows, through[room_id])
        if not seq and schema.message_seq(of_room[0], schema.MESSAGE_COLUMNS[0]) > 1:
            # The first row may have newer messages only.
            start, stop = schema.messages_range(room_id, through[room_id])
            rows = view.calls.scan(view.timeline(), start, stop, 2)
            seq = _newest_in(rows, through[room_id])
        if seq:
            found[room_id] = (seq, dict(rows)[schema.bucket_key(room_id, seq)][schema.message_column(seq)])
    return found


def _newest_in(rows: Iterable[tuple[bytes, Row]], through: Seq = schema.SEQ_MAX) -> Seq:
    """The newest message of these rows up to ``through``; 0 where there is none."""
    seqs = (schema.message_seq(key, column) for key, row in rows for column in row)
    return max((seq for seq in seqs if seq <= through), default=0)


def message(view: View, room_id: RoomId, seq: Seq) -> bytes | None:
    if not 1 <= seq <= schema.SEQ_MAX:
        return None
    column = schema.message_column(seq)
    found = view.calls.row(view.timeline(), schema.bucket_key(room_id, seq), [column]).get(column)
    if found is None:
        found = next(iter(_from_a_hole_on(view, room_id, seq, seq)), None)
    return found


def message_at(view: View, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
    # The revision first: what is read after it is at least as new.
    revision = _revision(view, room_id)
    return message(view, room_id, seq), revision


def _revision(view: View, room_id: RoomId) -> int:
    return int(view.calls.row(view.timeline(), schema.head_key(room_id)).get(schema.REVISION, b"0"))


# --- rooms ------------------------------------------------------------------------------------------------------------


def access(view: View, room_id: RoomId, account_id: AccountId) -> Access | None:
    member = view.calls.row(view.memberships(), schema.member_key(room_id, account_id))
    if not _is_member(member):
        return None
    found = room(view, room_id)
    if found is None:
        return None
    rebuilds = view.generation("timeline") - 1
    version = rebuilds << _REVISION_BITS | _revision(view, room_id)
    return Access(_role(member), _read_seq(member), found.last_seq, version)


def room(view: View, room_id: RoomId) -> RoomRow | None:
    return _room(room_id, view.calls.row(view.rooms(), schema.room_key(room_id)))


def direct_room(view: View, smaller: AccountId, larger: AccountId) -> RoomRow | None:
    found = view.calls.row(view.rooms(), schema.pair_key(smaller, larger)).get(schema.PAIR_ROOM)
    return None if found is None else room(view, int(found))


def rooms_of(
    view: View, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None
) -> list[RoomSummaryRow]:
    """Reads all memberships of the account and their rooms, and of those picked the last messages and the mentions."""
    start, stop = schema.memberships_range(account_id)
    scanned = view.calls.scan(view.memberships(), start, stop, _ALL if most is None else most + 1, _MEMBERS_ONLY)
    if most is not None and len(scanned) > most:
        raise ManyRooms
    members = {schema.id_at_end(key): row for key, row in scanned if _is_member(row)}
    rooms = sorted(_rooms(view, members), key=_newest, reverse=True)
    if cursor is not None:
        rooms = [row for row in rooms if _newest(row) < (cursor.updated_at, cursor.room_id)]
    return _summaries(view, account_id, rooms[:limit], members)


def room_of(view: View, account_id: AccountId, room_id: RoomId) -> RoomSummaryRow | None:
    member = view.calls.row(view.memberships(), schema.member_key(room_id, account_id))
    found = room(view, room_id) if _is_member(member) else None
    return None if found is None else _summaries(view, account_id, [found], {room_id: member})[0]


def _summaries(
    view: View, account_id: AccountId, rooms: Sequence[RoomRow], members: Mapping[RoomId, Row]
) -> list[RoomSummaryRow]:
    """``members``: the account's rows by room."""
    newest = _newest_messages(view, {row.room_id: row.last_seq for row in rooms if row.last_seq})
    read = {row.room_id: _read_seq(members[row.room_id]) for row in rooms}
    unread = {room_id: (read[room_id], seq) for room_id, (seq, _) in newest.items()}
    mentioned = _mentions(view, account_id, unread)
    return [
        room_summary(
            row, _role(members[row.room_id]), read[row.room_id], mentioned.get(row.room_id, 0), newest.get(row.room_id)
        )
        for row in rooms
    ]


def standings_of(view: View, account_id: AccountId, room_ids: Collection[RoomId]) -> dict[RoomId, Standing]:
    members = _members_of(view, account_id, room_ids)
    rooms = _rooms(view, members)
    return {row.room_id: Standing(_role(members[row.room_id]), row.updated_at, row.last_seq) for row in rooms}


def summaries_of(view: View, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
    members = _members_of(view, account_id, room_ids)
    return _summaries(view, account_id, sorted(_rooms(view, members), key=_newest, reverse=True), members)


def _members_of(view: View, account_id: AccountId, room_ids: Collection[RoomId]) -> dict[RoomId, Row]:
    """The account's rows in these rooms, where it is a member."""
    keys = {schema.membership_key(account_id, room_id): room_id for room_id in room_ids}
    found = view.calls.rows(view.memberships(), keys)
    return {room_id: found[key] for key, room_id in keys.items() if _is_member(found.get(key, {}))}


def roles_of(view: View, account_id: AccountId, limit: int, after: RoomId) -> dict[RoomId, Role]:
    start, stop = schema.memberships_range(account_id, after)
    scanned = view.calls.scan(view.memberships(), start, stop, limit, _MEMBERS_ONLY)
    return {schema.id_at_end(key): _role(row) for key, row in scanned}


def members(view: View, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
    start, stop = schema.members_range(room_id, after)
    scanned = view.calls.scan(view.memberships(), start, stop, limit, _MEMBERS_ONLY) if limit > 0 else []
    rows = {schema.id_at_end(key): row for key, row in scanned if _is_member(row)}
    names = {account.account_id: account.name for account in _accounts(view, rows)}
    return [MemberRow(each, names.get(each, ""), _role(row), _read_seq(row)) for each, row in rows.items()]


def mentions(view: View, account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> int:
    return _mentions(view, account_id, {room_id: (after, through)})[room_id]


def all_rooms(view: View, after: RoomId, limit: int) -> list[RoomRow]:
    """A scan of the index and one call for the rooms, whatever there are; more where many of them are gone."""
    found: list[RoomRow] = []
    while len(found) < limit:
        ids = _indexed(view, view.rooms(), after, limit - len(found))
        found += _rooms(view, ids)
        if len(ids) < limit - len(found):
            break
        after = ids[-1]
    return found


def _rooms(view: View, room_ids: Iterable[RoomId]) -> list[RoomRow]:
    """Those that there are, in the order of ``room_ids``."""
    keys = {room_id: schema.room_key(room_id) for room_id in room_ids}
    found = view.calls.rows(view.rooms(), keys.values())
    rooms = (_room(room_id, found.get(key, {})) for room_id, key in keys.items())
    return [each for each in rooms if each is not None]


def _room(room_id: RoomId, row: Row) -> RoomRow | None:
    if not row.keys() >= schema.ROOM_CELLS or row[schema.ROOM_GONE] == _YES:
        return None
    kind, created_at, imported, smaller, larger = _decode_made(row[schema.ROOM_MADE])
    name, description = _decode_name(row[schema.ROOM_NAME])
    return RoomRow(
        room_id,
        kind,
        name,
        description,
        created_at,
        int(row[schema.ROOM_LAST_SEQ]),
        row[schema.ROOM_UPDATED_AT].decode(),
        imported,
        None if smaller is None or larger is None else (smaller, larger),
    )


def _newest(row: RoomRow) -> tuple[str, RoomId]:
    return row.updated_at, row.room_id


def _is_member(row: Row) -> bool:
    return row.keys() >= schema.MEMBER_CELLS and row[schema.MEMBER] == _YES


def _role(row: Row) -> Role:
    return row[schema.MEMBER_ROLE].decode()  # type: ignore[return-value]  # only roles are written


def _read_seq(row: Row) -> Seq:
    return int(row[schema.MEMBER_READ_SEQ])


def _mentions(view: View, account_id: AccountId, ranges: dict[RoomId, tuple[Seq, Seq]]) -> dict[RoomId, int]:
    """How many of the messages from the first (excluded) to the second seq mention the account, by room.

    Few rows are asked for by their keys, all rooms in one call. Where a room has many unread messages its rows are
    scanned: there are only those in which the account is mentioned, at most one for a thousand messages.
    """
    keys = {
        room_id: schema.mentions_keys(account_id, room_id, *between)
        for room_id, between in ranges.items()
        if schema.mentions_rows(*between) <= _MENTION_KEYS
    }
    found = view.calls.rows(view.mentions(), (key for of_room in keys.values() for key in of_room))
    counts: dict[RoomId, int] = {}
    for room_id, (after, through) in ranges.items():
        if room_id in keys:
            rows = [(key, found[key]) for key in keys[room_id] if key in found]
        else:
            start, stop = schema.mentions_range(account_id, room_id, after, through)
            rows = view.calls.scan(view.mentions(), start, stop, _ALL)
        counts[room_id] = sum(
            after < schema.mentioned_seq(key, column) <= through and value == _YES
            for key, row in rows
            for column, value in row.items()
        )
    return counts


# --- accounts ---------------------------------------------------------------------------------------------------------


def account(view: View, account_id: AccountId) -> AccountRow | None:
    return _account(account_id, _account_row(view, account_id))


def accounts(view: View, after: AccountId, limit: int) -> list[AccountRow]:
    return _accounts(view, _indexed(view, view.accounts(), after, limit))


def bearer(view: View, account_id: AccountId, token_hash: str) -> AccountRow | None:
    row = _account_row(view, account_id)
    known = any(held == token_hash for _, held, _ in _tokens(row))
    return _account(account_id, row) if known else None


def tokens(view: View, account_id: AccountId) -> list[TokenRow]:
    return sorted(
        (TokenRow(token_id, created_at) for token_id, _, created_at in _tokens(_account_row(view, account_id))),
        key=lambda token: token.token_id,
    )


def _account_row(view: View, account_id: AccountId) -> Row:
    return view.calls.row(view.accounts(), schema.account_key(account_id))


def _accounts(view: View, account_ids: Iterable[AccountId]) -> list[AccountRow]:
    keys = {account_id: schema.account_key(account_id) for account_id in account_ids}
    found = view.calls.rows(view.accounts(), keys.values(), [schema.ACCOUNT])
    rows = (_account(account_id, found.get(key, {})) for account_id, key in keys.items())
    return [each for each in rows if each is not None]


def _account(account_id: AccountId, row: Row) -> AccountRow | None:
    if schema.ACCOUNT not in row:
        return None
    name, is_admin, created_at = _decode_account(row[schema.ACCOUNT])
    return AccountRow(account_id, name, is_admin, created_at)


def _tokens(row: Row) -> Iterable[tuple[int, str, str]]:
    """Number, hash and time of creation of each."""
    for column, value in row.items():
        if column.startswith(schema.TOKEN) and value != NO_TOKEN:
            token_hash, created_at = _decode_token(value)
            yield int(column[len(schema.TOKEN) :]), token_hash, created_at


# --- everything -------------------------------------------------------------------------------------------------------


def _indexed(view: View, table: str, after: int, limit: int) -> list[int]:
    if limit <= 0 or after >= ID_MAX:
        return []
    start, stop = schema.index_range(after)
    return [schema.id_at_end(key) for key, _ in view.calls.scan(table, start, stop, limit)]


def totals(view: View) -> tuple[int, int, int]:
    """Exact up to some thousand accounts or rooms.

    Of more it looks at the first 5,000, which a hash has chosen, and takes the rest to be alike: two scans of 5,000
    rows at the most, some tens of milliseconds, however many there are.
    """
    accounts, of_accounts = _sample(view, view.accounts())
    rooms, of_rooms = _sample(view, view.rooms())
    known = [each for key, row in rooms if (each := _room(schema.id_at_end(key), row)) is not None]
    return (
        round(sum(schema.ACCOUNT in row for _, row in accounts) / of_accounts),
        round(len(known) / of_rooms),
        round(sum(each.last_seq for each in known) / of_rooms),
    )


def _sample(view: View, table: str) -> tuple[list[tuple[bytes, Row]], float]:
    """Rows of rooms or accounts, and which part of all they are."""
    scanned = view.calls.scan(table, b"", schema.INDEX_START, _SAMPLE)
    share = 1.0 if len(scanned) < _SAMPLE else schema.share_of_keys(scanned[-1][0])
    return [(key, row) for key, row in scanned if schema.is_row(key)], share
