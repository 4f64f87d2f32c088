"""Read tables in memory: ProjectionTables and ReadStore."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from falcon.domain.commands import Role
from falcon.domain.ids import AccountId, Partition, RoomId, Seq
from falcon.journal.envelope import Cursor, Position
from falcon.read import store
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
from falcon.read.store import Comparison, ManyRooms, Reached, Skip, StaleProjector, Stop, Write, shown_by


@dataclass
class _Tables:
    """Those of one projection; each uses its own."""

    cursor: dict[Partition, Position]
    quiet_since: dict[Partition, dict[str, int]] = field(default_factory=dict)
    messages: dict[tuple[RoomId, Seq], bytes] = field(default_factory=dict)
    revisions: dict[RoomId, int] = field(default_factory=dict)
    rooms: dict[RoomId, dict[str, Any]] = field(default_factory=dict)
    members: dict[tuple[RoomId, AccountId], dict[str, Any]] = field(default_factory=dict)
    mentions: set[tuple[AccountId, RoomId, Seq]] = field(default_factory=set)
    accounts: dict[AccountId, AccountRow] = field(default_factory=dict)
    tokens: dict[tuple[AccountId, int], tuple[str, str]] = field(default_factory=dict)


class _Comparing:
    """Of messages only."""

    def __init__(self, messages: dict[tuple[RoomId, Seq], bytes], mend: bool) -> None:
        self._messages = messages
        self._mend = mend
        self._written: set[tuple[RoomId, Seq]] = set()

    def compare(self, partition: Partition, through: int, writes: Sequence[Write]) -> Comparison:
        wanted = {(write.room_id, write.seq): write.message for write in writes if isinstance(write, store.PutMessage)}
        self._written |= wanted.keys()
        missing = [place for place in wanted if place not in self._messages]
        wrong = [place for place, message in wanted.items() if self._messages.get(place, message) != message]
        if self._mend:
            self._messages.update(wanted)
        return Comparison(len(wanted), len(missing), len(wrong))

    def rest(self) -> Iterator[Comparison]:
        yield Comparison(unexplained=len(self._messages.keys() - self._written))


class MemoryTables:
    def __init__(self, partitions: int, projections: Sequence[str]) -> None:
        self._partitions = partitions
        self._projections = {name: self._empty() for name in projections}
        self._stopped: dict[str, str] = {}
        self._stops: dict[tuple[str, Partition], Stop] = {}
        self._skips: dict[tuple[str, Partition, int], Skip] = {}
        self._went_back: str | None = None
        self._rebuilds = 0

    def _empty(self) -> _Tables:
        return _Tables(dict.fromkeys(range(self._partitions), Position()))

    # --- ProjectionTables ---------------------------------------------------------------------------------------------

    def cursor(self, projection: str) -> Cursor:
        return dict(self._projections[projection].cursor)

    def apply(
        self,
        projection: str,
        expected: Cursor,
        after: Cursor,
        writes: Sequence[Write],
        quiet_since: Mapping[Partition, Mapping[str, int]] = MappingProxyType({}),
    ) -> None:
        tables = self._projections[projection]
        if any(tables.cursor[partition] != position for partition, position in expected.items()):
            raise StaleProjector(projection)
        for write in writes:
            _APPLY[type(write)](tables, write)
        tables.cursor.update(after)
        tables.quiet_since.update({partition: dict(quiet_since.get(partition, {})) for partition in after})

    def begin_rebuild(self, projection: str) -> str:
        self._projections[f"{projection}_rebuilding"] = self._empty()
        return f"{projection}_rebuilding"

    def finish_rebuild(self, projection: str, catch_up: Callable[[], None]) -> None:
        catch_up()
        self._projections[projection] = self._projections.pop(f"{projection}_rebuilding")
        self._rebuilds += 1

    def stopped(self, projection: str, error: str | None) -> None:
        if error is None:
            self._stopped.pop(projection, None)
        else:
            self._stopped[projection] = error

    def why_stopped(self, projection: str) -> str | None:
        return self._stopped.get(projection)

    # --- of streams ---------------------------------------------------------------------------------------------------

    def stop(self, projection: str, partition: Partition, stop: Stop) -> None:
        self._stops[projection, partition] = stop

    def go_on(self, projection: str, partition: Partition) -> None:
        self._stops.pop((projection, partition), None)

    def stops(self, projection: str) -> dict[Partition, Stop]:
        return {partition: stop for (name, partition), stop in self._stops.items() if name == projection}

    def skip(self, projection: str, skip: Skip) -> None:
        self._skips[projection, skip.partition, skip.at.offset] = skip

    def skips(self, projection: str) -> list[Skip]:
        return [skip for (name, _, _), skip in self._skips.items() if name == projection]

    def went_back(self, why: str | None) -> None:
        self._went_back = why

    def why_went_back(self) -> str | None:
        return self._went_back

    def comparing(self, projection: str, ends: Cursor, *, mend: bool) -> "_Comparing":
        return _Comparing(self._projections[projection].messages, mend)

    # --- ReadStore ----------------------------------------------------------------------------------------------------

    async def applied(self, partition: Partition) -> int:
        return (await self.applied_everywhere(self._partitions))[partition].offset

    async def applied_in(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return {partition: await self.applied(partition) for partition in partitions}

    async def applied_everywhere(
        self, partitions: int, projections: Sequence[str] | None = None
    ) -> dict[Partition, Position]:
        live = {name: tables for name, tables in self._projections.items() if not name.endswith("_rebuilding")}
        shown: dict[Partition, Position] = {}
        for partition in range(partitions):
            reached = {
                name: Reached(tables.cursor[partition], tables.quiet_since.get(partition, {}))
                for name, tables in live.items()
            }
            shown[partition] = min(shown_by(name, reached) for name in projections or live)
        return shown

    async def access(self, room_id: RoomId, account_id: AccountId) -> Access | None:
        member, room = self._members.get((room_id, account_id)), self._rooms.get(room_id)
        if member is None or room is None:
            return None
        return Access(
            member["role"],
            member["read_seq"],
            room["last_seq"],
            self._revisions.get(room_id, 0) + (self._rebuilds << 40),
        )

    async def page(self, room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
        newest = max((seq for room, seq in self._messages if room == room_id), default=0)
        places = [(room_id, seq) for seq in range(max(first, 1), min(last, newest) + 1)]
        return [self._messages[place] if place in self._messages else missing_message(*place) for place in places]

    async def message(self, room_id: RoomId, seq: Seq) -> bytes | None:
        return next(iter(await self.page(room_id, seq, seq)), None)

    async def message_at(self, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
        return await self.message(room_id, seq), self._revisions.get(room_id, 0)

    async def newest(self, room_id: RoomId, through: Seq) -> Seq:
        return self._newest(room_id, through)

    async def room(self, room_id: RoomId) -> RoomRow | None:
        room = self._rooms.get(room_id)
        return None if room is None else RoomRow(room_id, **room)

    async def direct_room(self, smaller: AccountId, larger: AccountId) -> RoomRow | None:
        pair = (smaller, larger)
        return next((RoomRow(r, **room) for r, room in self._rooms.items() if room["peers"] == pair), None)

    async def rooms_of(
        self, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
    ) -> list[RoomSummaryRow]:
        if most is not None and len(await self.roles_of(account_id, most + 1)) > most:
            raise ManyRooms
        rooms = [RoomRow(r, **self._rooms[r]) for r, a in self._members if a == account_id and r in self._rooms]
        rooms.sort(key=lambda room: (room.updated_at, room.room_id), reverse=True)
        if cursor is not None:
            rooms = [r for r in rooms if (r.updated_at, r.room_id) < (cursor.updated_at, cursor.room_id)]
        return [self._summary(account_id, room) for room in rooms[:limit]]

    async def roles_of(self, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
        roles = {r: member["role"] for (r, a), member in self._members.items() if a == account_id and r > after}
        return dict(sorted(roles.items())[:limit])

    async def standings_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> dict[RoomId, Standing]:
        rows = await self.summaries_of(account_id, room_ids)
        return {row.room.room_id: Standing(row.role, row.room.updated_at, row.room.last_seq) for row in rows}

    async def summaries_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
        return [row for row in await self.rooms_of(account_id, None, 1 << 31) if row.room.room_id in room_ids]

    async def room_of(self, account_id: AccountId, room_id: RoomId) -> RoomSummaryRow | None:
        if (room_id, account_id) not in self._members or room_id not in self._rooms:
            return None
        return self._summary(account_id, RoomRow(room_id, **self._rooms[room_id]))

    async def members(self, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
        accounts = sorted(a for r, a in self._members if r == room_id and a > after)[:limit]
        return [self._member(room_id, account_id) for account_id in accounts]

    async def mentions(self, account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> int:
        mentions = self._projections["memberships"].mentions
        return sum(a == account_id and r == room_id and after < seq <= through for a, r, seq in mentions)

    async def account(self, account_id: AccountId) -> AccountRow | None:
        return self._accounts.get(account_id)

    async def accounts(self, after: AccountId, limit: int) -> list[AccountRow]:
        return [self._accounts[a] for a in sorted(self._accounts) if a > after][:limit]

    async def bearer(self, account_id: AccountId, token_hash: str) -> AccountRow | None:
        tokens = self._projections["accounts"].tokens
        known = any(account == account_id and kept[0] == token_hash for (account, _), kept in tokens.items())
        return self._accounts.get(account_id) if known else None

    async def tokens(self, account_id: AccountId) -> list[TokenRow]:
        tokens = self._projections["accounts"].tokens
        return [TokenRow(i, kept[1]) for (account, i), kept in sorted(tokens.items()) if account == account_id]

    async def all_rooms(self, after: RoomId, limit: int) -> list[RoomRow]:
        return [RoomRow(r, **self._rooms[r]) for r in sorted(self._rooms) if r > after][:limit]

    async def totals(self) -> tuple[int, int, int]:
        return len(self._accounts), len(self._rooms), sum(room["last_seq"] for room in self._rooms.values())

    # --- the tables ---------------------------------------------------------------------------------------------------

    @property
    def _messages(self) -> dict[tuple[RoomId, Seq], bytes]:
        return self._projections["timeline"].messages

    @property
    def _revisions(self) -> dict[RoomId, int]:
        return self._projections["timeline"].revisions

    @property
    def _rooms(self) -> dict[RoomId, dict[str, Any]]:
        return self._projections["rooms"].rooms

    @property
    def _members(self) -> dict[tuple[RoomId, AccountId], dict[str, Any]]:
        return self._projections["memberships"].members

    @property
    def _accounts(self) -> dict[AccountId, AccountRow]:
        return self._projections["accounts"].accounts

    def _newest(self, room_id: RoomId, through: Seq) -> Seq:
        return max((seq for room, seq in self._messages if room == room_id and seq <= through), default=0)

    def _member(self, room_id: RoomId, account_id: AccountId) -> MemberRow:
        member, account = self._members[room_id, account_id], self._accounts.get(account_id)
        return MemberRow(account_id, "" if account is None else account.name, member["role"], member["read_seq"])

    def _summary(self, account_id: AccountId, room: RoomRow) -> RoomSummaryRow:
        member = self._members[room.room_id, account_id]
        newest = self._newest(room.room_id, room.last_seq)
        mentions = sum(
            a == account_id and r == room.room_id and member["read_seq"] < seq <= newest
            for a, r, seq in self._projections["memberships"].mentions
        )
        message = (newest, self._messages[room.room_id, newest]) if newest else None
        return room_summary(room, member["role"], member["read_seq"], mentions, message)


def _put_room(tables: _Tables, write: store.PutRoom) -> None:
    tables.rooms[write.room_id] = {
        "kind": write.kind,
        "name": write.name,
        "description": write.description,
        "created_at": write.created_at,
        "last_seq": 0,
        "updated_at": "",
        "imported": write.imported,
        "peers": None if write.smaller is None else (write.smaller, write.larger),
    }


def _set_room(tables: _Tables, room_id: RoomId, **fields: Any) -> None:
    if room_id in tables.rooms:
        tables.rooms[room_id].update(fields)


def _set_member(tables: _Tables, room_id: RoomId, account_id: AccountId, **fields: Any) -> None:
    if (room_id, account_id) in tables.members:
        tables.members[room_id, account_id].update(fields)


def _set_mention(tables: _Tables, write: store.SetMention) -> None:
    mention = (write.account_id, write.room_id, write.seq)
    if write.mentioned:
        tables.mentions.add(mention)
    else:
        tables.mentions.discard(mention)


_APPLY: dict[type[Any], Callable[[_Tables, Any], object]] = {
    store.PutMessage: lambda t, w: t.messages.__setitem__((w.room_id, w.seq), w.message),
    store.PutRoom: _put_room,
    store.SetRoomName: lambda t, w: _set_room(
        t, w.room_id, name=w.name, description=w.description, updated_at=w.updated_at
    ),
    store.SetRoomActivity: lambda t, w: _set_room(t, w.room_id, last_seq=w.last_seq, updated_at=w.updated_at),
    store.SetRevision: lambda t, w: t.revisions.__setitem__(w.room_id, w.revision),
    store.DropRoom: lambda t, w: t.rooms.pop(w.room_id, None),
    store.PutMember: lambda t, w: t.members.__setitem__(
        (w.room_id, w.account_id), {"role": w.role, "read_seq": w.read_seq}
    ),
    store.SetRole: lambda t, w: _set_member(t, w.room_id, w.account_id, role=w.role),
    store.SetReadMark: lambda t, w: _set_member(t, w.room_id, w.account_id, read_seq=w.read_seq),
    store.DropMember: lambda t, w: t.members.pop((w.room_id, w.account_id), None),
    store.SetMention: _set_mention,
    store.PutAccount: lambda t, w: t.accounts.__setitem__(
        w.account_id, AccountRow(w.account_id, w.name, w.is_admin, w.created_at)
    ),
    store.PutToken: lambda t, w: t.tokens.__setitem__((w.account_id, w.token_id), (w.token_hash, w.created_at)),
    store.DropToken: lambda t, w: t.tokens.pop((w.account_id, w.token_id), None),
}
