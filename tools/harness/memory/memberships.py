"""Memberships and mentions in memory, and the room lists of members."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.reactions.table import version_of
from falcon.features.read_marks.table import (
    Access,
    DropMember,
    ManyRooms,
    MemberRoom,
    MemberRow,
    RoomCursor,
    RoomSummaryRow,
    SetMention,
    SetReadMark,
    SetRole,
    UpsertMember,
    room_summary,
)
from falcon.features.rooms.rules import Role
from falcon.read.write import Write
from tools.harness.memory import accounts, reactions, rooms, timeline
from tools.harness.memory.models import MemoryQueryContext, query


class _Member(NamedTuple):
    role: Role
    read_seq: Seq


@dataclass
class MembershipTables:
    members: dict[tuple[RoomId, AccountId], _Member] = field(default_factory=dict)
    mentions: set[tuple[AccountId, RoomId, Seq]] = field(default_factory=set)

    def apply(self, write: Write) -> None:
        match write:
            case UpsertMember(room_id, account_id, role, read_seq):
                self.members[room_id, account_id] = _Member(role, read_seq)
            case SetRole(room_id, account_id, role) if member := self.members.get((room_id, account_id)):
                self.members[room_id, account_id] = member._replace(role=role)
            case SetReadMark(room_id, account_id, read_seq) if member := self.members.get((room_id, account_id)):
                self.members[room_id, account_id] = member._replace(read_seq=read_seq)
            case DropMember(room_id, account_id):
                self.members.pop((room_id, account_id), None)
            case SetMention(account_id, room_id, seq, mentioned):
                change = self.mentions.add if mentioned else self.mentions.discard
                change((account_id, room_id, seq))


def tables(view: MemoryQueryContext) -> MembershipTables:
    found: MembershipTables = view.tables("memberships")
    return found


def access(view: MemoryQueryContext, room_id: RoomId, account_id: AccountId) -> Access | None:
    member, room = tables(view).members.get((room_id, account_id)), rooms.room(view, room_id)
    if member is None or room is None:
        return None
    revision = reactions.tables(view).revisions.get(room_id, 0)
    version = version_of(view.generation("reactions"), revision) if revision else 0
    return Access(member.role, member.read_seq, room.last_seq, timeline.version(view, room_id), version)


def rooms_of(
    view: MemoryQueryContext, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
) -> list[RoomSummaryRow]:
    if most is not None and len(roles_of(view, account_id, most + 1)) > most:
        raise ManyRooms
    there = sorted(
        member_rooms_among(view, account_id, list(roles_of(view, account_id, 1 << 31))), key=_activity, reverse=True
    )
    if cursor is not None:
        there = [each for each in there if _activity(each) < (cursor.updated_at, cursor.room_id)]
    return summaries(view, account_id, there[:limit])


def room_of(view: MemoryQueryContext, account_id: AccountId, room_id: RoomId) -> RoomSummaryRow | None:
    found = member_rooms_among(view, account_id, [room_id])
    return summaries(view, account_id, found)[0] if found else None


def roles_of(view: MemoryQueryContext, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
    roles = {r: member.role for (r, a), member in tables(view).members.items() if a == account_id and r > after}
    return dict(sorted(roles.items())[:limit])


def member_rooms(
    view: MemoryQueryContext, account_id: AccountId, limit: int, after: RoomId = 0
) -> tuple[list[MemberRoom], RoomId | None]:
    room_ids = list(roles_of(view, account_id, limit, after))
    return member_rooms_among(view, account_id, room_ids), room_ids[-1] if len(room_ids) == limit else None


def member_rooms_among(
    view: MemoryQueryContext, account_id: AccountId, room_ids: Collection[RoomId]
) -> list[MemberRoom]:
    there = tables(view).members
    found = [rooms.room(view, room_id) for room_id in room_ids if (room_id, account_id) in there]
    return [MemberRoom(room, *there[room.room_id, account_id]) for room in found if room is not None]


def summaries(view: MemoryQueryContext, account_id: AccountId, of: Sequence[MemberRoom]) -> list[RoomSummaryRow]:
    return [_summary(view, account_id, each) for each in of]


def summaries_of(view: MemoryQueryContext, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
    return [row for row in rooms_of(view, account_id, None, 1 << 31) if row.room.room_id in room_ids]


def members(view: MemoryQueryContext, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
    there = tables(view).members
    found = sorted(a for r, a in there if r == room_id and a > after)[:limit]
    return [MemberRow(each, accounts.name(view, each), *there[room_id, each]) for each in found]


def mentions(view: MemoryQueryContext, account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> int:
    there = tables(view).mentions
    return sum(a == account_id and r == room_id and after < seq <= through for a, r, seq in there)


def _activity(member: MemberRoom) -> tuple[str, RoomId]:
    return member.room.updated_at, member.room.room_id


def _summary(view: MemoryQueryContext, account_id: AccountId, member: MemberRoom) -> RoomSummaryRow:
    room = member.room
    seq = timeline.newest(view, room.room_id, room.last_seq)
    mentioned = mentions(view, account_id, room.room_id, member.read_seq, seq)
    message = timeline.message(view, room.room_id, seq) if seq else None
    newest = None if message is None else (seq, message)
    return room_summary(room, member.role, member.read_seq, mentioned, newest)


class MemoryMembershipQueries:
    access = query(access)
    rooms_of = query(rooms_of)
    room_of = query(room_of)
    roles_of = query(roles_of)
    member_rooms = query(member_rooms)
    member_rooms_among = query(member_rooms_among)
    summaries = query(summaries)
    summaries_of = query(summaries_of)
    members = query(members)
    mentions = query(mentions)
