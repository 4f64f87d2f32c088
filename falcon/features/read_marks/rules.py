"""Read marks: how far each member has read."""

from typing import Final

import msgspec

from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import AccountId, Millis, RoomId, Seq
from falcon.domain.rejections import Invalid, NotYetReadable
from falcon.features.rooms.rules import Member, Room, not_a_member, with_member


class MoveRead(msgspec.Struct, frozen=True, tag=True):
    """Forward only, unless forced. ``mentions``: how many the read side counts after the mark, for the answer; None if
    it has not counted them. ``counted_to``: the message up to which it has for certain; None if the owner must take the
    count as it is, as an ``api`` of the release before this field expects."""

    by: AccountId
    room_id: RoomId
    seq: Seq
    force: bool = False
    mentions: int | None = 0
    counted_to: Seq | None = None


class ReadMoved(msgspec.Struct, frozen=True):
    """``unread``, ``mentions``: what is left to read, as the account was told."""

    room_id: RoomId
    account_id: AccountId
    read_seq: Seq
    unread: int
    mentions: int


class ReadAnswer(msgspec.Struct, frozen=True, tag="read-answer"):
    """How much was unread then."""

    room_id: RoomId
    read_seq: Seq
    unread: int
    mentions: int


def move_read(room: Room, command: MoveRead, _: Millis) -> Decision:
    reader = room.members.get(command.by)
    if reader is None:
        return not_a_member(room, command.by)
    if command.seq > room.last_seq:
        return Invalid("seq", f"must be at most {room.last_seq}, the room's newest message")
    read_seq = command.seq if command.force else max(command.seq, reader.read_seq)
    unread = room.last_seq - read_seq
    counted_to = 0 if command.mentions is None else command.counted_to
    if unread and counted_to is not None and room.last_mention > max(read_seq, counted_to):
        return NotYetReadable(room.room_id, read_seq, room.last_mention)
    answer = ReadAnswer(room.room_id, read_seq, unread, (command.mentions or 0) if unread else 0)
    if read_seq == reader.read_seq:
        return Decided((), answer)
    return Decided((ReadMoved(room.room_id, command.by, read_seq, unread, answer.mentions),), answer)


def _moved(room: Room, event: ReadMoved) -> Room:
    return with_member(room, event.account_id, Member(room.members[event.account_id].role, event.read_seq))


RULES: Final = {MoveRead: move_read}
EVOLVES: Final = {ReadMoved: _moved}
FREEING: Final = (MoveRead,)  # taken while the disk is nearly full
