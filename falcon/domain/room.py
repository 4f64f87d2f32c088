"""The state of a room, as far as decisions need it, and how events change it.

It grows with the members, never with the messages: bodies are not state.
"""

from typing import TypeAlias, assert_never

import msgspec
from immutables import Map

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
    RoomEvent,
)
from falcon.domain.ids import AccountId, Millis, RoomId, Seq
from falcon.domain.limits import CHANGES_REMEMBERED


class Member(msgspec.Struct, frozen=True, gc=False):
    role: Role
    read_seq: Seq


Members: TypeAlias = Map[AccountId, Member]


class Room(msgspec.Struct, frozen=True):
    """``changes`` has the revision of each of the newest edits and deletions, by ``seq``.

    The sender of an edit shows the message as the read side had it at some revision. If the message has changed since,
    or may have (``forgotten``: the newest revision no longer in ``changes``), the view is too old to decide on.

    A ``deleted`` room has nothing else left, so that it costs little for ever. It does not go entirely: a snapshot of
    before that is written late would bring the room back.
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
    imported: bool = False
    deleted: bool = False

    def changed_at(self, seq: Seq) -> int:
        """A revision at or after which nothing has happened to this message."""
        for changed, revision in reversed(self.changes):
            if changed == seq:
                return revision
        return self.forgotten

    def admins(self) -> int:
        return sum(member.role == "admin" for member in self.members.values())

    def peer_of(self, account_id: AccountId) -> AccountId | None:
        """The other one of a direct room."""
        if self.kind != "direct":
            return None
        return next((other for other in self.members if other != account_id), account_id)


def _created(event: RoomCreated) -> Room:
    members: Members = Map({m.account_id: Member(m.role, 0) for m in event.members})
    return Room(
        room_id=event.room_id,
        kind=event.kind,
        name=event.name,
        description=event.description,
        created_at=event.created_at,
        members=members,
        imported=event.imported_as is not None,
    )


def _with(
    room: Room, *, members: Members | None = None, last_seq: Seq | None = None, name: str | None = None,
    description: str | None = None,
) -> Room:  # fmt: skip
    # msgspec.structs.replace costs three times as much, and this runs once for each message.
    return Room(
        room.room_id,
        room.kind,
        room.name if name is None else name,
        room.description if description is None else description,
        room.created_at,
        room.members if members is None else members,
        room.last_seq if last_seq is None else last_seq,
        room.revision,
        room.changes,
        room.forgotten,
        room.imported,
        room.deleted,
    )


def _with_change(room: Room, seq: Seq, revision: int) -> Room:
    changes = (*(c for c in room.changes if c[0] != seq), (seq, revision))
    forgotten = room.forgotten
    if len(changes) > CHANGES_REMEMBERED:
        forgotten = changes[0][1]
        changes = changes[1:]
    return msgspec.structs.replace(room, revision=revision, changes=changes, forgotten=forgotten)


def evolve(room: Room | None, event: RoomEvent) -> Room:
    """The room after the event. Never refuses: what has happened has happened."""
    if isinstance(event, RoomCreated):
        return _created(event)
    assert room is not None, f"{event} came before its room was created"
    match event:
        case MessagePosted(message=message, author_read_seq=read_seq):
            if read_seq is None:
                return _with(room, last_seq=message.seq)
            author = room.members[message.author_id]
            members = room.members.set(message.author_id, Member(author.role, read_seq))
            return _with(room, members=members, last_seq=message.seq)
        case MessageEdited(message=message, revision=revision) | MessageDeleted(message=message, revision=revision):
            return _with_change(room, message.seq, revision)
        case ReadMoved(account_id=account_id, read_seq=read_seq):
            reader = room.members[account_id]
            return _with(room, members=room.members.set(account_id, Member(reader.role, read_seq)))
        case MemberJoined(account_id=account_id, role=role, read_seq=read_seq):
            return _with(room, members=room.members.set(account_id, Member(role, read_seq)))
        case MemberChanged(account_id=account_id, role=role):
            changed = room.members[account_id]
            return _with(room, members=room.members.set(account_id, Member(role, changed.read_seq)))
        case MemberLeft(account_id=account_id):
            return _with(room, members=room.members.delete(account_id))
        case RoomChanged(name=name, description=description):
            return _with(room, name=name, description=description)
        case RoomDeleted():
            return Room(room.room_id, room.kind, "", "", room.created_at, Map(), imported=room.imported, deleted=True)
        case _:
            assert_never(event)
