"""The lines of an export, which an import takes: rows, and changes that came while the rows were written.

A line names things by refs, which are any strings; the server assigns ids. Lines that follow their message, such as
reactions, come last. A new kind of them is declared here alone.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

import msgspec

from falcon_chat import Imported, Role, RoomKind

NOBODY = 0  # wrote a message that is missing

Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Seq: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Json: TypeAlias = dict[str, Any]
_encode = msgspec.json.Encoder().encode


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


class ChangesLine(msgspec.Struct, tag="changes"):
    position: str
    through: str


class EndLine(msgspec.Struct, tag="end"):
    position: str


# --- accounts ---------------------------------------------------------------------------------------------------------


class AccountLine(msgspec.Struct, frozen=True, tag="account", forbid_unknown_fields=True):
    """``at``, here and below: the place of the change in the log of the other Falcon."""

    ref: str
    name: str
    at: str | None = None

    def as_sent(self, refs: Refs) -> Json:
        return {"type": "account", "source": refs.source, "ref": self.ref, "name": self.name}


# --- rooms ------------------------------------------------------------------------------------------------------------


class MemberRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    account: str
    role: Role = "member"


class RoomLine(msgspec.Struct, frozen=True, tag="room", forbid_unknown_fields=True):
    ref: str
    name: str
    created_at: Time
    kind: RoomKind = "group"
    description: str = ""
    members: tuple[MemberRef, ...] = ()
    at: str | None = None

    def as_sent(self, refs: Refs) -> Json:
        return {
            "type": "room",
            "source": refs.source,
            "ref": self.ref,
            "kind": self.kind,
            "name": self.name,
            "description": self.description,
            "created_at": utc(self.created_at),
            "members": _as_sent(self.members, refs),
        }


class MembersLine(msgspec.Struct, frozen=True):
    """Members of a large room that its own line has no place for. No file has such lines."""

    room: str
    members: tuple[MemberRef, ...]

    def as_sent(self, refs: Refs) -> Json:
        return {"type": "members", "room_id": refs.room(self.room), "members": _as_sent(self.members, refs)}


def _as_sent(members: tuple[MemberRef, ...], refs: Refs) -> list[Json]:
    return [{"account_id": refs.account(member.account, "members"), "role": member.role} for member in members]


class RoomChangedLine(msgspec.Struct, tag="room-changed"):
    room: str
    name: str
    description: str
    at: str


class RoomDeletedLine(msgspec.Struct, tag="room-deleted"):
    room: str
    at: str


class MemberLine(msgspec.Struct, tag="member"):
    room: str
    account: str
    role: str
    at: str


class MemberLeftLine(msgspec.Struct, tag="member-left"):
    room: str
    account: str
    at: str


# --- messages ---------------------------------------------------------------------------------------------------------


class MessageLine(msgspec.Struct, frozen=True, tag="message", forbid_unknown_fields=True):
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
        self._check_seq(refs)
        return {
            "type": "message",
            "room_id": refs.room(self.room),
            "seq": self.seq,
            "author_id": NOBODY if self.missing else refs.account(self.author, "author"),
            "text": self.text,
            "posted_at": utc(self.posted_at),
            "edited_at": utc(self.edited_at) if self.edited_at else None,
            "deleted": self.deleted,
            "reply_to": self.reply_to,
            "mentions": [refs.account(ref, "mentions") for ref in self.mentions],
        }

    def _check_seq(self, refs: Refs) -> None:
        """The server refuses this too, but cannot name the line."""
        expected = refs.last_seqs.get(self.room, self.seq - 1) + 1
        if self.seq != expected:
            raise BadLine(f"seq: must go on without a gap: expected {expected}, got {self.seq}")
        refs.last_seqs[self.room] = self.seq


# --- what follows a message -------------------------------------------------------------------------------------------


class ReactionLine(msgspec.Struct, frozen=True, tag="reaction", forbid_unknown_fields=True):
    room: str
    seq: Seq
    emoji: str
    account: str
    reacted_at: Time
    at: str | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        return "reaction", self.emoji, self.account

    def as_sent(self, refs: Refs) -> Json:
        return {
            "type": "reaction",
            "room_id": refs.room(self.room),
            "seq": self.seq,
            "emoji": self.emoji,
            "account_id": refs.account(self.account, "account"),
            "reacted_at": utc(self.reacted_at),
        }


class ReactionRemovedLine(msgspec.Struct, tag="reaction-removed"):
    room: str
    seq: int
    emoji: str
    account: str
    at: str

    @property
    def identity(self) -> tuple[str, ...]:
        """The identity of the removed line among those of the message."""
        return "reaction", self.emoji, self.account


class PinLine(msgspec.Struct, frozen=True, tag="pin", forbid_unknown_fields=True):
    room: str
    seq: Seq
    account: str
    pinned_at: Time
    at: str | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        return ("pin",)

    def as_sent(self, refs: Refs) -> Json:
        return {
            "type": "pin",
            "room_id": refs.room(self.room),
            "seq": self.seq,
            "account_id": refs.account(self.account, "account"),
            "pinned_at": utc(self.pinned_at),
        }


class PinRemovedLine(msgspec.Struct, tag="pin-removed"):
    room: str
    seq: int
    at: str

    @property
    def identity(self) -> tuple[str, ...]:
        return ("pin",)


FollowingLine: TypeAlias = ReactionLine | PinLine
FollowingRemovedLine: TypeAlias = ReactionRemovedLine | PinRemovedLine


# --- all --------------------------------------------------------------------------------------------------------------

Row: TypeAlias = AccountLine | RoomLine | MessageLine | FollowingLine
Line: TypeAlias = HeaderLine | Row
RoomChange: TypeAlias = RoomLine | RoomChangedLine | MemberLine | MemberLeftLine
Change: TypeAlias = (
    AccountLine
    | MessageLine
    | FollowingLine
    | FollowingRemovedLine
    | RoomChange
    | RoomDeletedLine
    | ChangesLine
    | EndLine
)


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
