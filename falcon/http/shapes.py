"""The JSON of the API: what requests are validated by, and what responses hold. OpenAPI is made from these types.

A name that the domain has too ends in ``Shape`` here, and not in the OpenAPI document.
"""

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from falcon.domain import limits
from falcon.domain.ids import ID_MAX
from falcon.features.accounts.rules import ADMINS, AccountRole, ProfileAnswer, Scope, TokenKind
from falcon.features.messages.rules import Message
from falcon.features.reactions.rules import REACTION_ACCOUNTS_SHOWN, REACTION_KINDS_MAX
from falcon.features.rooms.rules import PARTICIPANTS_MAX, Role, RoomKind
from falcon.read.times import rfc3339

Id: TypeAlias = Annotated[int, Meta(ge=1, le=ID_MAX)]
SeqFrom1: TypeAlias = Annotated[int, Meta(ge=1, le=ID_MAX)]
SeqFrom0: TypeAlias = Annotated[int, Meta(ge=0, le=ID_MAX)]
_NAME_RULES: Final = (
    "Stored as NFC. Control characters and characters that change the direction of text are refused. "
    "So is a name that is invisible"
)
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX, description=_NAME_RULES)]
Reference: TypeAlias = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]
Description: TypeAlias = Annotated[str, Meta(max_length=limits.DESCRIPTION_CHARS_MAX)]
# The bound is in bytes of UTF-8, which JSON Schema cannot express: ``requests.check_text`` checks it.
Text: TypeAlias = Annotated[
    str, Meta(min_length=1, description=f"1 to {limits.TEXT_BYTES_MAX} bytes of UTF-8, stored byte for byte")
]
Handle: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=32,
        description="Unique among all accounts",
        extra_json_schema={"pattern": "^[a-z0-9._-]{1,32}$"},
    ),
]
Email: TypeAlias = Annotated[
    str, Meta(min_length=3, max_length=254, description="Has an @. Unique among all accounts, and stored in lower case")
]
Title: TypeAlias = Annotated[str, Meta(max_length=limits.TITLE_CHARS_MAX)]
About: TypeAlias = Annotated[str, Meta(max_length=limits.ABOUT_CHARS_MAX)]
_TOKEN_SECONDS_MAX: Final = 100 * 365 * 24 * 3_600  # a hundred years: its end stays a time that can be written
Mentions: TypeAlias = Annotated[tuple[Id, ...], Meta(max_length=limits.MENTIONS_MAX)]
Limit: TypeAlias = Annotated[int, Meta(ge=1, le=200, description="How many entries the page has at most")]
Time: TypeAlias = Annotated[str, Meta(description="RFC 3339, UTC", examples=["2026-11-25T09:30:00.123Z"])]


class RequestShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Unknown fields are refused, because a client would not notice its mistake otherwise."""


# --- requests ---------------------------------------------------------------------------------------------------------


class Nothing(RequestShape, frozen=True):
    """An empty object, or no body at all."""


class NewAccount(RequestShape, frozen=True):
    """``bot``: the same as the role bot."""

    name: Name
    role: AccountRole = "member"
    handle: Handle | None = None
    email: Email | None = None
    title: Title = ""
    bot: bool = False


class NewLink(RequestShape, frozen=True):
    """``mail``: send it to the account's e-mail."""

    mail: bool = False


class NewToken(RequestShape, frozen=True):
    """``scopes``: by default those of the token that asks. ``expires_in``: seconds; by default a new
    token ends with the token that asks; one from a session, or from a token without an end, has no end."""

    name: Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)] = ""
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)] | None = None
    expires_in: Annotated[int, Meta(ge=1, le=_TOKEN_SECONDS_MAX)] | None = None


class NewBookmark(RequestShape, frozen=True):
    note: Annotated[str, Meta(max_length=limits.NOTE_CHARS_MAX)] = ""


class MyProfile(RequestShape, frozen=True):
    """``email``: owners and admins only."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    handle: Handle | msgspec.UnsetType | None = msgspec.UNSET
    email: Email | msgspec.UnsetType | None = msgspec.UNSET
    title: Title | msgspec.UnsetType = msgspec.UNSET
    about: About | msgspec.UnsetType = msgspec.UNSET
    hide_reads: bool | msgspec.UnsetType = msgspec.UNSET


class AccountChange(RequestShape, frozen=True):
    name: Name | msgspec.UnsetType = msgspec.UNSET
    handle: Handle | msgspec.UnsetType | None = msgspec.UNSET
    email: Email | msgspec.UnsetType | None = msgspec.UNSET
    title: Title | msgspec.UnsetType = msgspec.UNSET
    about: About | msgspec.UnsetType = msgspec.UNSET
    role: AccountRole | msgspec.UnsetType = msgspec.UNSET
    deactivated: bool | msgspec.UnsetType = msgspec.UNSET


class NewMember(RequestShape, frozen=True):
    account_id: Id
    role: Role = "member"


class NewRoom(RequestShape, frozen=True):
    name: Name
    description: Description = ""
    members: Annotated[tuple[NewMember, ...], Meta(max_length=limits.MEMBERS_AT_CREATION_MAX)] = ()


class RoomChange(RequestShape, frozen=True):
    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    open: bool | msgspec.UnsetType = msgspec.UNSET
    default: bool | msgspec.UnsetType = msgspec.UNSET


class MemberRole(RequestShape, frozen=True):
    role: Role


class NewMessage(RequestShape, frozen=True):
    """``also_in_room``: of a message in a thread, which is then posted in the thread's room, too."""

    text: Text
    reply_to: SeqFrom1 | None = None
    mentions: Mentions = ()
    also_in_room: bool = False


