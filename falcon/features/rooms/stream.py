"""Rooms and members in the stream."""

from typing import Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.rooms.rules import ListedRoomKind, MemberChanged, MemberJoined, MemberLeft, Role
from falcon.streams.event import Shown, StreamEvent


class StreamedRoom(msgspec.Struct, frozen=True):
    """A room as one account sees it. ``role``: the account's own; None in an open room that it has not joined."""

    room_id: RoomId
    kind: ListedRoomKind
    name: str
    description: str
    role: Role | None
    last_seq: Seq
    created_at: str
    peer_id: AccountId | None = None
    open: bool = False
    default: bool = False


ROOM_CREATED: Final = StreamEvent(
    "room.created", "A room of yours is created, or another account opens a direct room with you.", StreamedRoom
)
ROOM_CHANGED: Final = StreamEvent(
    "room.changed",
    "The name or the description of a room changes, or it is opened or closed. If it is "
    "closed and you have not joined it, no event of this room follows.",
    StreamedRoom,
)
ROOM_DELETED: Final = StreamEvent("room.deleted", "A room is deleted. No event of this room follows.", StreamedRoom)


class StreamedMember(msgspec.Struct, frozen=True):
    room_id: RoomId
    account_id: AccountId
    role: Role | None


def member(event: MemberJoined | MemberChanged | MemberLeft) -> StreamedMember:
    return StreamedMember(event.room_id, event.account_id, event.role)


MEMBER_JOINED: Final = StreamEvent(
    "member.joined", "An account joins a room. If it is you, read the room.", StreamedMember
)
MEMBER_CHANGED: Final = StreamEvent("member.changed", "The role of a member changes.", StreamedMember)
MEMBER_LEFT: Final = StreamEvent(
    "member.left",
    "An account leaves a room or is removed. If it is you, no event of this room follows.",
    StreamedMember,
)
EVENTS: Final = (ROOM_CREATED, ROOM_CHANGED, ROOM_DELETED, MEMBER_JOINED, MEMBER_CHANGED, MEMBER_LEFT)
TO_THE_ROOM: Final = {
    MemberJoined: Shown(MEMBER_JOINED, member),
    MemberChanged: Shown(MEMBER_CHANGED, member),
    MemberLeft: Shown(MEMBER_LEFT, member),
}
