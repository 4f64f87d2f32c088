"""Deciding: state and command in, events and an answer out, or a refusal. One function decides one kind of command.

Time and new ids come in as arguments. No events means "already so".
"""

from collections.abc import Sequence
from typing import TypeAlias, assert_never

import msgspec

from falcon.domain import limits
from falcon.domain.account import Account
from falcon.domain.answers import (
    AccountAnswer,
    Done,
    ImportAnswer,
    MemberAnswer,
    MessageAnswer,
    ReadAnswer,
    RoomAnswer,
    TokenAnswer,
)
from falcon.domain.catalogue import AccountCommand, Answer, Event, RoomCommand
from falcon.domain.commands import (
    ChangeRoom,
    CreateAccount,
    CreateRoom,
    DeleteMessage,
    DeleteRoom,
    EditMessage,
    ImportMembers,
    ImportMessages,
    ImportRoom,
    Invitation,
    IssueToken,
    MoveRead,
    OpenDirect,
    PostMessage,
    PutMember,
    RemoveMember,
    RevokeToken,
)
from falcon.domain.events import (
    AccountCreated,
    DirectRoomOpened,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    Membership,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReadMoved,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    TokenIssued,
    TokenRevoked,
)
from falcon.domain.ids import NOBODY, AccountId, Millis, RoomId
from falcon.domain.message import Message
from falcon.domain.reactions import AddReaction, ImportReactions, MessageReactions, ReactionAnswer, RemoveReaction
from falcon.domain.rejections import (
    AccountNotFound,
    Invalid,
    LastAdmin,
    LastToken,
    MemberNotFound,
    MessageIsDeleted,
    MessageNotFound,
    NotAllowed,
    NotAMember,
    NotTheAuthor,
    NotYetReadable,
    ReadOnly,
    Rejection,
    RoomNotFound,
    TokenNotFound,
    UnknownAccount,
)
from falcon.domain.room import Member, Room


class Decided(msgspec.Struct, frozen=True):
    """What happens, all of it or none, and the answer to the sender."""

    events: tuple[Event, ...]
    answer: Answer


Decision: TypeAlias = Decided | Rejection


# --- new rooms and accounts -------------------------------------------------------------------------------------------


def create_room(command: CreateRoom, room_id: RoomId, at: Millis) -> Decision:
    """The caller becomes an admin, whatever role the invitations gave it."""
    members = _memberships([*command.members, Invitation(command.by, "admin")])
    event = RoomCreated(room_id, "group", command.name, command.description, at, members)
    answer = RoomAnswer(room_id, "group", command.name, command.description, "admin", 0, at, created=True)
    return Decided((event,), answer)


def open_direct(
    account: Account | None, room: Room | None, command: OpenDirect, room_id: RoomId, at: Millis
) -> Decision:
    """``account`` has the smaller id of the pair; ``room`` is the pair's room, if there is one."""
    smaller, larger = sorted((command.by, command.peer))
    if account is None:
        return AccountNotFound(command.peer)
    if smaller == larger:
        return Invalid("account_id", "must be another account than your own")
    if room is not None:
        return Decided((), _room_answer(room, command.by))
    members = (Membership(smaller, "member"), Membership(larger, "member"))
    created = RoomCreated(room_id, "direct", "", "", at, members)
    answer = RoomAnswer(room_id, "direct", "", "", "member", 0, at, command.peer, created=True)
    return Decided((created, DirectRoomOpened(smaller, larger, room_id)), answer)


def create_account(command: CreateAccount, account_id: AccountId, at: Millis) -> Decision:
    created = AccountCreated(account_id, command.name, command.is_admin, at, command.imported_as)
    answer = AccountAnswer(account_id, command.name, command.sealed)
    if command.token_hash is None:
        return Decided((created,), answer)
    return Decided((created, TokenIssued(account_id, 1, command.token_hash, at)), answer)


