"""The state of a room, as far as decisions need it, and how events change it.

It grows with the members, never with the messages: bodies are not state.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec
from immutables import Map
from msgspec.structs import replace

from falcon.domain import limits
from falcon.domain.aggregates import AggregateKind
from falcon.domain.answers import Done, ImportAnswer
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import DEFAULT_ORGANIZATION, AccountId, Millis, OrganizationId, RoomId, Seq
from falcon.domain.parted_map import IdMap, id_map, with_entry
from falcon.domain.rejections import (
    AccountNotFound,
    Invalid,
    LastAdmin,
    MemberNotFound,
    NotAllowed,
    NotAMember,
    NotJoined,
    RoomNotFound,
    UnknownAccount,
)
from falcon.features.accounts.rules import Account, DirectRoomOpened

Role: TypeAlias = Literal["admin", "member", "readonly"]
PARTICIPANTS_MAX = 5  # of a thread, shown with its message: as many pictures as fit beside a line


ListedRoomKind: TypeAlias = Literal["group", "direct"]  # a thread is in no list of rooms
RoomKind: TypeAlias = Literal["group", "direct", "thread"]


class Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member that a new room begins with."""

    account_id: AccountId
    role: Role = "member"


class CreateRoom(msgspec.Struct, frozen=True, tag=True):
    """The sender has made sure that the members are accounts, since accounts live in other partitions."""

    by: AccountId
    name: str
    description: str = ""
    members: tuple[Invitation, ...] = ()


class OpenDirect(msgspec.Struct, frozen=True, tag=True):
    """The room of two accounts. It is decided where the smaller of their ids lives, so there is one for ever.

    The sender has made sure that the peer is an account. ``names``: of both, the caller's first, as the sender has read
    them.
    """

    by: AccountId
    peer: AccountId
    names: tuple[str, str] = ("", "")


class ChangeRoom(msgspec.Struct, frozen=True, tag=True):
    """``by_manager``: an owner or admin of Falcon asks. They alone change ``default``, also in rooms that they have not
    joined."""

    by: AccountId
    room_id: RoomId
    name: str | None = None
    description: str | None = None
    open: bool | None = None
    default: bool | None = None
    by_manager: bool = False


class DeleteRoom(msgspec.Struct, frozen=True, tag=True):
    by: AccountId
    room_id: RoomId


class PutMember(msgspec.Struct, frozen=True, tag=True):
    """Add an account to the room, or change its role. ``account_exists``: as the sender has read.

    The sender does not refuse by itself: only members of the room may learn which accounts there are. ``by_guest``:
    the caller is a guest, who joins no room by itself. ``is_active``: the account is not deactivated.
    """

    by: AccountId
    room_id: RoomId
    account_id: AccountId
    role: Role
    account_exists: bool = True
    by_guest: bool = False
    is_active: bool = True


class JoinDefault(msgspec.Struct, frozen=True, tag=True):
    """Make an account that has just been created a member, if the room is still a default room."""

    room_id: RoomId
    account_id: AccountId


class RemoveMember(msgspec.Struct, frozen=True, tag=True):
    """Removing oneself is leaving."""

    by: AccountId
    room_id: RoomId
    account_id: AccountId


class ImportRoom(msgspec.Struct, frozen=True, tag=True):
    """A room with its members from elsewhere. The same ``imported_as`` is the same room, for ever. ``names``: of the
    accounts of a direct room, in the order of ``members``."""

    imported_as: str
    kind: ListedRoomKind
    name: str
    description: str
    created_at: Millis
    members: tuple[Invitation, ...]
    open: bool = False
    default: bool = False
    names: tuple[str, ...] = ()


class ImportMembers(msgspec.Struct, frozen=True, tag=True):
    """Further members of an imported room. The ones that it has are skipped, and all of them once it has messages: an
    import that is repeated brings back no member who has left."""

    room_id: RoomId
    members: tuple[Invitation, ...]


class Membership(msgspec.Struct, frozen=True):
    account_id: AccountId
    role: Role


