"""The lines of an export, which an import takes: rows, and changes that came while the rows were written.

A line names things by refs, which are any strings; the server assigns ids. Lines that follow their message, such as
reactions, come last. A new kind of them is declared here alone.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import msgspec

from falcon_chat import Imported, Role, RoomKind

NOBODY = 0  # wrote a message that is missing

Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Seq: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Json: TypeAlias = dict[str, Any]
_encode = msgspec.json.Encoder().encode
# Lines that follow a message, and the fields that tell them apart among those of the same message.
FOLLOWING: Final[dict[str, tuple[str, ...]]] = {"reaction": ("emoji", "account"), "pin": ()}


class BadLine(Exception):
    """The rule that a line breaks."""


@dataclass(frozen=True)
class Refs:
    """Translates refs of the file into ids of the server, and counts the messages of each room."""

    source: str
    accounts: dict[str, int] = field(default_factory=dict)
    rooms: dict[str, int] = field(default_factory=dict)
    last_seqs: dict[str, int] = field(default_factory=dict)

    def learn(self, answer: Imported) -> None:
        self.accounts.update(answer.accounts)
        self.rooms.update(answer.rooms)

    def translated(self, line: "Line | MembersLine") -> bytes:
        """The line as the server takes it. Raises BadLine."""
        return _encode(line.as_sent(self)) + b"\n"

    def room(self, ref: str) -> int:
        return _id_of(ref, self.rooms, "room", "room")

    def account(self, ref: str, field: str) -> int:
        return _id_of(ref, self.accounts, field, "account")


class _SentLine(msgspec.Struct, frozen=True):
    def as_sent(self, refs: Refs) -> Json:
        """All fields but ``at``: refs as ids, and times as the API writes them. Raises BadLine."""
        sent: Json = {"type": self.__struct_config__.tag}
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name == "room":
                sent["room_id"] = refs.room(value)
            elif name in ("account", "author"):
                sent[f"{name}_id"] = NOBODY if getattr(self, "missing", False) else refs.account(value, name)
            elif name in ("mentions", "followers"):
                sent[name] = [refs.account(ref, name) for ref in value]
            elif name == "members":
                sent[name] = [{"account_id": refs.account(each.account, name), "role": each.role} for each in value]
            elif name != "at" and value is not msgspec.UNSET:
                sent[name] = utc(value) if isinstance(value, datetime) else value
        return sent


# --- rows -------------------------------------------------------------------------------------------------------------


class HeaderLine(msgspec.Struct, frozen=True, tag="falcon-export"):
    """Later versions may add fields, so unknown fields are ignored until the version is checked."""

    version: int
    source: str
    accounts: int = 0
    rooms: int = 0
    messages: int = 0
    position: str = ""

    def as_sent(self, refs: Refs) -> Json:
        raise BadLine("a second header; a file has one, on its first line")


class AccountLine(_SentLine, frozen=True, tag="account", forbid_unknown_fields=True):
    """``at``, here and below: the place of the change in the log of the other Falcon."""

    ref: str
    name: str
    role: str = "member"
    title: str = ""
    about: str = ""
    handle: str | None = None
    email: str | None = None
    deactivated: bool = False
    _SAYS_NOTHING: ClassVar[Json] = {
        "role": "member",
        "title": "",
        "about": "",
        "handle": None,
        "email": None,
        "deactivated": False,
    }
    at: str | None = None

    def as_sent(self, refs: Refs) -> Json:
        """The fields that say something: an older Falcon does not know the others."""
        sent = super().as_sent(refs) | {"source": refs.source}
        return {field: value for field, value in sent.items() if value != self._SAYS_NOTHING.get(field, ...)}


class MemberRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    account: str
    role: Role = "member"


class RoomLine(_SentLine, frozen=True, tag="room", forbid_unknown_fields=True):
    ref: str
    name: str
    created_at: Time
    kind: RoomKind = "group"
    description: str = ""
    members: tuple[MemberRef, ...] = ()
    at: str | None = None
    open: bool | msgspec.UnsetType = msgspec.UNSET
    default: bool | msgspec.UnsetType = msgspec.UNSET

    def as_sent(self, refs: Refs) -> Json:
        return super().as_sent(refs) | {"source": refs.source}


class ThreadLine(_SentLine, frozen=True, tag="thread", forbid_unknown_fields=True):
    """``room``, ``seq``: the message. The thread's own messages name it as their room."""

    ref: str
    room: str
    seq: Seq
    created_at: Time
    followers: tuple[str, ...] = ()
    at: str | None = None

    def as_sent(self, refs: Refs) -> Json:
        return super().as_sent(refs) | {"source": refs.source}