def import_room(command: ImportRoom, account: Account | None, room_id: RoomId, at: Millis) -> Decision:
    """``account``: for a direct room, the one with the smaller id of the pair."""
    members = _memberships(command.members)
    if command.kind == "direct":
        members = tuple(Membership(member.account_id, "member") for member in members)
    created = RoomCreated(
        room_id, command.kind, command.name, command.description, command.created_at, members, command.imported_as
    )
    answer = RoomAnswer(room_id, command.kind, command.name, command.description, "admin", 0, command.created_at)
    if command.kind == "group":
        if not any(member.role == "admin" for member in members):
            return Invalid("members", "a group room needs at least one admin")
        return Decided((created,), answer)
    if len(members) != 2:
        return Invalid("members", "a direct room has exactly two members")
    smaller, larger = sorted(member.account_id for member in members)
    if account is None:
        return AccountNotFound(smaller)
    if larger in account.directs:
        return NotAllowed(f"accounts {smaller} and {larger} have a direct room already")
    return Decided((created, DirectRoomOpened(smaller, larger, room_id)), answer)


# --- rooms ------------------------------------------------------------------------------------------------------------


def decide_room(room: Room | None, command: RoomCommand, at: Millis) -> Decision:
    """A room that does not exist, or was deleted, is not found."""
    if room is None or room.deleted:
        return RoomNotFound(command.room_id)
    match command:
        case PostMessage():
            return post_message(room, command, at)
        case EditMessage():
            return edit_message(room, command, at)
        case DeleteMessage():
            return delete_message(room, command)
        case MoveRead():
            return move_read(room, command)
        case AddReaction():
            return add_reaction(room, command, at)
        case RemoveReaction():
            return remove_reaction(room, command, at)
        case ChangeRoom():
            return change_room(room, command)
        case DeleteRoom():
            return delete_room(room, command)
        case PutMember():
            return put_member(room, command)
        case RemoveMember():
            return remove_member(room, command)
        case ImportMembers():
            return import_members(room, command)
        case ImportMessages():
            return import_messages(room, command)
        case ImportReactions():
            return import_reactions(room, command)
        case _:
            assert_never(command)


def post_message(room: Room, command: PostMessage, at: Millis) -> Decision:
    author = room.members.get(command.by)
    if author is None:
        return NotAMember(room.room_id, command.by)
    if author.role == "readonly":
        return ReadOnly(room.room_id)
    if command.reply_to is not None and command.reply_to > room.last_seq:
        return Invalid("reply_to", f"there is no message {command.reply_to} in this room")
    if command.mentions and (refusal := _refuse_mentions(room, command.mentions)) is not None:
        return refusal
    seq = room.last_seq + 1
    message = Message(room.room_id, seq, command.by, command.text, at, None, False, command.reply_to, command.mentions)
    # The author's own mark moves along when nothing before it was unread.
    read_seq = seq if author.read_seq == room.last_seq else None
    return Decided((MessagePosted(message, read_seq),), MessageAnswer(message))


def edit_message(room: Room, command: EditMessage, at: Millis) -> Decision:
    member = room.members.get(command.by)
    if member is None:
        return NotAMember(room.room_id, command.by)
    if member.role == "readonly":
        return ReadOnly(room.room_id)
    message = _current(room, command)
    if not isinstance(message, Message):
        return message
    if message.author_id != command.by:
        return NotTheAuthor(room.room_id, command.seq)
    if message.deleted:
        return MessageIsDeleted(room.room_id, command.seq)
    mentions = message.mentions if command.mentions is None else command.mentions
    if command.mentions and (refusal := _refuse_mentions(room, command.mentions)) is not None:
        return refusal
    edited = msgspec.structs.replace(message, text=command.text, edited_at=at, mentions=mentions)
    unmentioned = tuple(a for a in message.mentions if a not in mentions)
    return Decided((MessageEdited(edited, room.revision + 1, unmentioned),), MessageAnswer(edited))


