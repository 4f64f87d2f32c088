"""Rooms: their names, newest messages and newest activity."""

from typing import NamedTuple

from falcon.domain.catalogue import Event
from falcon.domain.commands import RoomKind
from falcon.domain.events import MessagePosted, RoomChanged, RoomCreated, RoomDeleted
from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.journal.envelope import Envelope
from falcon.read.times import rfc3339
from falcon.read.write import Write


class UpsertRoom(NamedTuple):
    """``smaller``, ``larger``: the pair of a direct room."""

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    created_at: str
    smaller: AccountId | None
    larger: AccountId | None
    imported: bool = False


class SetRoomName(NamedTuple):
    room_id: RoomId
    name: str
    description: str
    updated_at: str


class SetRoomActivity(NamedTuple):
    room_id: RoomId
    last_seq: Seq
    updated_at: str


class DropRoom(NamedTuple):
    room_id: RoomId


def project(envelope: Envelope) -> tuple[Write, ...]:
    match envelope.event:
        case MessagePosted(message=message):
            return (SetRoomActivity(message.room_id, message.seq, rfc3339(message.posted_at)),)
        case RoomCreated() as created:
            return (_row(created), SetRoomActivity(created.room_id, 0, rfc3339(created.created_at)))
        case RoomChanged(room_id=room_id, name=name, description=description):
            return (SetRoomName(room_id, name, description, rfc3339(envelope.at)),)
        case RoomDeleted(room_id=room_id):
            return (DropRoom(room_id),)
        case _:
            return ()


def _row(created: RoomCreated) -> UpsertRoom:
    smaller = larger = None
    if created.kind == "direct":
        smaller, larger = sorted(member.account_id for member in created.members)
    return UpsertRoom(
        created.room_id,
        created.kind,
        created.name,
        created.description,
        rfc3339(created.created_at),
        smaller,
        larger,
        created.imported_as is not None,
    )


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case RoomCreated(room_id=room_id):
            return f"room {room_id} is in no list, and nobody can read it"
        case RoomChanged(room_id=room_id):
            return f"room {room_id} keeps its old name and description in lists until it is changed again"
        case RoomDeleted(room_id=room_id):
            return f"room {room_id} stays in its members' lists, though nothing can be done in it any more"
        case MessagePosted(message=m):
            return f"room {m.room_id} seems to end before message {m.seq} until the next one is sent there"
        case _:
            return None
