"""Rooms: what they are called, how far their messages go, when something last happened in them."""

from falcon.domain.events import (
    MessagePosted,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from falcon.journal.envelope import Envelope
from falcon.read.store import DropRoom, PutRoom, SetRoomActivity, SetRoomName, Write
from falcon.read.times import rfc3339


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


def _row(created: RoomCreated) -> PutRoom:
    smaller = larger = None
    if created.kind == "direct":
        smaller, larger = sorted(member.account_id for member in created.members)
    return PutRoom(
        created.room_id,
        created.kind,
        created.name,
        created.description,
        rfc3339(created.created_at),
        smaller,
        larger,
        created.imported_as is not None,
    )
