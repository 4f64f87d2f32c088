"""Answers of the server. Fields that a newer server adds are passed over, so an older client still works.

Made by ``python -m tools.clients.types``. Do not edit.
"""

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["admin", "member", "readonly"]
RoomKind: TypeAlias = Literal["direct", "group", "thread"]


class Account(msgspec.Struct, frozen=True):
    """``email``: for the account itself, owners and admins. ``is_admin``: the role is owner or admin."""

    account_id: int
    name: str
    handle: str | None
    title: str
    about: str
    bot: bool
    role: Literal["admin", "bot", "guest", "member", "owner"]
    deactivated: bool
    is_admin: bool
    created_at: datetime
    email: str | msgspec.UnsetType | None = msgspec.UNSET


class Accounts(msgspec.Struct, frozen=True):
    accounts: tuple[Account, ...]
    next_cursor: str | None


class Author(msgspec.Struct, frozen=True):
    account_id: int
    name: str


class Authors(msgspec.Struct, frozen=True):
    """Names in the order of the ids. An id that no account has is left out."""

    authors: tuple[Author, ...]


class Bookmark(msgspec.Struct, frozen=True):
    room_id: int
    seq: int
    note: str
    created_at: datetime


class ReactionSummary(msgspec.Struct, frozen=True):
    """How many accounts have reacted with an emoji, and the first of them, in the order in which they did."""

    emoji: str
    count: int
    accounts: tuple[int, ...]


class ThreadSummary(msgspec.Struct, frozen=True):
    """A message's thread. ``participants``: the first accounts that wrote in it."""

    room_id: int
    last_seq: int
    last_at: datetime | None
    participants: tuple[int, ...]


class Message(msgspec.Struct, frozen=True):
    """A message as it is read. ``missing``: the read tables have lost it. It keeps its ``seq``, has no text, and its
    author_id is 0."""

    room_id: int
    seq: int
    author_id: int
    text: str
    posted_at: datetime
    edited_at: datetime | None = None
    deleted: bool = False
    reply_to: int | None = None
    mentions: tuple[int, ...] = ()
    reactions: tuple[ReactionSummary, ...] | msgspec.UnsetType = msgspec.UNSET
    thread: ThreadSummary | msgspec.UnsetType | None = msgspec.UNSET
    missing: bool = False


class BookmarkedMessage(msgspec.Struct, frozen=True):
    """``message``: null once the room cannot be read."""

    room_id: int
    seq: int
    note: str
    created_at: datetime
    message: Message | None


class BookmarkPage(msgspec.Struct, frozen=True):
    bookmarks: tuple[BookmarkedMessage, ...]
    next_cursor: str | None


class CreatedAccount(msgspec.Struct, frozen=True):
    """The token is shown only once."""

    account_id: int
    name: str
    handle: str | None
    title: str
    about: str
    bot: bool
    role: Literal["admin", "bot", "guest", "member", "owner"]
    deactivated: bool
    is_admin: bool
    created_at: datetime
    email: str | None
    token: str


class FoundAccounts(msgspec.Struct, frozen=True):
    accounts: tuple[Account, ...]


class Hit(msgspec.Struct, frozen=True):
    """``snippet``: the part of the text that was found, in pieces; True marks what was asked for."""

    room_id: int
    message: Message
    snippet: tuple[tuple[str, bool], ...]


class FoundMessages(msgspec.Struct, frozen=True):
    hits: tuple[Hit, ...]
    next_cursor: str | None


class Imported(msgspec.Struct, frozen=True):
    """``accounts`` and ``rooms``: the id of each ref. ``skipped``: messages that had been imported before.
    ``left_out``: by room id, how many members of the lines are not in the room, and were not added since members have
    left it. ``taken``: by the ref of an account, what other accounts have, ``handle``, ``email`` or both: the account
    came in without it."""

    accounts: dict[str, int]
    rooms: dict[str, int]
    imported: int
    skipped: int
    left_out: dict[str, int] = {}
    taken: dict[str, tuple[str, ...]] = {}


