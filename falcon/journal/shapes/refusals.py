"""Refusals of commands. Each shape names itself and its version."""

from typing import Final

import msgspec

from falcon.domain import rejections
from falcon.journal.shapes.shape import Shape, answer, grown


class NotAllowedV1(msgspec.Struct, frozen=True, tag="not-allowed.v1"):
    rule: str


class NotAllowedV2(msgspec.Struct, frozen=True, tag="not-allowed.v2", omit_defaults=True):
    rule: str
    field: str = "request"


class NotYetReadableV1(msgspec.Struct, frozen=True, tag="not-yet-readable.v1"):
    room_id: int
    seq: int


REFUSALS: Final = (
    answer("room-not-found", rejections.RoomNotFound, room_id=int),
    answer("not-a-member", rejections.NotAMember, room_id=int, account_id=int),
    answer("not-joined", rejections.NotJoined, room_id=int, account_id=int),
    answer("member-not-found", rejections.MemberNotFound, room_id=int, account_id=int),
    answer("account-not-found", rejections.AccountNotFound, account_id=int),
    answer("token-not-found", rejections.TokenNotFound, account_id=int, token_id=int),
    answer("message-not-found", rejections.MessageNotFound, room_id=int, seq=int),
    answer("message-is-deleted", rejections.MessageIsDeleted, room_id=int, seq=int),
    answer("not-the-author", rejections.NotTheAuthor, room_id=int, seq=int),
    answer("read-only", rejections.ReadOnly, room_id=int),
    *grown("not-allowed", rejections.NotAllowed, NotAllowedV1, NotAllowedV2),
    answer("last-admin", rejections.LastAdmin, room_id=int),
    answer("last-token", rejections.LastToken, account_id=int),
    answer("invalid", rejections.Invalid, field=str, rule=str),
    answer("key-reused", rejections.KeyReused),
    answer("out-of-date", rejections.OutOfDate, account_id=int),
    answer("text-taken", rejections.TextTaken, field=str),
    answer("last-owner", rejections.LastOwner, account_id=int),
    Shape(
        "not-yet-readable",
        1,
        rejections.NotYetReadable,
        NotYetReadableV1,
        lambda refusal: NotYetReadableV1(refusal.room_id, refusal.seq),
        lambda stored: rejections.NotYetReadable(stored.room_id, stored.seq),
    ),
)
