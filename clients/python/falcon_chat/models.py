"""What the server answers. Fields that a newer server adds are passed over, so an older client goes on working."""

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["admin", "member", "readonly"]
RoomKind: TypeAlias = Literal["group", "direct"]


class Me(msgspec.Struct, frozen=True):
    """The account that the token belongs to."""

    account_id: int
    name: str
    organization_id: int | None
    is_admin: bool


class Account(msgspec.Struct, frozen=True):
    account_id: int
    name: str
    is_admin: bool
    created_at: datetime


class AccountPage(msgspec.Struct, frozen=True):
    accounts: tuple[Account, ...]
    next_cursor: str | None = None


class NewAccount(msgspec.Struct, frozen=True):
    """``token`` is shown this once; the server keeps only its hash."""

    account_id: int
    name: str
    token: str


class Token(msgspec.Struct, frozen=True):
    token_id: int
    created_at: datetime


class TokenList(msgspec.Struct, frozen=True):
    tokens: tuple[Token, ...]


class NewToken(msgspec.Struct, frozen=True):
    """``token`` is shown this once; the server keeps only its hash."""

    token_id: int
    token: str


class Room(msgspec.Struct, frozen=True):
    """``role`` is the caller's own. ``last_seq`` is 0 in a room without messages."""

    room_id: int
    kind: RoomKind
    name: str
    description: str
    role: Role
    last_seq: int
    created_at: datetime


class ReactionSummary(msgspec.Struct, frozen=True):
    """How many accounts have reacted to a message with an emoji, and the first of them."""

    emoji: str
    count: int
    accounts: tuple[int, ...] = ()


class Message(msgspec.Struct, frozen=True):
    """A deleted message keeps its ``seq`` and has no text. ``missing``: it was posted, and the server cannot show it;
    then it is deleted, too, and its author is 0. ``reactions``: in the order in which each emoji came up; unset in
    events, lists of rooms and the answer to an edit."""

    room_id: int
    seq: int
    author_id: int
    text: str
    posted_at: datetime
    edited_at: datetime | None = None
    deleted: bool = False
    reply_to: int | None = None
    mentions: tuple[int, ...] = ()
    missing: bool = False
    reactions: tuple[ReactionSummary, ...] | msgspec.UnsetType = msgspec.UNSET


class RoomSummary(Room, frozen=True, kw_only=True):
    """A room in the list of your rooms. ``unread`` and ``mentions`` count the messages after ``read_seq``."""

    read_seq: int
    unread: int
    mentions: int
    last_message: Message | None = None
    updated_at: datetime


class RoomPage(msgspec.Struct, frozen=True):
    """The newest activity first."""

    rooms: tuple[RoomSummary, ...]
    next_cursor: str | None = None


class Page(msgspec.Struct, frozen=True):
    """A stretch of a room's history, ascending by ``seq`` and without gaps."""

    messages: tuple[Message, ...]
    has_before: bool
    has_after: bool


class ReactionCount(msgspec.Struct, frozen=True):
    """``count``: how many accounts have reacted with the emoji."""

    room_id: int
    seq: int
    emoji: str
    count: int


class Reaction(msgspec.Struct, frozen=True):
    emoji: str
    account_id: int
    reacted_at: datetime


class ReactionPage(msgspec.Struct, frozen=True):
    """Oldest first."""

    reactions: tuple[Reaction, ...]
    next_cursor: str | None = None


class Member(msgspec.Struct, frozen=True):
    account_id: int
    name: str
    role: Role
    read_seq: int


class MemberPage(msgspec.Struct, frozen=True):
    members: tuple[Member, ...]
    next_cursor: str | None = None


class Author(msgspec.Struct, frozen=True):
    """The name behind an ``author_id`` or a mention."""

    account_id: int
    name: str


class AuthorList(msgspec.Struct, frozen=True):
    authors: tuple[Author, ...]


class Membership(msgspec.Struct, frozen=True):
    """What adding a member answers, or changing its role."""

    account_id: int
    role: Role
    name: str = ""


class ReadMark(msgspec.Struct, frozen=True):
    room_id: int
    read_seq: int
    unread: int
    mentions: int


class Imported(msgspec.Struct, frozen=True):
    """The ids that the refs of one request got. ``skipped`` counts what was there already. ``left_out``: by room id,
    how many members are not in the room, and were not added since members have left it."""

    accounts: dict[str, int]
    rooms: dict[str, int]
    imported: int
    skipped: int
    left_out: dict[str, int] = {}


class ExportHeader(msgspec.Struct, frozen=True):
    """The first line of an export. ``source`` names where it comes from; the counts are of when it began, or 0.

    ``position``: what came later stands as changes at the export's end. The first version had no such thing.
    """

    type: Literal["falcon-export"]
    version: int
    source: str
    accounts: int = 0
    rooms: int = 0
    messages: int = 0
    position: str | None = None