class Invitation(msgspec.Struct, frozen=True):
    """``by``: the account that invites."""

    invitation_id: int
    role: Literal["admin", "guest", "member", "owner"]
    email: str | None
    rooms: tuple[int, ...]
    uses_left: int
    expires_at: datetime
    created_at: datetime
    by: int


class InvitationList(msgspec.Struct, frozen=True):
    invitations: tuple[Invitation, ...]


class InvitationView(msgspec.Struct, frozen=True):
    """An invitation as a person sees it who has no account yet. ``rooms``: their names. ``by``: who invites."""

    role: Literal["admin", "guest", "member", "owner"]
    rooms: tuple[str, ...]
    by: str
    email: str | None


class IssuedInvitation(msgspec.Struct, frozen=True):
    """The address is shown this once. ``mailed``: the mail server has taken it."""

    invitation_id: int
    url: str
    role: Literal["admin", "guest", "member", "owner"]
    uses_left: int
    expires_at: datetime
    mailed: bool


class IssuedToken(msgspec.Struct, frozen=True):
    token_id: int
    token: str
    name: str
    scopes: tuple[Literal["admin", "export", "read", "tokens", "write"], ...]
    expires_at: datetime | None


class LinkOwner(msgspec.Struct, frozen=True):
    name: str
    has_password: bool


class ListedRoom(msgspec.Struct, frozen=True):
    """An open room. ``members``: how many it has; ``joined``: the caller is one of them."""

    room_id: int
    name: str
    description: str
    members: int
    joined: bool
    updated_at: datetime


class ListedRooms(msgspec.Struct, frozen=True):
    rooms: tuple[ListedRoom, ...]
    next_cursor: str | None


class ThreadParent(msgspec.Struct, frozen=True):
    """The message that a thread belongs to."""

    room_id: int
    seq: int


class Room(msgspec.Struct, frozen=True):
    """``role`` is the caller's own, null in an open room that the caller has not joined. A direct room has the name of
    the other account, ``peer_id``. ``open``: everybody but guests may find, read and join the room. ``default``: new
    accounts are members. Threads alone have ``parent``, and ``follows``: the caller follows the thread; the role is
    the one in the parent's room."""

    room_id: int
    kind: RoomKind
    name: str
    description: str
    role: Role | None
    last_seq: int
    created_at: datetime
    peer_id: int | None
    open: bool
    default: bool
    parent: ThreadParent | msgspec.UnsetType = msgspec.UNSET
    follows: bool | msgspec.UnsetType = msgspec.UNSET


class RoomSummary(Room, frozen=True, kw_only=True):
    """A room in the caller's list."""

    read_seq: int
    unread: int
    mentions: int
    last_message: Message | None
    updated_at: datetime


class ListedThread(RoomSummary, frozen=True, kw_only=True):
    """``root``: the message that the thread belongs to."""

    root: Message


class Me(msgspec.Struct, frozen=True):
    """``scopes``: what the token may do."""

    account_id: int
    name: str
    handle: str | None
    title: str
    about: str
    bot: bool
    role: Literal["admin", "bot", "guest", "member", "owner"]
    deactivated: bool
    is_admin: bool
    created_at: datetime
    email: str | None
    organization_id: int
    hide_reads: bool
    scopes: tuple[Literal["admin", "export", "read", "tokens", "write"], ...]


class Member(msgspec.Struct, frozen=True):
    account_id: int
    name: str
    role: Role
    read_seq: int


class Members(msgspec.Struct, frozen=True):
    members: tuple[Member, ...]
    next_cursor: str | None


class MessageReader(msgspec.Struct, frozen=True):
    account_id: int
    name: str
    read_seq: int


class MessageReaders(msgspec.Struct, frozen=True):
    readers: tuple[MessageReader, ...]
    next_cursor: str | None