def delete_message(room: Room, command: DeleteMessage) -> Decision:
    member = room.members.get(command.by)
    if member is None:
        return NotAMember(room.room_id, command.by)
    message = _current(room, command)
    if not isinstance(message, Message):
        return message
    if message.author_id != command.by and member.role != "admin":
        return NotTheAuthor(room.room_id, command.seq)
    if message.author_id == command.by and member.role == "readonly":
        return ReadOnly(room.room_id)
    if message.deleted:
        return Decided((), Done())
    deleted = msgspec.structs.replace(message, text="", deleted=True, mentions=())
    return Decided((MessageDeleted(deleted, room.revision + 1, message.mentions),), Done())


def move_read(room: Room, command: MoveRead) -> Decision:
    reader = room.members.get(command.by)
    if reader is None:
        return NotAMember(room.room_id, command.by)
    if command.seq > room.last_seq:
        return Invalid("seq", f"must be at most {room.last_seq}, the room's newest message")
    read_seq = command.seq if command.force else max(command.seq, reader.read_seq)
    unread = room.last_seq - read_seq
    counted_to = 0 if command.mentions is None else command.counted_to
    if unread and counted_to is not None and room.last_mention > max(read_seq, counted_to):
        return NotYetReadable(room.room_id, read_seq, room.last_mention)
    answer = ReadAnswer(room.room_id, read_seq, unread, (command.mentions or 0) if unread else 0)
    if read_seq == reader.read_seq:
        return Decided((), answer)
    return Decided((ReadMoved(room.room_id, command.by, read_seq, unread, answer.mentions),), answer)


def add_reaction(room: Room, command: AddReaction, at: Millis) -> Decision:
    reactions = _reactions_for(room, command)
    if not isinstance(reactions, MessageReactions):
        return reactions
    if (refusal := reactions.refusal()) is not None:
        return refusal
    events = reactions.add(command.by, at)
    return Decided(events, ReactionAnswer(room.room_id, command.seq, command.emoji, reactions.count))


def remove_reaction(room: Room, command: RemoveReaction, at: Millis) -> Decision:
    reactions = _reactions_for(room, command)
    if not isinstance(reactions, MessageReactions):
        return reactions
    return Decided(reactions.remove(command.by, at), Done())


def change_room(room: Room, command: ChangeRoom) -> Decision:
    if (refusal := _refuse_unless_admin(room, command.by, "change the room")) is not None:
        return refusal
    name = room.name if command.name is None else command.name
    description = room.description if command.description is None else command.description
    answer = msgspec.structs.replace(_room_answer(room, command.by), name=name, description=description)
    if (name, description) == (room.name, room.description):
        return Decided((), answer)
    changed = RoomChanged(room.room_id, name, description, room.created_at, room.last_seq)
    return Decided((changed,), answer)


def delete_room(room: Room, command: DeleteRoom) -> Decision:
    if (refusal := _refuse_unless_admin(room, command.by, "delete the room")) is not None:
        return refusal
    deleted = RoomDeleted(
        room.room_id,
        tuple(Membership(account_id, member.role) for account_id, member in room.members.items()),
        room.name,
        room.description,
        room.created_at,
        room.last_seq,
    )
    return Decided((deleted,), Done())


def put_member(room: Room, command: PutMember) -> Decision:
    if (refusal := _refuse_unless_admin(room, command.by, "change members")) is not None:
        return refusal
    member = room.members.get(command.account_id)
    if member is None:
        if not command.account_exists:
            return UnknownAccount(command.account_id)
        joined = MemberJoined(room.room_id, command.account_id, command.role, room.last_seq)
        return Decided((joined,), MemberAnswer(command.account_id, command.role, room.last_seq))
    answer = MemberAnswer(command.account_id, command.role, member.read_seq)
    if member.role == command.role:
        return Decided((), answer)
    if _is_last_admin(room, member):
        return LastAdmin(room.room_id)
    changed = MemberChanged(room.room_id, command.account_id, command.role, member.role)
    return Decided((changed,), answer)


