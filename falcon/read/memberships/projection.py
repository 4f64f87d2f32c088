"""Members of rooms with their roles, read marks and mentions."""

from typing import NamedTuple

from falcon.domain.catalogue import Event
from falcon.domain.commands import Role
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
from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.domain.message import Message
from falcon.journal.envelope import Envelope
from falcon.read.write import Write


class UpsertMember(NamedTuple):
    room_id: RoomId
    account_id: AccountId
    role: Role
    read_seq: Seq


class SetRole(NamedTuple):
    room_id: RoomId
    account_id: AccountId
    role: Role


class SetReadMark(NamedTuple):
    room_id: RoomId
    account_id: AccountId
    read_seq: Seq


class DropMember(NamedTuple):
    room_id: RoomId
    account_id: AccountId


class SetMention(NamedTuple):
    """``mentioned``: True if message ``seq``, as it now stands, mentions the account."""

    account_id: AccountId
    room_id: RoomId
    seq: Seq
    mentioned: bool


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
            return tuple(UpsertMember(room_id, member.account_id, member.role, 0) for member in members)
        case MemberJoined(room_id=room_id, account_id=account_id, role=role, read_seq=read_seq):
            return (UpsertMember(room_id, account_id, role, read_seq),)
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


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case RoomCreated(room_id=room_id):
            return f"the first members of room {room_id} cannot read it until they are removed and added again"
        case MemberJoined(room_id=room_id, account_id=account_id):
            return f"account {account_id} cannot read room {room_id} until it is removed and added again"
        case MemberLeft(room_id=room_id, account_id=account_id):
            return f"account {account_id} goes on reading room {room_id} until it is added and removed again"
        case MemberChanged(room_id=room_id, account_id=account_id):
            return f"account {account_id} is shown with its old role in room {room_id} until that is changed again"
        case RoomDeleted(room_id=room_id):
            return f"nothing, if rooms has applied it: room {room_id} is shown nowhere then"
        case ReadMoved(room_id=room_id, account_id=account_id):
            return f"how far account {account_id} has read room {room_id}, until it reads on"
        case MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return f"whom message {m.seq} of room {m.room_id} mentions, and that its author has read it"
        case _:
            return None