class MembersLine(_SentLine, frozen=True, tag="members"):
    """Members of a large room that its own line has no place for. No file has such lines."""

    room: str
    members: tuple[MemberRef, ...]


class MessageLine(_SentLine, frozen=True, tag="message", forbid_unknown_fields=True):
    room: str
    seq: Seq
    author: str
    text: str
    posted_at: Time
    edited_at: Time | None = None
    deleted: bool = False
    reply_to: Seq | None = None
    mentions: tuple[str, ...] = ()
    missing: bool = False
    at: str | None = None

    def as_sent(self, refs: Refs) -> Json:
        """The server refuses a gap, too, but cannot name the line."""
        expected = refs.last_seqs.get(self.room, self.seq - 1) + 1
        if self.seq != expected:
            raise BadLine(f"seq: must go on without a gap: expected {expected}, got {self.seq}")
        refs.last_seqs[self.room] = self.seq
        sent = super().as_sent(refs)
        del sent["missing"]
        return sent


class ReactionLine(_SentLine, frozen=True, tag="reaction", forbid_unknown_fields=True):
    room: str
    seq: Seq
    emoji: str
    account: str
    reacted_at: Time
    at: str | None = None


class PinLine(_SentLine, frozen=True, tag="pin", forbid_unknown_fields=True):
    room: str
    seq: Seq
    account: str
    pinned_at: Time
    at: str | None = None


class BookmarkLine(_SentLine, frozen=True, tag="bookmark", forbid_unknown_fields=True):
    """Comes after all messages."""

    account: str
    room: str
    seq: Seq
    created_at: Time
    note: str = ""
    at: str | None = None


FollowingLine: TypeAlias = ReactionLine | PinLine
Row: TypeAlias = AccountLine | RoomLine | ThreadLine | MessageLine | FollowingLine | BookmarkLine
Line: TypeAlias = HeaderLine | Row


# --- changes ----------------------------------------------------------------------------------------------------------


ChangeType: TypeAlias = (
    Literal["changes", "end", "account", "message"]
    | Literal["room", "room-changed", "room-deleted", "member", "member-left"]
    | Literal["thread", "thread-followed", "thread-unfollowed"]
    | Literal["reaction", "reaction-removed", "pin", "pin-removed", "bookmark", "bookmark-removed"]
)


class Change(msgspec.Struct):
    """Something that has changed. Rows that come later, or again, are changes, too."""

    type: ChangeType
    ref: str = ""
    room: str = ""
    name: str = ""
    description: str = ""
    account: str = ""
    role: Any = "member"  # in a room, or of an account
    seq: int = 0
    emoji: str = ""
    edited_at: str | None = None
    deleted: bool = False
    open: bool | msgspec.UnsetType = msgspec.UNSET
    default: bool | msgspec.UnsetType = msgspec.UNSET


def identity_of(line: FollowingLine | Change) -> tuple[str, ...]:
    """The identity of a line among the ones that follow a message, also of the line that says that it was removed."""
    kind = str(line.type if isinstance(line, Change) else line.__struct_config__.tag).removesuffix("-removed")
    return kind, *(getattr(line, name) for name in FOLLOWING[kind])


def _id_of(ref: str, known: dict[str, int], field: str, kind: str) -> int:
    try:
        return known[ref]
    except KeyError:
        raise BadLine(f"{field}: no {kind} with ref {ref!r} comes before this line") from None


def utc(moment: datetime) -> str:
    """The time as the API writes it."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
