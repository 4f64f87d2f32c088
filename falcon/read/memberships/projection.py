"""Who is in which room, how far each has read, and where each is mentioned."""

from falcon.domain.events import (
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReadMoved,
    RoomCreated,
    RoomDeleted,
)
from falcon.domain.message import Message
from falcon.journal.envelope import Envelope
from falcon.read.store import DropMember, PutMember, SetMention, SetReadMark, SetRole, Write


def project(envelope: Envelope) -> tuple[Write, ...]:
    match envelope.event:
        case MessagePosted(message=message, author_read_seq=read_seq):
            moved: tuple[Write, ...] = ()
            if read_seq is not None:
                moved = (SetReadMark(message.room_id, message.author_id, read_seq),)
            return moved + _mentions(message) if message.mentions else moved
        case (
            MessageEdited(message=message, unmentioned=unmentioned)
            | MessageDeleted(message=message, unmentioned=unmentioned)
        ):
            dropped = tuple(SetMention(account, message.room_id, message.seq, False) for account in unmentioned)
            return dropped + _mentions(message)
        case ReadMoved(room_id=room_id, account_id=account_id, read_seq=read_seq):
            return (SetReadMark(room_id, account_id, read_seq),)
        case RoomCreated(room_id=room_id, members=members):
            return tuple(PutMember(room_id, member.account_id, member.role, 0) for member in members)
        case MemberJoined(room_id=room_id, account_id=account_id, role=role, read_seq=read_seq):
            return (PutMember(room_id, account_id, role, read_seq),)
        case MemberChanged(room_id=room_id, account_id=account_id, role=role):
            return (SetRole(room_id, account_id, role),)
        case MemberLeft(room_id=room_id, account_id=account_id):
            return (DropMember(room_id, account_id),)
        case RoomDeleted(room_id=room_id, members=former):
            return tuple(DropMember(room_id, member.account_id) for member in former)
        case _:
            return ()


def _mentions(message: Message) -> tuple[Write, ...]:
    return tuple(SetMention(account_id, message.room_id, message.seq, True) for account_id in message.mentions)
