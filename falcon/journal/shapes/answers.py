"""Answers to accepted commands. Each shape names itself and its version."""

from typing import Final

import msgspec

from falcon.domain.answers import (
    AccountAnswer,
    Done,
    ImportAnswer,
    MemberAnswer,
    MessageAnswer,
    PositionAnswer,
    ReadAnswer,
    RoomAnswer,
    TokenAnswer,
)
from falcon.domain.reactions import ReactionAnswer
from falcon.journal.shapes.messages import MessageV1, message, message_v1
from falcon.journal.shapes.rooms import RoleV1, RoomKindV1
from falcon.journal.shapes.shape import Shape, alike


class MessageAnswerV1(msgspec.Struct, frozen=True, tag="message-answer.v1"):
    message: MessageV1


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


class ReadAnswerV1(msgspec.Struct, frozen=True, tag="read-answer.v1"):
    room_id: int
    read_seq: int
    unread: int
    mentions: int


class ReactionAnswerV1(msgspec.Struct, frozen=True, tag="reaction-answer.v1"):
    room_id: int
    seq: int
    emoji: str
    count: int


class AccountAnswerV1(msgspec.Struct, frozen=True, tag="account-answer.v1", omit_defaults=True):
    account_id: int
    name: str
    sealed: str = ""


class TokenAnswerV1(msgspec.Struct, frozen=True, tag="token-answer.v1", omit_defaults=True):
    token_id: int
    sealed: str = ""


class ImportAnswerV1(msgspec.Struct, frozen=True, tag="import-answer.v1"):
    imported: int
    skipped: int


class DoneV1(msgspec.Struct, frozen=True, tag="done.v1"):
    pass


class PositionAnswerV1(msgspec.Struct, frozen=True, tag="position-answer.v1"):
    offset: int


def _message_v1(answer: MessageAnswer) -> MessageAnswerV1:
    return MessageAnswerV1(message_v1(answer.message))


def _message(stored: MessageAnswerV1) -> MessageAnswer:
    return MessageAnswer(message(stored.message))


SHAPES: Final = (
    Shape("message-answer", 1, MessageAnswer, MessageAnswerV1, _message_v1, _message),
    alike("room-answer", RoomAnswer, RoomAnswerV1),
    alike("member-answer", MemberAnswer, MemberAnswerV1),
    alike("read-answer", ReadAnswer, ReadAnswerV1),
    alike("reaction-answer", ReactionAnswer, ReactionAnswerV1),
    alike("account-answer", AccountAnswer, AccountAnswerV1),
    alike("token-answer", TokenAnswer, TokenAnswerV1),
    alike("import-answer", ImportAnswer, ImportAnswerV1),
    alike("done", Done, DoneV1),
    alike("position-answer", PositionAnswer, PositionAnswerV1),
)
