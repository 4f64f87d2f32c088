"""Refusals by the rules, as values. A refusal changes nothing, and says only what the command's sender may know.

Their tags go from process to process. How they stand in the log, where a keyed command's refusal is kept, is in
``falcon.journal.shapes``.
"""

from typing import TypeAlias

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq


class RoomNotFound(msgspec.Struct, frozen=True, tag="room-not-found"):
    room_id: RoomId


class NotAMember(msgspec.Struct, frozen=True, tag="not-a-member"):
    """Looks to the caller the same as RoomNotFound: only members may know that a room exists."""

    room_id: RoomId
    account_id: AccountId


class NotJoined(msgspec.Struct, frozen=True, tag="not-joined"):
    """The room is open: the account may read it, and has to join it first for this. To a guest it looks the same as
    RoomNotFound."""

    room_id: RoomId
    account_id: AccountId


class MemberNotFound(msgspec.Struct, frozen=True, tag="member-not-found"):
    """The account that the command is about is no member. (NotAMember: the account that asks.)"""

    room_id: RoomId
    account_id: AccountId


class AccountNotFound(msgspec.Struct, frozen=True, tag="account-not-found"):
    account_id: AccountId


class TokenNotFound(msgspec.Struct, frozen=True, tag="token-not-found"):
    account_id: AccountId
    token_id: int


class MessageNotFound(msgspec.Struct, frozen=True, tag="message-not-found"):
    room_id: RoomId
    seq: Seq


class MessageIsDeleted(msgspec.Struct, frozen=True, tag="message-is-deleted"):
    room_id: RoomId
    seq: Seq


class NotTheAuthor(msgspec.Struct, frozen=True, tag="not-the-author"):
    room_id: RoomId
    seq: Seq


class ReadOnly(msgspec.Struct, frozen=True, tag="read-only"):
    room_id: RoomId


class NotAllowed(msgspec.Struct, frozen=True, tag="not-allowed"):
    rule: str
    field: str = "request"


class LastAdmin(msgspec.Struct, frozen=True, tag="last-admin"):
    room_id: RoomId


class LastToken(msgspec.Struct, frozen=True, tag="last-token"):
    account_id: AccountId


class Invalid(msgspec.Struct, frozen=True, tag="invalid"):
    """A field breaks a rule that only the room's state can check."""

    field: str
    rule: str


class KeyReused(msgspec.Struct, frozen=True, tag="key-reused"):
    """The idempotency key belongs to another request."""


class NotYetReadable(msgspec.Struct, frozen=True, tag="not-yet-readable"):
    """The sender's view of the message is older than the log, or of the mentions after it: it must read again and
    retry. Clients never see this. ``mentions_to``: the newest message that may have such a mention."""

    room_id: RoomId
    seq: Seq
    mentions_to: Seq = 0


class OutOfDate(msgspec.Struct, frozen=True, tag="out-of-date"):
    """The account has changed since the sender looked at it: it must look again and retry. Clients never see this."""

    account_id: AccountId


class TextTaken(msgspec.Struct, frozen=True, tag="text-taken"):
    """Another account has the handle or the e-mail. ``field``: which of these."""

    field: str


class LastOwner(msgspec.Struct, frozen=True, tag="last-owner"):
    account_id: AccountId


class UnknownAccount(AccountNotFound, frozen=True, tag="account-not-found"):
    """The sender's view shows no such account. A sender in another process reads it as an AccountNotFound."""


Rejection: TypeAlias = (
    RoomNotFound
    | NotAMember
    | NotJoined
    | MemberNotFound
    | AccountNotFound
    | TokenNotFound
    | MessageNotFound
    | MessageIsDeleted
    | NotTheAuthor
    | ReadOnly
    | NotAllowed
    | LastAdmin
    | LastToken
    | Invalid
    | KeyReused
    | NotYetReadable
    | OutOfDate
    | TextTaken
    | LastOwner
)
RestsOnView: TypeAlias = NotYetReadable | UnknownAccount | OutOfDate
"""Refusals that rest on what the sender has read. The log may be ahead of that, so no key remembers them."""