class MessageChange(RequestShape, frozen=True):
    text: Text
    mentions: Mentions | None = None


class ReadMarkShape(RequestShape, frozen=True):
    seq: SeqFrom0
    force: bool = False


class PageQuery(RequestShape, frozen=True):
    """Takes at most one of ``before``, ``after`` and ``around``. Without any: the newest messages."""

    limit: Limit = 50
    before: Annotated[SeqFrom0 | None, Meta(description="Messages before this seq")] = None
    after: Annotated[SeqFrom0 | None, Meta(description="Messages after this seq")] = None
    around: Annotated[SeqFrom0 | None, Meta(description="Messages before and after this seq")] = None


class ListQuery(RequestShape, frozen=True):
    limit: Limit = 50
    cursor: Annotated[str | None, Meta(description="The next_cursor of the page before")] = None


AUTHORS_MAX: Final = 50  # a page of messages has fewer authors mostly; each is a look-up


ACCOUNTS_MAX: Final = 200  # as many as a page of a list; HBase reads them in one call


class AccountsQuery(ListQuery, frozen=True):
    ids: Annotated[
        str | None,
        Meta(
            description=f"1 to {ACCOUNTS_MAX} account ids, separated by commas: these accounts, in this order",
            examples=["65,130"],
            extra_json_schema={"pattern": rf"^[0-9]+(,[0-9]+){{0,{ACCOUNTS_MAX - 1}}}$"},
        ),
    ] = None
    role: Annotated[AccountRole | None, Meta(description="Only accounts with this role")] = None
    deactivated: Annotated[bool | None, Meta(description="Only accounts that are deactivated, or only active ones")] = (
        None
    )


class AuthorsQuery(RequestShape, frozen=True):
    """``ids``: account ids, separated by commas."""

    ids: Annotated[
        str,
        Meta(
            description=f"1 to {AUTHORS_MAX} account ids, separated by commas",
            examples=["65,130"],
            extra_json_schema={"pattern": rf"^[0-9]+(,[0-9]+){{0,{AUTHORS_MAX - 1}}}$"},
        ),
    ] = ""


class ExportQuery(RequestShape, frozen=True):
    """Parameters of an export; without any it begins at the start."""

    resume: Annotated[str | None, Meta(description="The last line that was received of an export that broke off")] = (
        None
    )
    since: Annotated[str | None, Meta(description="The position in the first line of an earlier export")] = None


# --- answers ----------------------------------------------------------------------------------------------------------


class _SeenByAll(msgspec.Struct, frozen=True):
    account_id: Id
    name: str
    handle: str | None
    title: str
    about: str
    bot: bool
    role: AccountRole
    deactivated: bool
    is_admin: bool
    created_at: Time


class Profile(_SeenByAll, frozen=True):
    """An account as it sees itself."""

    email: str | None


def profile(account: ProfileAnswer) -> Profile:
    return Profile(
        account.account_id,
        account.name,
        account.handle,
        account.title,
        account.about,
        account.role == "bot",
        account.role,
        account.deactivated,
        account.role in ADMINS,
        rfc3339(account.created_at),
        account.email,
    )


class AccountShape(_SeenByAll, frozen=True):
    """``email``: for the account itself, owners and admins. ``is_admin``: the role is owner or admin."""

    email: str | msgspec.UnsetType | None = msgspec.UNSET


class Me(Profile, frozen=True):
    """``scopes``: what the token may do."""

    organization_id: Id
    hide_reads: bool
    scopes: tuple[Scope, ...]


class CreatedAccount(Profile, frozen=True):
    """The token is shown only once."""

    token: str


class Accounts(msgspec.Struct, frozen=True):
    accounts: list[AccountShape]
    next_cursor: str | None


class IssuedToken(msgspec.Struct, frozen=True):
    token_id: int
    token: str
    name: str
    scopes: tuple[Scope, ...]
    expires_at: Time | None


class TokenShape(msgspec.Struct, frozen=True):
    """``last_used_at``: to the day, from the day after ``created_at`` on."""

    token_id: int
    created_at: Time
    kind: TokenKind
    name: str
    scopes: tuple[Scope, ...]
    expires_at: Time | None
    last_used_at: Time | None
    issued_by: Id | None


class Tokens(msgspec.Struct, frozen=True):
    tokens: list[TokenShape]


class ThreadParent(msgspec.Struct, frozen=True):
    """The message that a thread belongs to."""

    room_id: Id
    seq: SeqFrom1