def members_after(room: Room | None, events: Sequence[Event]) -> int:
    """How many members the room has once the events have happened; 0 if they bring no member in."""
    match events:
        case (RoomCreated(members=members), *_):
            return len(members)
        case (MemberJoined(),) if room is not None:
            return len(room.members) + 1
        case _:
            return 0


def remove_member(room: Room, command: RemoveMember) -> Decision:
    if command.by not in room.members:
        return NotAMember(room.room_id, command.by)
    if room.kind == "direct":
        return NotAllowed("a member cannot leave a direct room")
    if command.by != command.account_id and (
        (refusal := _refuse_unless_admin(room, command.by, "remove members")) is not None
    ):
        return refusal
    member = room.members.get(command.account_id)
    if member is None:
        return MemberNotFound(room.room_id, command.account_id)
    if _is_last_admin(room, member):
        return LastAdmin(room.room_id)
    return Decided((MemberLeft(room.room_id, command.account_id, member.role),), Done())


def import_members(room: Room, command: ImportMembers) -> Decision:
    """Adds accounts that are not in the room, also while people write in it. Once members have left, the room does not
    know them: then it adds none, and the answer counts these accounts neither as imported nor as skipped."""
    if not room.imported or room.kind == "direct":
        return NotAllowed("members can only be imported into a group room that was imported")
    missing = [m for m in command.members if m.account_id not in room.members]
    new = () if room.member_left else _memberships(missing)
    if len(room.members) + len(new) > limits.MEMBERS_MAX:
        return Invalid("members", f"a room has at most {limits.MEMBERS_MAX:,} members")
    joined = tuple(MemberJoined(room.room_id, member.account_id, member.role, 0) for member in new)
    left_out = len(missing) if room.member_left else 0
    return Decided(joined, ImportAnswer(len(new), len(command.members) - len(new) - left_out))


def import_messages(room: Room, command: ImportMessages) -> Decision:
    """Passes over what the room has; refuses a gap. Authors and those mentioned need not be members (any more)."""
    if not room.imported:
        return NotAllowed("messages can only be imported into a room that was imported")
    new: list[Message] = []
    for message in command.messages:
        expected = room.last_seq + len(new) + 1
        if message.seq > expected:
            return Invalid("seq", f"must go on without a gap: expected {expected}, got {message.seq}")
        if message.seq == expected:
            new.append(message)
    skipped = len(command.messages) - len(new)
    return Decided(tuple(MessagePosted(message) for message in new), ImportAnswer(len(new), skipped))


def import_reactions(room: Room, command: ImportReactions) -> Decision:
    """Accounts that reacted need not be members (any more). A deleted message takes none."""
    if not room.imported:
        return NotAllowed("reactions can only be imported into a room that was imported")
    reactions = _reactions(room, command)
    if isinstance(reactions, MessageIsDeleted):
        return Decided((), ImportAnswer(0, len(command.imported)))
    if not isinstance(reactions, MessageReactions):
        return reactions
    if (refusal := reactions.refusal()) is not None:
        return refusal
    events = tuple(event for each in command.imported for event in reactions.add(each.account_id, each.reacted_at))
    return Decided(events, ImportAnswer(len(events), len(command.imported) - len(events)))


# --- accounts ---------------------------------------------------------------------------------------------------------


def decide_account(account: Account | None, command: AccountCommand, at: Millis) -> Decision:
    if account is None:
        return AccountNotFound(command.account_id)
    match command:
        case IssueToken():
            return issue_token(account, command, at)
        case RevokeToken():
            return revoke_token(account, command)
        case _:
            assert_never(command)


def issue_token(account: Account, command: IssueToken, at: Millis) -> Decision:
    if len(account.tokens) >= limits.TOKENS_MAX:
        return NotAllowed(f"an account has at most {limits.TOKENS_MAX} tokens; revoke one first")
    token_id = account.tokens_issued + 1
    event = TokenIssued(account.account_id, token_id, command.token_hash, at)
    return Decided((event,), TokenAnswer(token_id, command.sealed))