class Messages(msgspec.Struct, frozen=True):
    """Ascending by ``seq``. A page has at most 1 MiB, so there may be fewer than ``limit`` though there are more."""

    messages: tuple[Message, ...]
    has_before: bool
    has_after: bool


class Pin(msgspec.Struct, frozen=True):
    """``pinned_by``: the account that has pinned the message."""

    room_id: int
    seq: int
    pinned_by: int
    pinned_at: datetime


class PinnedMessage(msgspec.Struct, frozen=True):
    message: Message
    pinned_by: int
    pinned_at: datetime


class Pins(msgspec.Struct, frozen=True):
    """The newest pin first."""

    pins: tuple[PinnedMessage, ...]


class PostedMessage(Message, frozen=True, kw_only=True):
    """``in_room``: the message in the thread's room, if one was asked for."""

    in_room: int | msgspec.UnsetType = msgspec.UNSET


class Profile(msgspec.Struct, frozen=True):
    """An account as it sees itself."""

    account_id: int
    name: str
    handle: str | None
    title: str
    about: str
    bot: bool
    role: Literal["admin", "bot", "guest", "member", "owner"]
    deactivated: bool
    is_admin: bool
    created_at: datetime
    email: str | None


class Provider(msgspec.Struct, frozen=True):
    """An OpenID Connect provider: ``/v1/sign-in/{provider}`` begins there."""

    provider: str
    name: str


class ReactionCount(msgspec.Struct, frozen=True):
    """``count``: how many accounts have reacted with the emoji."""

    room_id: int
    seq: int
    emoji: str
    count: int


class ReactionEntry(msgspec.Struct, frozen=True):
    emoji: str
    account_id: int
    reacted_at: datetime


class Reactions(msgspec.Struct, frozen=True):
    """Oldest first."""

    reactions: tuple[ReactionEntry, ...]
    next_cursor: str | None


class ReadState(msgspec.Struct, frozen=True):
    room_id: int
    read_seq: int
    unread: int
    mentions: int


class Rooms(msgspec.Struct, frozen=True):
    """A page has at most 1 MiB, so there may be fewer than ``limit`` though there are more."""

    rooms: tuple[RoomSummary, ...]
    next_cursor: str | None


class Session(msgspec.Struct, frozen=True):
    """``last_used_at``: to the day, from the day after ``created_at`` on. ``address``: of the client that signed in.
    ``current``: the request's own."""

    session_id: int
    created_at: datetime
    last_used_at: datetime | None
    user_agent: str
    address: str
    current: bool


class Sessions(msgspec.Struct, frozen=True):
    sessions: tuple[Session, ...]


class SignInLink(msgspec.Struct, frozen=True):
    """The address is shown this once. ``mailed``: the mail server has taken it."""

    url: str
    expires_at: datetime
    mailed: bool


class SignInWays(msgspec.Struct, frozen=True):
    password: bool
    providers: tuple[Provider, ...]


class SignedIn(msgspec.Struct, frozen=True):
    """``token``: if the request asked for it; else the answer sets the cookie."""

    account: Profile
    session_id: int
    expires_at: datetime
    token: str | None = None


class Threads(msgspec.Struct, frozen=True):
    """A page has at most 1 MiB, so there may be fewer than ``limit`` though there are more."""

    threads: tuple[ListedThread, ...]
    next_cursor: str | None


class Token(msgspec.Struct, frozen=True):
    """``last_used_at``: to the day, from the day after ``created_at`` on."""

    token_id: int
    created_at: datetime
    kind: Literal["session", "token"]
    name: str
    scopes: tuple[Literal["admin", "export", "read", "tokens", "write"], ...]
    expires_at: datetime | None
    last_used_at: datetime | None
    issued_by: int | None


class Tokens(msgspec.Struct, frozen=True):
    tokens: tuple[Token, ...]