class RoomCreated(msgspec.Struct, frozen=True):
    """``open``: each account that is no guest may find, read and join the room. ``default``: new accounts are members.
    ``names``: of the accounts of a direct room then, in the order of ``members``; none in what an older Falcon wrote.
    ``parent``: the room and the message that a thread belongs to.
    """

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    created_at: Millis
    members: tuple[Membership, ...]
    imported_as: str | None = None
    organization_id: OrganizationId = DEFAULT_ORGANIZATION
    open: bool = False
    default: bool = False
    names: tuple[str, ...] = ()
    parent: tuple[RoomId, Seq] | None = None


class RoomChanged(msgspec.Struct, frozen=True):
    """The fields as they now stand. ``created_at``, ``last_seq``: the room's, so that streams look nothing up.

    ``was_open``, and ``was_name`` of an open room: before it, so that read models look nothing up. ``members``: how
    many an open room has.
    """

    room_id: RoomId
    name: str
    description: str
    created_at: Millis
    last_seq: Seq
    open: bool = False
    default: bool = False
    was_name: str = ""
    was_open: bool = False
    members: int | None = None


class RoomDeleted(msgspec.Struct, frozen=True):
    """``members``: the ones that the room had, so that readers need not look them up. The other fields are the room's
    last ones."""

    room_id: RoomId
    members: tuple[Membership, ...]
    name: str
    description: str
    created_at: Millis
    last_seq: Seq
    open: bool = False
    default: bool = False


class MemberJoined(msgspec.Struct, frozen=True):
    """All earlier messages count as read: ``read_seq`` is the newest of them. ``members``: how many an open room has
    then; None in any other room."""

    room_id: RoomId
    account_id: AccountId
    role: Role
    read_seq: Seq
    members: int | None = None


class MemberChanged(msgspec.Struct, frozen=True):
    """``was``: the role before it."""

    room_id: RoomId
    account_id: AccountId
    role: Role
    was: Role


class MemberLeft(msgspec.Struct, frozen=True):
    """``role``: that the account had. ``members`` as in MemberJoined."""

    room_id: RoomId
    account_id: AccountId
    role: Role
    members: int | None = None


NOT_ACTIVE: Final = Invalid("account_id", "must be an active account")


class RoomAnswer(msgspec.Struct, frozen=True, tag="room-answer"):
    """``role`` is the caller's own, None without a membership; ``peer_id`` the other account of a direct room;
    ``created``: by this command."""

    room_id: RoomId
    kind: ListedRoomKind
    name: str
    description: str
    role: Role | None
    last_seq: Seq
    created_at: Millis
    peer_id: AccountId | None = None
    created: bool = False
    open: bool = False
    default: bool = False


class MemberAnswer(msgspec.Struct, frozen=True, tag="member-answer"):
    account_id: AccountId
    role: Role
    read_seq: Seq


class Member(msgspec.Struct, frozen=True, gc=False, array_like=True):
    role: Role
    read_seq: Seq


Members: TypeAlias = IdMap[Member]


def members_of(entries: Iterable[tuple[AccountId, Member]] = ()) -> Members:
    return id_map(limits.MEMBERS_IN_PART, entries)


class Thread(msgspec.Struct, frozen=True, array_like=True):
    """The part of a room that only a thread has. It belongs to message ``seq`` of room ``parent``, which is in the same
    partition.

    ``awake_at``: when its newest message was posted, or an account followed it though it was quiet; the latest such
    time, so that a clock that was wrong ends no follows once it is right. ``participants``: the first accounts that
    wrote, in their order. ``muted``: accounts that follow no more because they said so.
    """

    parent: RoomId
    seq: Seq
    awake_at: Millis
    participants: tuple[AccountId, ...] = ()
    muted: tuple[AccountId, ...] = ()

    def after_message(self, author_id: AccountId, at: Millis) -> "Thread":
        participants = self.participants
        if author_id not in participants and len(participants) < PARTICIPANTS_MAX:
            participants = (*participants, author_id)
        return replace(self, awake_at=max(self.awake_at, at), participants=participants)


