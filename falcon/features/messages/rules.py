"""Messages: commands, events and answers, and the rules."""

from typing import Final, Protocol, TypeAlias

import msgspec
from msgspec.structs import force_setattr, replace

from falcon.domain.answers import Done, ImportAnswer
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import NOBODY, AccountId, Millis, RoomId, Seq
from falcon.domain.limits import CHANGES_REMEMBERED
from falcon.domain.rejections import (
    Invalid,
    MessageIsDeleted,
    MessageNotFound,
    NotAllowed,
    NotTheAuthor,
    NotYetReadable,
    ReadOnly,
)
from falcon.features.rooms.rules import Member, Room, not_a_member


class Message(msgspec.Struct, frozen=True, gc=False):
    """A deleted message keeps its place and has no text."""

    room_id: RoomId
    seq: Seq
    author_id: AccountId
    text: str
    posted_at: Millis
    edited_at: Millis | None = None
    deleted: bool = False
    reply_to: Seq | None = None
    mentions: tuple[AccountId, ...] = ()


class PostMessage(msgspec.Struct, frozen=True, tag=True):
    """``also_in_room``: of a message of a thread, which is posted in the thread's room, too."""

    by: AccountId
    room_id: RoomId
    text: str
    reply_to: Seq | None = None
    mentions: tuple[AccountId, ...] = ()
    also_in_room: bool = False


class EditMessage(msgspec.Struct, frozen=True, tag=True):
    """``known`` is the message as the read side showed it, at the room's ``known_revision``; see Room.changes."""

    by: AccountId
    room_id: RoomId
    seq: Seq
    text: str
    mentions: tuple[AccountId, ...] | None = None
    known: Message | None = None
    known_revision: int = 0


class DeleteMessage(msgspec.Struct, frozen=True, tag=True):
    by: AccountId
    room_id: RoomId
    seq: Seq
    known: Message | None = None
    known_revision: int = 0


class ImportMessages(msgspec.Struct, frozen=True, tag=True):
    """The next messages of an imported room; the ones that it has already are skipped."""

    room_id: RoomId
    messages: tuple[Message, ...]


class MessagePosted(msgspec.Struct, frozen=True):
    """``author_read_seq``: where the author's own read mark has moved to, if it moved. ``parent``: the room of the
    thread that the message is in."""

    message: Message
    author_read_seq: Seq | None = None
    parent: RoomId | None = None


class MessageEdited(msgspec.Struct, frozen=True):
    """The whole message as it now stands; ``revision`` counts the room's edits and deletions.

    ``unmentioned`` are the accounts that the message mentions no longer. ``parent`` as in MessagePosted.
    """

    message: Message
    revision: int
    unmentioned: tuple[AccountId, ...] = ()
    parent: RoomId | None = None


class MessageDeleted(msgspec.Struct, frozen=True):
    """Like MessageEdited; the message keeps its ``seq`` and has lost its text."""

    message: Message
    revision: int
    unmentioned: tuple[AccountId, ...] = ()


class MessageAnswer(msgspec.Struct, frozen=True, tag="message-answer"):
    message: Message


def post_message(room: Room, command: PostMessage, at: Millis) -> Decision:
    author = room.members.get(command.by)
    if author is None:
        return not_a_member(room, command.by)
    if author.role == "readonly":
        return ReadOnly(room.room_id)
    if command.also_in_room and room.thread is None:
        return Invalid("also_in_room", "must be false: this room is no thread")
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
        return not_a_member(room, command.by)
    if member.role == "readonly":
        return ReadOnly(room.room_id)
    message = current_message(room, command)
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


def delete_message(room: Room, command: DeleteMessage, _: Millis) -> Decision:
    member = room.members.get(command.by)
    if member is None:
        return not_a_member(room, command.by)
    message = current_message(room, command)
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


def import_messages(room: Room, command: ImportMessages, _: Millis) -> Decision:
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


class OnAView(Protocol):
    """A command about a message. ``known``: the message as its sender has read it, at ``known_revision``."""

    @property
    def seq(self) -> Seq: ...

    @property
    def known(self) -> Message | None: ...

    @property
    def known_revision(self) -> int: ...


def current_message(room: Room, asked: OnAView) -> Message | MessageNotFound | NotYetReadable | MessageIsDeleted:
    """The message as it now stands, if the sender's view of it is no older than its last change.

    A message that the view does not show looks deleted to readers. So every author is refused as for a deleted one.
    """
    if not 1 <= asked.seq <= room.last_seq:
        return MessageNotFound(room.room_id, asked.seq)
    if asked.known is None or asked.known_revision < room.changed_at(asked.seq):
        return NotYetReadable(room.room_id, asked.seq)
    if asked.known.author_id == NOBODY:
        return MessageIsDeleted(room.room_id, asked.seq)
    return asked.known


def _refuse_mentions(room: Room, mentions: tuple[AccountId, ...]) -> Invalid | None:
    for account_id in mentions:
        if account_id not in room.members:
            return Invalid("mentions", f"account {account_id} is not a member of this room")
    return None


def _with_change(room: Room, seq: Seq, revision: int) -> Room:
    changes = (*(c for c in room.changes if c[0] != seq), (seq, revision))
    forgotten = room.forgotten
    if len(changes) > CHANGES_REMEMBERED:
        forgotten = changes[0][1]
        changes = changes[1:]
    return replace(room, revision=revision, changes=changes, forgotten=forgotten)


def _posted(room: Room, event: MessagePosted) -> Room:
    message = event.message
    # Once for each message: a copy takes a third of the time of ``replace``.
    after: Room = room.__copy__()  # type: ignore[attr-defined]  # which msgspec's stubs lack
    force_setattr(after, "last_seq", message.seq)
    if message.mentions:
        force_setattr(after, "last_mention", message.seq)
    if room.thread is not None:
        force_setattr(after, "thread", room.thread.after_message(message.author_id, message.posted_at))
    if event.author_read_seq is not None:
        author = room.members[message.author_id]
        members = room.members.set(message.author_id, Member(author.role, event.author_read_seq))
        force_setattr(after, "members", members)
    return after


def _edited(room: Room, event: MessageEdited | MessageDeleted) -> Room:
    message = event.message
    changed = _with_change(room, message.seq, event.revision)
    return replace(changed, last_mention=max(room.last_mention, message.seq)) if message.mentions else changed


RULES: Final = {
    PostMessage: post_message,
    EditMessage: edit_message,
    DeleteMessage: delete_message,
    ImportMessages: import_messages,
}
EVOLVES: Final = {MessagePosted: _posted, MessageEdited: _edited, MessageDeleted: _edited}
MessagesCommand: TypeAlias = PostMessage | EditMessage | DeleteMessage | ImportMessages
MessagesEvent: TypeAlias = MessagePosted | MessageEdited | MessageDeleted
FREEING: Final = (DeleteMessage,)  # taken while the disk is nearly full
