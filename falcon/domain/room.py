"""The state of a room, as far as decisions need it, and how events change it.

It grows with the members, never with the messages: bodies are not state.
"""

from collections.abc import Iterable
from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import force_setattr, replace

from falcon.domain import limits
from falcon.domain.catalogue import RoomEvent
from falcon.domain.commands import Role, RoomKind
from falcon.domain.events import (
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReadMoved,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from falcon.domain.ids import AccountId, Millis, RoomId, Seq
from falcon.domain.limits import CHANGES_REMEMBERED
from falcon.domain.parted_map import IdMap, id_map, with_entry
from falcon.domain.reactions import (
    REACTIONS_REMEMBERED_LEAST,
    REACTIONS_REMEMBERED_MILLIS,
    REACTIONS_REMEMBERED_MOST,
    ReactionAdded,
    ReactionChange,
    ReactionRemoved,
)


class Member(msgspec.Struct, frozen=True, gc=False):
    role: Role
    read_seq: Seq


Members: TypeAlias = IdMap[Member]


def members_of(entries: Iterable[tuple[AccountId, Member]] = ()) -> Members:
    return id_map(limits.MEMBERS_IN_PART, entries)


class Room(msgspec.Struct, frozen=True):
    """``changes`` has the revision of each of the newest edits and deletions, by ``seq``.

    The sender of an edit shows the message as the read side had it at some revision. If the message has changed since,
    or may have (``forgotten``: the newest revision no longer in ``changes``), the view is too old to decide on.

    ``reaction_revision`` counts the changes of reactions, ``reaction_changes`` has the newest, oldest first, and
    ``reactions_forgotten`` is the revision of the newest that it has no more. They bring a view of the reactions to a
    message up to date, and leave ``revision`` alone: a reaction makes no edit stale.

    No message after ``last_mention`` mentions a member. It is not stored: in a room from a snapshot it is ``last_seq``.

    ``admins`` counts them among the members, so that no decision has to read all members of a large room.
    ``member_left``: a member has left, or was removed.

    A ``deleted`` room keeps nothing else, so that it costs little for ever. It does not go entirely: an older snapshot
    that is written late would bring the room back.
    """

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    created_at: Millis
    members: Members
    last_seq: Seq = 0
    revision: int = 0
    changes: tuple[tuple[Seq, int], ...] = ()
    forgotten: int = 0
    reaction_revision: int = 0
    reaction_changes: tuple[ReactionChange, ...] = ()
    reactions_forgotten: int = 0
    imported: bool = False
    deleted: bool = False
    admins: int = 0
    member_left: bool = False
    last_mention: Seq = 0

    def changed_at(self, seq: Seq) -> int:
        """A revision at or after which nothing has happened to this message."""
        for changed, revision in reversed(self.changes):
            if changed == seq:
                return revision
        return self.forgotten

    def peer_of(self, account_id: AccountId) -> AccountId | None:
        """The other account of a direct room."""
        if self.kind != "direct":
            return None
        return next((other for other in self.members if other != account_id), account_id)


def _created(event: RoomCreated) -> Room:
    members = members_of((m.account_id, Member(m.role, 0)) for m in event.members)
    return Room(
        room_id=event.room_id,
        kind=event.kind,
        name=event.name,
        description=event.description,
        created_at=event.created_at,
        members=members,
        imported=event.imported_as is not None,
        admins=sum(member.role == "admin" for member in members.values()),
    )


def _with_member(room: Room, account_id: AccountId, member: Member) -> Room:
    admins = room.admins - _is_admin(room.members.get(account_id)) + _is_admin(member)
    members = with_entry(room.members, limits.MEMBERS_IN_PART, account_id, member)
    return replace(room, members=members, admins=admins)


def _is_admin(member: Member | None) -> bool:
    return member is not None and member.role == "admin"


def _with_change(room: Room, seq: Seq, revision: int) -> Room:
    changes = (*(c for c in room.changes if c[0] != seq), (seq, revision))
    forgotten = room.forgotten
    if len(changes) > CHANGES_REMEMBERED:
        forgotten = changes[0][1]
        changes = changes[1:]
    return replace(room, revision=revision, changes=changes, forgotten=forgotten)


def _with_reaction(room: Room, change: ReactionChange) -> Room:
    changes = (*room.reaction_changes, change)
    recent = change.at - REACTIONS_REMEMBERED_MILLIS
    dropped = max(0, len(changes) - REACTIONS_REMEMBERED_MOST)
    while len(changes) - dropped > REACTIONS_REMEMBERED_LEAST and changes[dropped].at < recent:
        dropped += 1
    forgotten = changes[dropped - 1].revision if dropped else room.reactions_forgotten
    return replace(
        room, reaction_revision=change.revision, reaction_changes=changes[dropped:], reactions_forgotten=forgotten
    )


def evolve(room: Room | None, event: RoomEvent) -> Room:
    """The room after the event. Never refuses: what has happened has happened."""
    if isinstance(event, RoomCreated):
        return _created(event)
    assert room is not None, f"{event} came before its room was created"
    match event:
        case MessagePosted(message=message, author_read_seq=read_seq):
            # Once for each message: a copy takes a third of the time of ``replace``.
            after: Room = room.__copy__()  # type: ignore[attr-defined]  # which msgspec's stubs lack
            force_setattr(after, "last_seq", message.seq)
            if message.mentions:
                force_setattr(after, "last_mention", message.seq)
            if read_seq is not None:
                author = room.members[message.author_id]
                members = room.members.set(message.author_id, Member(author.role, read_seq))
                force_setattr(after, "members", members)
            return after
        case MessageEdited(message=message, revision=revision) | MessageDeleted(message=message, revision=revision):
            changed = _with_change(room, message.seq, revision)
            return replace(changed, last_mention=max(room.last_mention, message.seq)) if message.mentions else changed
        case ReactionAdded() as e:
            change = ReactionChange(
                e.seq, e.emoji, e.account_id, e.revision, e.reacted_at, e.count, e.since, reacted=e.revision
            )
            return _with_reaction(room, change)
        case ReactionRemoved() as e:
            change = ReactionChange(e.seq, e.emoji, e.account_id, e.revision, e.removed_at, e.count, e.since, reacted=0)
            return _with_reaction(room, change)
        case ReadMoved(account_id=account_id, read_seq=read_seq):
            reader = room.members[account_id]
            return _with_member(room, account_id, Member(reader.role, read_seq))
        case MemberJoined(account_id=account_id, role=role, read_seq=read_seq):
            return _with_member(room, account_id, Member(role, read_seq))
        case MemberChanged(account_id=account_id, role=role):
            return _with_member(room, account_id, Member(role, room.members[account_id].read_seq))
        case MemberLeft(account_id=account_id):
            admins = room.admins - _is_admin(room.members.get(account_id))
            return replace(room, members=room.members.delete(account_id), admins=admins, member_left=True)
        case RoomChanged(name=name, description=description):
            return replace(room, name=name, description=description)
        case RoomDeleted():
            nobody = members_of()
            return Room(room.room_id, room.kind, "", "", room.created_at, nobody, imported=room.imported, deleted=True)
        case _:
            assert_never(event)