class Room(msgspec.Struct, frozen=True):
    """``changes`` has the revision of each of the newest edits and deletions, by ``seq``.

    The sender of an edit shows the message as the read side had it at some revision. If the message has changed since,
    or may have (``forgotten``: the newest revision no longer in ``changes``), the view is too old to decide on.

    ``features``: what further features keep of the room, by their names.

    No message after ``last_mention`` mentions a member. It is not stored: in a room from a snapshot it is ``last_seq``.

    ``admins`` counts them among the members, so that no decision has to read all members of a large room.
    ``member_left``: a member has left, or was removed.

    ``thread``: of a thread, whose ``members`` are the accounts that follow it.

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
    imported: bool = False
    deleted: bool = False
    admins: int = 0
    member_left: bool = False
    last_mention: Seq = 0
    open: bool = False
    default: bool = False
    thread: Thread | None = None
    features: "Map[str, msgspec.Struct]" = Map()

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


ROOM: Final = AggregateKind(
    "room",
    Room,
    "room_id",
    lambda command: RoomNotFound(command.room_id),
    first=RoomCreated,
    entries="members",
    in_part=limits.MEMBERS_IN_PART,
    entry=Member,
    restored={"last_mention": "last_seq"},
)


def created_room(_: None, event: RoomCreated) -> Room:
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
        open=event.open,
        default=event.default,
        thread=None if event.parent is None else Thread(*event.parent, event.created_at),
    )


def with_member(room: Room, account_id: AccountId, member: Member) -> Room:
    admins = room.admins - is_admin(room.members.get(account_id)) + is_admin(member)
    members = with_entry(room.members, limits.MEMBERS_IN_PART, account_id, member)
    return replace(room, members=members, admins=admins)


def is_admin(member: Member | None) -> bool:
    return member is not None and member.role == "admin"


def _joined(room: Room, event: MemberJoined) -> Room:
    return with_member(room, event.account_id, Member(event.role, event.read_seq))


def _role_changed(room: Room, event: MemberChanged) -> Room:
    return with_member(room, event.account_id, Member(event.role, room.members[event.account_id].read_seq))


def _left(room: Room, event: MemberLeft) -> Room:
    admins = room.admins - is_admin(room.members.get(event.account_id))
    return replace(room, members=room.members.delete(event.account_id), admins=admins, member_left=True)


def _changed(room: Room, event: RoomChanged) -> Room:
    return replace(room, name=event.name, description=event.description, open=event.open, default=event.default)


def _deleted(room: Room, _: RoomDeleted) -> Room:
    nobody = members_of()
    return Room(room.room_id, room.kind, "", "", room.created_at, nobody, imported=room.imported, deleted=True)


def create_room(command: CreateRoom, room_id: RoomId, at: Millis) -> Decision:
    """The caller becomes an admin, whatever role the invitations gave it."""
    members = _memberships([*command.members, Invitation(command.by, "admin")])
    event = RoomCreated(room_id, "group", command.name, command.description, at, members)
    answer = RoomAnswer(room_id, "group", command.name, command.description, "admin", 0, at, created=True)
    return Decided((event,), answer)


def open_direct(
    account: Account | None, room: Room | None, command: OpenDirect, room_id: RoomId, at: Millis
) -> Decision:
    """``account`` has the smaller id of the pair; ``room`` is the pair's room, if there is one."""
    smaller, larger = sorted((command.by, command.peer))
    if account is None:
        return AccountNotFound(command.peer)
    if smaller == larger:
        return Invalid("account_id", "must be another account than your own")
    if room is not None:
        return Decided((), _room_answer(room, command.by))
    members = (Membership(smaller, "member"), Membership(larger, "member"))
    by_first = command.by == smaller
    names = () if command.names == ("", "") else command.names if by_first else command.names[::-1]
    created = RoomCreated(room_id, "direct", "", "", at, members, names=names)
    answer = RoomAnswer(room_id, "direct", "", "", "member", 0, at, command.peer, created=True)
    return Decided((created, DirectRoomOpened(smaller, larger, room_id)), answer)


def import_room(command: ImportRoom, account: Account | None, room_id: RoomId, at: Millis) -> Decision:
    """``account``: for a direct room, the one with the smaller id of the pair."""
    members = _memberships(command.members)
    if command.kind == "direct":
        members = tuple(Membership(member.account_id, "member") for member in members)
    created = RoomCreated(
        room_id,
        command.kind,
        command.name,
        command.description,
        command.created_at,
        members,
        command.imported_as,
        open=command.open,
        default=command.default,
        names=command.names,
    )
    answer = RoomAnswer(room_id, command.kind, command.name, command.description, "admin", 0, command.created_at)
    if command.kind == "group":
        if not any(member.role == "admin" for member in members):
            return Invalid("members", "a group room needs at least one admin")
        return Decided((created,), answer)
    if len(members) != 2:
        return Invalid("members", "a direct room has exactly two members")
    smaller, larger = sorted(member.account_id for member in members)
    if account is None:
        return AccountNotFound(smaller)
    if larger in account.directs:
        return NotAllowed(f"accounts {smaller} and {larger} have a direct room already")
    return Decided((created, DirectRoomOpened(smaller, larger, room_id)), answer)


