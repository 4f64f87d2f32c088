"""Events of rooms and their members, and answers about them."""

from typing import Final, Literal, TypeAlias

import msgspec

from falcon.features.rooms.rules import (
    MemberAnswer,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    Membership,
    RoomAnswer,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from falcon.journal.shapes.shape import Shape, answer, earlier, event, grown

RoleV1: TypeAlias = Literal["admin", "member", "readonly"]


RoomKindV1: TypeAlias = Literal["group", "direct"]
RoomKindV3: TypeAlias = Literal["group", "direct", "thread"]


class MembershipV1(msgspec.Struct, frozen=True):
    account_id: int
    role: RoleV1


class RoomCreatedV1(msgspec.Struct, frozen=True, omit_defaults=True):
    organization_id: int
    room_id: int
    kind: RoomKindV1
    name: str
    description: str
    created_at: int
    members: tuple[MembershipV1, ...]
    imported_as: str | None = None


class RoomCreatedV2(RoomCreatedV1, frozen=True, omit_defaults=True):
    open: bool = False
    default: bool = False
    names: tuple[str, ...] = ()


class RoomCreatedV3(msgspec.Struct, frozen=True, omit_defaults=True):
    organization_id: int
    room_id: int
    kind: RoomKindV3
    name: str
    description: str
    created_at: int
    members: tuple[MembershipV1, ...]
    imported_as: str | None = None
    open: bool = False
    default: bool = False
    names: tuple[str, ...] = ()
    parent: tuple[int, int] | None = None


class RoomChangedV1(msgspec.Struct, frozen=True):
    room_id: int
    name: str
    description: str
    created_at: int
    last_seq: int


class RoomChangedV2(RoomChangedV1, frozen=True, omit_defaults=True):
    open: bool = False
    default: bool = False
    was_name: str = ""
    was_open: bool = False
    members: int | None = None


class RoomDeletedV1(msgspec.Struct, frozen=True):
    room_id: int
    members: tuple[MembershipV1, ...]
    name: str
    description: str
    created_at: int
    last_seq: int


class RoomDeletedV2(RoomDeletedV1, frozen=True, omit_defaults=True):
    open: bool = False
    default: bool = False


class MemberJoinedV1(msgspec.Struct, frozen=True):
    room_id: int
    account_id: int
    role: RoleV1
    read_seq: int


class MemberJoinedV2(MemberJoinedV1, frozen=True, omit_defaults=True):
    members: int | None = None


class MemberLeftV1(msgspec.Struct, frozen=True):
    room_id: int
    account_id: int
    role: RoleV1


class MemberLeftV2(MemberLeftV1, frozen=True, omit_defaults=True):
    members: int | None = None


class RoomAnswerV1(msgspec.Struct, frozen=True, tag="room-answer.v1", omit_defaults=True):
    room_id: int
    kind: RoomKindV1
    name: str
    description: str
    role: RoleV1
    last_seq: int
    created_at: int
    peer_id: int | None = None
    created: bool = False


class RoomAnswerV2(msgspec.Struct, frozen=True, tag="room-answer.v2", omit_defaults=True):
    room_id: int
    kind: RoomKindV1
    name: str
    description: str
    role: RoleV1 | None
    last_seq: int
    created_at: int
    peer_id: int | None = None
    created: bool = False
    open: bool = False
    default: bool = False


def _created_v3(event: RoomCreated) -> RoomCreatedV3:
    room_id, kind, name, description, created_at, _, imported_as, organization_id, *later = msgspec.structs.astuple(
        event
    )
    members = _members_v1(event.members)
    return RoomCreatedV3(organization_id, room_id, kind, name, description, created_at, members, imported_as, *later)


def _created(stored: RoomCreatedV1 | RoomCreatedV2 | RoomCreatedV3) -> RoomCreated:
    organization_id, room_id, kind, name, description, created_at, _, imported_as, *later = msgspec.structs.astuple(
        stored
    )
    members = _members(stored.members)
    return RoomCreated(room_id, kind, name, description, created_at, members, imported_as, organization_id, *later)


def _deleted_v2(event: RoomDeleted) -> RoomDeletedV2:
    room_id, _, *rest = msgspec.structs.astuple(event)
    return RoomDeletedV2(room_id, _members_v1(event.members), *rest)


def _deleted(stored: RoomDeletedV1 | RoomDeletedV2) -> RoomDeleted:
    room_id, _, *rest = msgspec.structs.astuple(stored)
    return RoomDeleted(room_id, _members(stored.members), *rest)


def _members_v1(members: tuple[Membership, ...]) -> tuple[MembershipV1, ...]:
    return tuple(MembershipV1(member.account_id, member.role) for member in members)


def _members(stored: tuple[MembershipV1, ...]) -> tuple[Membership, ...]:
    return tuple(Membership(member.account_id, member.role) for member in stored)


EVENTS: Final = (
    earlier("room-created", 1, RoomCreated, RoomCreatedV1, _created),
    earlier("room-created", 2, RoomCreated, RoomCreatedV2, _created),
    Shape("room-created", 3, RoomCreated, RoomCreatedV3, _created_v3, _created),
    *grown("room-changed", RoomChanged, RoomChangedV1, RoomChangedV2),
    earlier("room-deleted", 1, RoomDeleted, RoomDeletedV1, _deleted),
    Shape("room-deleted", 2, RoomDeleted, RoomDeletedV2, _deleted_v2, _deleted),
    *grown("member-joined", MemberJoined, MemberJoinedV1, MemberJoinedV2),
    event("member-changed", MemberChanged, room_id=int, account_id=int, role=RoleV1, was=RoleV1),
    *grown("member-left", MemberLeft, MemberLeftV1, MemberLeftV2),
)


ANSWERS: Final = (
    *grown("room-answer", RoomAnswer, RoomAnswerV1, RoomAnswerV2),
    answer("member-answer", MemberAnswer, account_id=int, role=RoleV1, read_seq=int),
)
