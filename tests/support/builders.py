"""People, rooms and messages to write tests with. All ids lie in partition 1 of 64, all times are NOW's or after."""

import types
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import settings
from hypothesis import strategies as st

from falcon.domain.ids import ID_MAX, AccountId, Millis, RoomId, Seq, id_of
from falcon.features.accounts.rules import AccountCreated
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.read_marks.rules import ReadMoved
from falcon.features.rooms.rules import (
    Invitation,
    MemberJoined,
    MemberLeft,
    Membership,
    Role,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from falcon.journal.envelope import Envelope, Recorded

PARTITION: Final = 1
PARTITIONS: Final = 64


def nth_id(counter: int) -> int:
    """The id of the ``counter``-th thing made in the partition of these tests."""
    return id_of(counter, PARTITION, PARTITIONS)


ANN: Final = nth_id(1)
BOB: Final = nth_id(2)
CAT: Final = nth_id(3)
DAN: Final = nth_id(4)
ROOM: Final = nth_id(5)
DIRECT: Final = nth_id(6)
NEW: Final = nth_id(7)  # what is made gets this id, unless a test says otherwise

NOW: Final[Millis] = 1_795_599_000_123
NOW_TEXT: Final = "2026-11-25T09:30:00.123Z"
LATER: Final[Millis] = NOW + 60_000
LATER_TEXT: Final = "2026-11-25T09:31:00.123Z"

# Texts that have each broken some chat.
AWKWARD_TEXTS: Final = (
    "\0",
    "before\0after",
    "👩🏽\u200d🚀 👨\u200d👩\u200d👧\u200d👦",  # several characters joined to one
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # a flag spelt in invisible letters
    "e\u0301 is not é",  # the same letter, composed and not: no normalisation
    "Z\u0351\u036b\u0343a\u0363\u0321l\u0366",
    "\u202eright to left\u202c \u200f\u05e9\u05dc\u05d5\u05dd",
    "\ufefftext behind a byte order mark",
    "\uffff \U0010ffff \u2028 \u2029 \x7f \x85",
    " \t leading and trailing \r\n\r \n",
    '"quoted" \\back\\slashed\\ </script> \\u0000 %s {} ?1',
    "\x01\x02\x03\x1b[31m",
    "日本語とㄅㄆㄇ" * 100,
)


# --- events -----------------------------------------------------------------------------------------------------------


def a_group(
    room_id: RoomId = ROOM,
    *,
    admins: Sequence[AccountId] = (ANN,),
    members: Sequence[AccountId] = (),
    readers: Sequence[AccountId] = (),
    name: str = "Tea",
    description: str = "",
    imported_as: str | None = None,
    is_open: bool = False,
    default: bool = False,
) -> RoomCreated:
    roles: list[tuple[Role, Sequence[AccountId]]] = [("admin", admins), ("member", members), ("readonly", readers)]
    memberships = tuple(Membership(account_id, role) for role, accounts in roles for account_id in accounts)
    return RoomCreated(
        room_id, "group", name, description, NOW, memberships, imported_as, open=is_open, default=default
    )


def a_direct_room(smaller: AccountId = ANN, larger: AccountId = BOB, room_id: RoomId = DIRECT) -> RoomCreated:
    members = (Membership(smaller, "member"), Membership(larger, "member"))
    return RoomCreated(room_id, "direct", "", "", NOW, members)


def an_imported_group(*, admins: Sequence[AccountId] = (ANN,), members: Sequence[AccountId] = ()) -> RoomCreated:
    return a_group(admins=admins, members=members, imported_as="room/elsewhere/1")


def an_account(account_id: AccountId = ANN, name: str = "Ann", *, is_admin: bool = False) -> AccountCreated:
    return AccountCreated(account_id, name, "owner" if is_admin else "member", NOW)


def a_message(
    seq: Seq = 1,
    *,
    by: AccountId = ANN,
    text: str = "Who wants tea?",
    room_id: RoomId = ROOM,
    at: Millis = NOW,
    edited_at: Millis | None = None,
    reply_to: Seq | None = None,
    mentions: tuple[AccountId, ...] = (),
) -> Message:
    return Message(room_id, seq, by, text, at, edited_at, False, reply_to, mentions)


def posted(seq: Seq = 1, *, by: AccountId = ANN, room_id: RoomId = ROOM, **message: Any) -> MessagePosted:
    """Posted by an account that had read everything before."""
    return MessagePosted(a_message(seq, by=by, room_id=room_id, **message), author_read_seq=seq)


def a_conversation(
    length: int, *, by: AccountId = ANN, room_id: RoomId = ROOM, first: Seq = 1
) -> tuple[MessagePosted, ...]:
    return tuple(posted(seq, by=by, room_id=room_id) for seq in range(first, first + length))


def edited(message: Message, revision: int, text: str = "Who wants coffee?", *, at: Millis = LATER) -> MessageEdited:
    return MessageEdited(msgspec.structs.replace(message, text=text, edited_at=at), revision)


def deleted(message: Message, revision: int) -> MessageDeleted:
    return MessageDeleted(without_text(message), revision, message.mentions)


def without_text(message: Message) -> Message:
    """The message after a deletion."""
    return msgspec.structs.replace(message, text="", deleted=True, mentions=())


def joined(account_id: AccountId, *, role: Role = "member", read_seq: Seq = 0, room_id: RoomId = ROOM) -> MemberJoined:
    return MemberJoined(room_id, account_id, role, read_seq)


def renamed(name: str = "Coffee", *, last_seq: Seq = 0) -> RoomChanged:
    return RoomChanged(ROOM, name, "", NOW, last_seq)


def left(account_id: AccountId, *, role: Role = "member", room_id: RoomId = ROOM) -> MemberLeft:
    return MemberLeft(room_id, account_id, role)


def has_read(
    account_id: AccountId, seq: Seq, *, unread: int = 0, mentions: int = 0, room_id: RoomId = ROOM
) -> ReadMoved:
    return ReadMoved(room_id, account_id, seq, unread, mentions)


def gone(*members: AccountId, room_id: RoomId = ROOM) -> RoomDeleted:
    """The room is deleted; these were in it."""
    return RoomDeleted(room_id, tuple(Membership(account_id, "member") for account_id in members), "Tea", "", NOW, 0)


def invited(*members: AccountId, role: Role = "member") -> tuple[Invitation, ...]:
    return tuple(Invitation(account_id, role) for account_id in members)


def in_the_log(event: Any, *, n: int = 0, at: Millis = NOW) -> Envelope:
    return Envelope(PARTITION, 1, n, at, event)


def recorded(event: Any, *, n: int = 0, at: Millis = NOW) -> Recorded:
    return Recorded(n, in_the_log(event, n=n, at=at))


# --- properties -------------------------------------------------------------------------------------------------------


def tried(examples: int) -> settings:
    """A fifth of so many examples, the same each time, so that a test that fails fails again. `make fuzz` tries five
    times as many, others each time."""
    profile = settings().max_examples
    return settings(max_examples=examples * profile // 100, derandomize=profile <= 100, deadline=None)


# --- any value --------------------------------------------------------------------------------------------------------


def anything(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type of the domain. Integers are the ones that JSON carries exactly everywhere."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        return st.builds(kind, **{name: anything(hints[name]) for name in kind.__struct_fields__})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(anything, arguments))
    if origin is Mapping:
        return st.dictionaries(*map(anything, arguments), max_size=2)
    if origin is tuple and arguments[-1] is not ...:
        return st.tuples(*map(anything, arguments))
    if origin is tuple:
        return st.lists(anything(arguments[0]), max_size=4).map(tuple)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(0, ID_MAX),
        str: st.text(max_size=20) | st.sampled_from(AWKWARD_TEXTS),
        bool: st.booleans(),
        type(None): st.none(),
    }
    return simple[kind]
