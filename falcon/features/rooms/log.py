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
from falcon.journal.shapes.shape import Shape, alike

RoleV1: TypeAlias = Literal["admin", "member", "readonly"]


RoomKindV1: TypeAlias = Literal["group", "direct"]


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


class RoomChangedV1(msgspec.Struct, frozen=True):
    room_id: int
    name: str
    description: str
    created_at: int
    last_seq: int


class RoomDeletedV1(msgspec.Struct, frozen=True):
    room_id: int
    members: tuple[MembershipV1, ...]
    name: str
    description: str
    created_at: int
    last_seq: int


class MemberJoinedV1(msgspec.Struct, frozen=True):
    room_id: int
    account_id: int
    role: RoleV1
    read_seq: int


class MemberChangedV1(msgspec.Struct, frozen=True):
    room_id: int
    account_id: int
    role: RoleV1
    was: RoleV1


class MemberLeftV1(msgspec.Struct, frozen=True):
    room_id: int
    account_id: int
    role: RoleV1


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


class MemberAnswerV1(msgspec.Struct, frozen=True, tag="member-answer.v1"):
    account_id: int
    role: RoleV1
    read_seq: int


def _created_v1(event: RoomCreated) -> RoomCreatedV1:
    return RoomCreatedV1(
        event.organization_id,
        event.room_id,
        event.kind,
        event.name,
        event.description,
        event.created_at,
        _members_v1(event.members),
        event.imported_as,
    )


def _created(stored: RoomCreatedV1) -> RoomCreated:
    return RoomCreated(
        stored.room_id,
        stored.kind,
        stored.name,
        stored.description,
        stored.created_at,
        _members(stored.members),
        stored.imported_as,
        stored.organization_id,
    )


def _deleted_v1(event: RoomDeleted) -> RoomDeletedV1:
    members = _members_v1(event.members)
    return RoomDeletedV1(event.room_id, members, event.name, event.description, event.created_at, event.last_seq)


def _deleted(stored: RoomDeletedV1) -> RoomDeleted:
    members = _members(stored.members)
    return RoomDeleted(stored.room_id, members, stored.name, stored.description, stored.created_at, stored.last_seq)


def _members_v1(members: tuple[Membership, ...]) -> tuple[MembershipV1, ...]:
    return tuple(MembershipV1(member.account_id, member.role) for member in members)


def _members(stored: tuple[MembershipV1, ...]) -> tuple[Membership, ...]:
    return tuple(Membership(member.account_id, member.role) for member in stored)


EVENTS: Final = (
    Shape("room-created", 1, RoomCreated, RoomCreatedV1, _created_v1, _created),
    alike("room-changed", RoomChanged, RoomChangedV1),
    Shape("room-deleted", 1, RoomDeleted, RoomDeletedV1, _deleted_v1, _deleted),
    alike("member-joined", MemberJoined, MemberJoinedV1),
    alike("member-changed", MemberChanged, MemberChangedV1),
    alike("member-left", MemberLeft, MemberLeftV1),
)


ANSWERS: Final = (
    alike("room-answer", RoomAnswer, RoomAnswerV1),
    alike("member-answer", MemberAnswer, MemberAnswerV1),
)
