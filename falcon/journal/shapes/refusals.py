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
    NotTheAuthor,
    NotYetReadable,
    OutOfDate,
    ReadOnly,
    RoomNotFound,
    TextTaken,
    TokenNotFound,
)
from falcon.journal.shapes.shape import Shape, alike


class RoomNotFoundV1(msgspec.Struct, frozen=True, tag="room-not-found.v1"):
    room_id: int


class NotAMemberV1(msgspec.Struct, frozen=True, tag="not-a-member.v1"):
    room_id: int
    account_id: int


class MemberNotFoundV1(msgspec.Struct, frozen=True, tag="member-not-found.v1"):
    room_id: int
    account_id: int


class AccountNotFoundV1(msgspec.Struct, frozen=True, tag="account-not-found.v1"):
    account_id: int


class TokenNotFoundV1(msgspec.Struct, frozen=True, tag="token-not-found.v1"):
    account_id: int
    token_id: int


class MessageNotFoundV1(msgspec.Struct, frozen=True, tag="message-not-found.v1"):
    room_id: int
    seq: int


class MessageIsDeletedV1(msgspec.Struct, frozen=True, tag="message-is-deleted.v1"):
    room_id: int
    seq: int


class NotTheAuthorV1(msgspec.Struct, frozen=True, tag="not-the-author.v1"):
    room_id: int
    seq: int


class ReadOnlyV1(msgspec.Struct, frozen=True, tag="read-only.v1"):
    room_id: int


class NotAllowedV1(msgspec.Struct, frozen=True, tag="not-allowed.v1"):
    rule: str


class LastAdminV1(msgspec.Struct, frozen=True, tag="last-admin.v1"):
    room_id: int


class LastTokenV1(msgspec.Struct, frozen=True, tag="last-token.v1"):
    account_id: int


class InvalidV1(msgspec.Struct, frozen=True, tag="invalid.v1"):
    field: str
    rule: str


class KeyReusedV1(msgspec.Struct, frozen=True, tag="key-reused.v1"):
    pass


class NotYetReadableV1(msgspec.Struct, frozen=True, tag="not-yet-readable.v1"):
    room_id: int
    seq: int


class OutOfDateV1(msgspec.Struct, frozen=True, tag="out-of-date.v1"):
    account_id: int


class TextTakenV1(msgspec.Struct, frozen=True, tag="text-taken.v1"):
    field: str


class LastOwnerV1(msgspec.Struct, frozen=True, tag="last-owner.v1"):
    account_id: int


REFUSALS: Final = (
    alike("room-not-found", RoomNotFound, RoomNotFoundV1),
    alike("not-a-member", NotAMember, NotAMemberV1),
    alike("member-not-found", MemberNotFound, MemberNotFoundV1),
    alike("account-not-found", AccountNotFound, AccountNotFoundV1),
    alike("token-not-found", TokenNotFound, TokenNotFoundV1),
    alike("message-not-found", MessageNotFound, MessageNotFoundV1),
    alike("message-is-deleted", MessageIsDeleted, MessageIsDeletedV1),
    alike("not-the-author", NotTheAuthor, NotTheAuthorV1),
    alike("read-only", ReadOnly, ReadOnlyV1),
    alike("not-allowed", NotAllowed, NotAllowedV1),
    alike("last-admin", LastAdmin, LastAdminV1),
    alike("last-token", LastToken, LastTokenV1),
    alike("invalid", Invalid, InvalidV1),
    alike("key-reused", KeyReused, KeyReusedV1),
    alike("out-of-date", OutOfDate, OutOfDateV1),
    alike("text-taken", TextTaken, TextTakenV1),
    alike("last-owner", LastOwner, LastOwnerV1),
    Shape(
        "not-yet-readable",
        1,
        NotYetReadable,
        NotYetReadableV1,
        lambda refusal: NotYetReadableV1(refusal.room_id, refusal.seq),
        lambda stored: NotYetReadable(stored.room_id, stored.seq),
    ),
)