def change_room(room: Room, command: ChangeRoom, _: Millis) -> Decision:
    """A room that is closed is no default room any more."""
    if (refusal := _refuse_change(room, command)) is not None:
        return refusal
    name = room.name if command.name is None else command.name
    description = room.description if command.description is None else command.description
    is_open = room.open if command.open is None else command.open
    if command.default and not is_open:
        return Invalid("default", "must be false unless the room is open")
    default = is_open and (room.default if command.default is None else command.default)
    after = replace(room, name=name, description=description, open=is_open, default=default)
    answer = _room_answer(after, command.by)
    if (name, description, is_open, default) == (room.name, room.description, room.open, room.default):
        return Decided((), answer)
    changed = RoomChanged(
        room.room_id,
        name,
        description,
        room.created_at,
        room.last_seq,
        is_open,
        default,
        room.name if room.open else "",
        room.open,
        len(room.members) if is_open else None,
    )
    return Decided((changed,), answer)


def _refuse_change(room: Room, command: ChangeRoom) -> NotAMember | NotJoined | NotAllowed | None:
    """An owner or admin of Falcon may make an open room a default room, and change nothing else of a room that is
    not its own."""
    only_default = command.name is None and command.description is None and command.open is None
    if command.by_manager and only_default and room.open:
        return None
    if (refusal := refuse_unless_admin(room, command.by, "change the room")) is not None:
        return refusal
    if command.default is not None and not command.by_manager:
        return NotAllowed("only an owner or admin of Falcon may say which rooms new accounts join", "default")
    return None


def delete_room(room: Room, command: DeleteRoom, _: Millis) -> Decision:
    if (refusal := refuse_unless_admin(room, command.by, "delete the room")) is not None:
        return refusal
    deleted = RoomDeleted(
        room.room_id,
        tuple(Membership(account_id, member.role) for account_id, member in room.members.items()),
        room.name,
        room.description,
        room.created_at,
        room.last_seq,
        room.open,
        room.default,
    )
    return Decided((deleted,), Done())


def put_member(room: Room, command: PutMember, _: Millis) -> Decision:
    member = room.members.get(command.account_id)
    if room.open and command.by == command.account_id and command.role == "member" and not command.by_guest:
        if member is None:
            return _join(room, command.account_id, "member")
        if member.role == "member":
            return Decided((), MemberAnswer(command.account_id, "member", member.read_seq))
    if (refusal := refuse_unless_admin(room, command.by, "change members")) is not None:
        return refusal
    if member is None and not command.account_exists:
        return UnknownAccount(command.account_id)
    if not command.is_active:
        return NOT_ACTIVE
    if member is None:
        return _join(room, command.account_id, command.role)
    answer = MemberAnswer(command.account_id, command.role, member.read_seq)
    if member.role == command.role:
        return Decided((), answer)
    if _is_last_admin(room, member):
        return LastAdmin(room.room_id)
    changed = MemberChanged(room.room_id, command.account_id, command.role, member.role)
    return Decided((changed,), answer)


def join_default(room: Room, command: JoinDefault, _: Millis) -> Decision:
    """Does nothing for an account that is a member, so that the step may be repeated, and in a room that is no default
    room any more."""
    member = room.members.get(command.account_id)
    if member is not None:
        return Decided((), MemberAnswer(command.account_id, member.role, member.read_seq))
    if not room.default:
        return NotAllowed("new accounts do not join this room")
    return _join(room, command.account_id, "member")


def _join(room: Room, account_id: AccountId, role: Role) -> Decided:
    members = len(room.members) + 1 if room.open else None
    joined = MemberJoined(room.room_id, account_id, role, room.last_seq, members)
    return Decided((joined,), MemberAnswer(account_id, role, room.last_seq))