def revoke_token(account: Account, command: RevokeToken) -> Decision:
    """An admin keeps one token: the last admin without any could issue none, neither to itself nor to others."""
    token_id = command.token_id or _numbered(account, command.token_hash)
    token_hash = account.tokens.get(token_id)
    if token_hash is None:
        return TokenNotFound(account.account_id, token_id)
    if account.is_admin and len(account.tokens) == 1:
        return LastToken(account.account_id)
    return Decided((TokenRevoked(account.account_id, token_id, token_hash),), Done())


def _numbered(account: Account, token_hash: str) -> int:
    return next((token_id for token_id, each in account.tokens.items() if each == token_hash), 0)


# --- rules that several share -----------------------------------------------------------------------------------------


def _memberships(invitations: Sequence[Invitation]) -> tuple[Membership, ...]:
    """One membership an account; the last invitation of an account counts."""
    roles = {invitation.account_id: invitation.role for invitation in invitations}
    return tuple(Membership(account_id, role) for account_id, role in roles.items())


def _room_answer(room: Room, account_id: AccountId) -> RoomAnswer:
    return RoomAnswer(
        room.room_id,
        room.kind,
        room.name,
        room.description,
        room.members[account_id].role,
        room.last_seq,
        room.created_at,
        room.peer_of(account_id),
    )


def _current(
    room: Room, command: EditMessage | DeleteMessage | AddReaction | RemoveReaction | ImportReactions
) -> Message | MessageNotFound | NotYetReadable | MessageIsDeleted:
    """The message as it now stands, if the sender's view of it is no older than its last change.

    A message that the view does not show looks deleted to readers. So every author is refused as for a deleted one.
    """
    if not 1 <= command.seq <= room.last_seq:
        return MessageNotFound(room.room_id, command.seq)
    if command.known is None or command.known_revision < room.changed_at(command.seq):
        return NotYetReadable(room.room_id, command.seq)
    if command.known.author_id == NOBODY:
        return MessageIsDeleted(room.room_id, command.seq)
    return command.known


def _reactions_for(
    room: Room, command: AddReaction | RemoveReaction
) -> MessageReactions | NotAMember | ReadOnly | MessageNotFound | NotYetReadable | MessageIsDeleted:
    member = room.members.get(command.by)
    if member is None:
        return NotAMember(room.room_id, command.by)
    if member.role == "readonly":
        return ReadOnly(room.room_id)
    return _reactions(room, command)


def _reactions(
    room: Room, command: AddReaction | RemoveReaction | ImportReactions
) -> MessageReactions | MessageNotFound | NotYetReadable | MessageIsDeleted:
    """The reactions as they now stand, if the room remembers what has changed since the sender's view."""
    message = _current(room, command)
    if not isinstance(message, Message):
        return message
    if message.deleted:
        return MessageIsDeleted(room.room_id, command.seq)
    known = command.reactions
    if known.revision < room.reactions_forgotten:
        return NotYetReadable(room.room_id, command.seq)
    return MessageReactions(
        room.room_id, command.seq, command.emoji, room.reaction_revision, known, room.reaction_changes
    )


def _refuse_mentions(room: Room, mentions: tuple[AccountId, ...]) -> Invalid | None:
    for account_id in mentions:
        if account_id not in room.members:
            return Invalid("mentions", f"account {account_id} is not a member of this room")
    return None


def _refuse_unless_admin(room: Room, account_id: AccountId, deed: str) -> NotAMember | NotAllowed | None:
    member = room.members.get(account_id)
    if member is None:
        return NotAMember(room.room_id, account_id)
    if room.kind == "direct":
        return NotAllowed("a direct room cannot be changed: it is the one room of its two accounts")
    if member.role != "admin":
        return NotAllowed(f"only an admin of the room may {deed}")
    return None


def _is_last_admin(room: Room, member: Member) -> bool:
    return member.role == "admin" and room.admins == 1
