"""Refusals of commands. Each shape names itself and its version."""

from typing import Final

import msgspec

from falcon.domain.rejections import (
    AccountNotFound,
    Invalid,
    KeyReused,
    LastAdmin,
    LastOwner,
    LastToken,
    MemberNotFound,
    MessageIsDeleted,
    MessageNotFound,
    NotAllowed,
    NotAMember,
    NotJoined,
    NotTheAuthor,
    NotYetReadable,
    OutOfDate,
    ReadOnly,
    RoomNotFound,
    TextTaken,
    TokenNotFound,
)
from falcon.journal.shapes.shape import Shape, answer


class NotYetReadableV1(msgspec.Struct, frozen=True, tag="not-yet-readable.v1"):
    room_id: int
    seq: int


REFUSALS: Final = (
    answer("room-not-found", RoomNotFound, room_id=int),
    answer("not-a-member", NotAMember, room_id=int, account_id=int),
    answer("not-joined", NotJoined, room_id=int, account_id=int),
    answer("member-not-found", MemberNotFound, room_id=int, account_id=int),
    answer("account-not-found", AccountNotFound, account_id=int),
    answer("token-not-found", TokenNotFound, account_id=int, token_id=int),
    answer("message-not-found", MessageNotFound, room_id=int, seq=int),
    answer("message-is-deleted", MessageIsDeleted, room_id=int, seq=int),
    answer("not-the-author", NotTheAuthor, room_id=int, seq=int),
    answer("read-only", ReadOnly, room_id=int),
    answer("not-allowed", NotAllowed, rule=str),
    answer("last-admin", LastAdmin, room_id=int),
    answer("last-token", LastToken, account_id=int),
    answer("invalid", Invalid, field=str, rule=str),
    answer("key-reused", KeyReused),
    answer("out-of-date", OutOfDate, account_id=int),
    answer("text-taken", TextTaken, field=str),
    answer("last-owner", LastOwner, account_id=int),
    Shape(
        "not-yet-readable",
        1,
        NotYetReadable,
        NotYetReadableV1,
        lambda refusal: NotYetReadableV1(refusal.room_id, refusal.seq),
        lambda stored: NotYetReadable(stored.room_id, stored.seq),
    ),
)