def members_after(room: Room | None, events: Sequence[object]) -> int:
    """How many members the room has once the events have happened; 0 if they bring no member in."""
    match events:
        case (RoomCreated(members=members), *_):
            return len(members)
        case (MemberJoined(),) if room is not None:
            return len(room.members) + 1
        case _:
            return 0


def remove_member(room: Room, command: RemoveMember, _: Millis) -> Decision:
    if command.by not in room.members:
        return not_a_member(room, command.by)
    if room.kind == "direct":
        return NotAllowed("a member cannot leave a direct room")
    if command.by != command.account_id and (
        (refusal := refuse_unless_admin(room, command.by, "remove members")) is not None
    ):
        return refusal
    member = room.members.get(command.account_id)
    if member is None:
        return MemberNotFound(room.room_id, command.account_id)
    if _is_last_admin(room, member):
        return LastAdmin(room.room_id)
    members = len(room.members) - 1 if room.open else None
    return Decided((MemberLeft(room.room_id, command.account_id, member.role, members),), Done())


def import_members(room: Room, command: ImportMembers, _: Millis) -> Decision:
    """Adds accounts that are not in the room, also while people write in it. Once members have left, the room does not
    know them: then it adds none, and the answer counts these accounts neither as imported nor as skipped."""
    if not room.imported or room.kind == "direct":
        return NotAllowed("members can only be imported into a group room that was imported")
    missing = [m for m in command.members if m.account_id not in room.members]
    new = () if room.member_left else _memberships(missing)
    if len(room.members) + len(new) > limits.MEMBERS_MAX:
        return Invalid("members", f"a room has at most {limits.MEMBERS_MAX:,} members")
    joined = tuple(
        MemberJoined(room.room_id, member.account_id, member.role, 0, number if room.open else None)
        for number, member in enumerate(new, len(room.members) + 1)
    )
    left_out = len(missing) if room.member_left else 0
    return Decided(joined, ImportAnswer(len(new), len(command.members) - len(new) - left_out))


def _memberships(invitations: Sequence[Invitation]) -> tuple[Membership, ...]:
    """One membership an account; the last invitation of an account counts."""
    roles = {invitation.account_id: invitation.role for invitation in invitations}
    return tuple(Membership(account_id, role) for account_id, role in roles.items())


def _room_answer(room: Room, account_id: AccountId) -> RoomAnswer:
    member = room.members.get(account_id)
    return RoomAnswer(
        room.room_id,
        room.kind,  # type: ignore[arg-type]  # a thread has an answer of its own
        room.name,
        room.description,
        None if member is None else member.role,
        room.last_seq,
        room.created_at,
        room.peer_of(account_id),
        open=room.open,
        default=room.default,
    )


def not_a_member(room: Room, account_id: AccountId) -> NotAMember | NotJoined:
    """The refusal of a command for members only."""
    return NotJoined(room.room_id, account_id) if room.open else NotAMember(room.room_id, account_id)


def refuse_unless_admin(room: Room, account_id: AccountId, deed: str) -> NotAMember | NotJoined | NotAllowed | None:
    member = room.members.get(account_id)
    if member is None:
        return not_a_member(room, account_id)
    if room.kind == "direct":
        return NotAllowed("a direct room cannot be changed: it is the one room of its two accounts")
    if member.role != "admin":
        return NotAllowed(f"only an admin of the room may {deed}")
    return None


def _is_last_admin(room: Room, member: Member) -> bool:
    return member.role == "admin" and room.admins == 1


RULES: Final = {
    ChangeRoom: change_room,
    DeleteRoom: delete_room,
    PutMember: put_member,
    JoinDefault: join_default,
    RemoveMember: remove_member,
    ImportMembers: import_members,
}
EVOLVES: Final = {
    RoomCreated: created_room,
    RoomChanged: _changed,
    RoomDeleted: _deleted,
    MemberJoined: _joined,
    MemberChanged: _role_changed,
    MemberLeft: _left,
}
RoomsCommand: TypeAlias = ChangeRoom | DeleteRoom | PutMember | JoinDefault | RemoveMember | ImportMembers
RoomsEvent: TypeAlias = RoomCreated | RoomChanged | RoomDeleted | MemberJoined | MemberChanged | MemberLeft
FREEING: Final = (DeleteRoom, RemoveMember)  # taken while the disk is nearly full