class RoomShape(msgspec.Struct, frozen=True):
    """``role`` is the caller's own, null in an open room that the caller has not joined. A direct room has the name of
    the other account, ``peer_id``. ``open``: everybody but guests may find, read and join the room. ``default``: new
    accounts are members. Threads alone have ``parent``, and ``follows``: the caller follows the thread; the role is the
    one in the parent's room."""

    room_id: Id
    kind: RoomKind
    name: str
    description: str
    role: Role | None
    last_seq: SeqFrom0
    created_at: Time
    peer_id: Id | None
    open: bool
    default: bool
    parent: ThreadParent | msgspec.UnsetType = msgspec.UNSET
    follows: bool | msgspec.UnsetType = msgspec.UNSET


class ThreadSummary(msgspec.Struct, frozen=True):
    """A message's thread. ``participants``: the first accounts that wrote in it."""

    room_id: Id
    last_seq: SeqFrom0
    last_at: Time | None
    participants: Annotated[tuple[Id, ...], Meta(max_length=PARTICIPANTS_MAX)]


class ReactionSummary(msgspec.Struct, frozen=True):
    """How many accounts have reacted with an emoji, and the first of them, in the order in which they did."""

    emoji: str
    count: Annotated[int, Meta(ge=1)]
    accounts: Annotated[tuple[Id, ...], Meta(max_length=REACTION_ACCOUNTS_SHOWN)]


class MessageShape(msgspec.Struct, frozen=True):
    """A message as it is now. A deleted message keeps its ``seq`` and has no text.

    ``reactions``: in the order in which each emoji was first used. ``thread``: null without one. The response to an
    edit, the last message of a room in a list and the root of a thread in a list leave both out.
    """

    room_id: Id
    seq: SeqFrom1
    author_id: Annotated[int, Meta(ge=0, le=ID_MAX)]
    text: str
    posted_at: Time
    edited_at: Time | None = None
    deleted: bool = False
    reply_to: SeqFrom1 | None = None
    mentions: tuple[Id, ...] = ()
    reactions: Annotated[tuple[ReactionSummary, ...], Meta(max_length=REACTION_KINDS_MAX)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    thread: ThreadSummary | msgspec.UnsetType | None = msgspec.UNSET


class PostedMessage(MessageShape, frozen=True):
    """``in_room``: the message in the thread's room, if one was asked for."""

    in_room: SeqFrom1 | msgspec.UnsetType = msgspec.UNSET


def message(m: Message) -> MessageShape:
    edited_at = None if m.edited_at is None else rfc3339(m.edited_at)
    return MessageShape(
        m.room_id,
        m.seq,
        m.author_id,
        m.text,
        rfc3339(m.posted_at),
        edited_at,
        m.deleted,
        m.reply_to,
        m.mentions,
    )


def posted_message(m: Message, in_room: int | None) -> PostedMessage:
    return PostedMessage(
        m.room_id,
        m.seq,
        m.author_id,
        m.text,
        rfc3339(m.posted_at),
        None,
        False,
        m.reply_to,
        m.mentions,
        (),
        None,
        msgspec.UNSET if in_room is None else in_room,
    )


class ShownMessage(MessageShape, frozen=True):
    """A message as it is read. ``missing``: the read tables have lost it. It keeps its ``seq``, has no text, and
    its author_id is 0."""

    missing: bool = False


class RoomSummary(RoomShape, frozen=True, kw_only=True):
    """A room in the caller's list."""

    read_seq: SeqFrom0
    unread: SeqFrom0
    mentions: SeqFrom0
    last_message: ShownMessage | msgspec.Raw | None
    updated_at: Time


class Rooms(msgspec.Struct, frozen=True):
    """A page has at most 1 MiB, so there may be fewer than ``limit`` though there are more."""

    rooms: list[RoomSummary]
    next_cursor: str | None


class MemberShape(msgspec.Struct, frozen=True):
    account_id: Id
    name: str
    role: Role
    read_seq: SeqFrom0


class Members(msgspec.Struct, frozen=True):
    members: list[MemberShape]
    next_cursor: str | None


class Author(msgspec.Struct, frozen=True):
    account_id: Id
    name: str


class Authors(msgspec.Struct, frozen=True):
    """Names in the order of the ids. An id that no account has is left out."""

    authors: list[Author]


class Messages(msgspec.Struct, frozen=True):
    """Ascending by ``seq``. A page has at most 1 MiB, so there may be fewer than ``limit`` though there are more."""

    messages: list[ShownMessage]
    has_before: bool
    has_after: bool


class ReadState(msgspec.Struct, frozen=True):
    room_id: Id
    read_seq: SeqFrom0
    unread: SeqFrom0
    mentions: SeqFrom0


class FieldError(msgspec.Struct, frozen=True):
    field: str
    rule: str


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem as RFC 9457 describes it. ``code`` is stable: switch on it. ``errors`` names the parts of the request
    that break a rule."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: tuple[FieldError, ...] = ()


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


Health: TypeAlias = Literal["ok", "starting", "draining"]
