"""Threads: a thread is a room of its own, which belongs to a message. The members of that message's room read and write
it with the roles that they have there. Its own members are the accounts that follow it.

Both rooms are in one partition, so an owner decides on both. The room keeps no map of its threads: a sender shows what
the read tables say, and the room remembers its newest starts.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from falcon.domain.aggregates import FeatureState
from falcon.domain.answers import Done
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import AccountId, Millis, RoomId, Seq
from falcon.domain.rejections import Invalid, MessageIsDeleted, NotAllowed, NotYetReadable, ReadOnly, RoomNotFound
from falcon.features.messages.rules import (
    EditMessage,
    Message,
    MessageAnswer,
    MessageEdited,
    MessagePosted,
    PostMessage,
    current_message,
    post_message,
)
from falcon.features.read_marks.rules import MoveRead
from falcon.features.rooms.rules import (
    ChangeRoom,
    DeleteRoom,
    ImportMembers,
    JoinDefault,
    Member,
    Members,
    PutMember,
    RemoveMember,
    Role,
    Room,
    RoomCreated,
    Thread,
    not_a_member,
    with_member,
)

FOLLOWERS_MAX = 1_000  # of a thread: each message of it is pushed to all of them, beside the room
QUIET_DAYS = 90  # a follow ends then, so that lists and openings do not grow for ever
QUIET_MILLIS: Final = QUIET_DAYS * 86_400_000
STARTS_REMEMBERED = 64  # newest threads that a room keeps, as many as it keeps edits: the tables lag by fewer
MUTED_MAX: Final = FOLLOWERS_MAX  # accounts that have unfollowed; an older one follows again if it writes

Rule: TypeAlias = Callable[[Any, Any, Millis], Decision]


class StartThread(msgspec.Struct, frozen=True, tag=True):
    """``known``, ``known_revision`` as in EditMessage. ``thread_id``: of the message's thread as the read side showed
    it, when it had applied ``known_number`` starts of the room."""

    by: AccountId
    room_id: RoomId
    seq: Seq
    known: Message | None = None
    known_revision: int = 0
    thread_id: RoomId | None = None
    known_number: int = 0


class ImportThread(msgspec.Struct, frozen=True, tag=True):
    """A thread of an imported room, whose message may come later. The same ``imported_as`` is the same thread."""

    imported_as: str
    room_id: RoomId
    seq: Seq
    created_at: Millis
    followers: tuple[AccountId, ...]
    thread_id: RoomId | None = None
    known_number: int = 0


class FollowThread(msgspec.Struct, frozen=True, tag=True):
    by: AccountId
    room_id: RoomId


class UnfollowThread(msgspec.Struct, frozen=True, tag=True):
    by: AccountId
    room_id: RoomId


class ThreadStarted(msgspec.Struct, frozen=True):
    """``room_id``: of the message. ``number`` counts the threads of the room."""

    room_id: RoomId
    seq: Seq
    thread_id: RoomId
    number: int


class ThreadChanged(msgspec.Struct, frozen=True):
    """An event of the message's room ``room_id``: its thread has a further message, by ``account_id``. The message
    shows the other fields of its thread."""

    room_id: RoomId
    seq: Seq
    thread_id: RoomId
    last_seq: Seq
    last_at: Millis
    account_id: AccountId
    participants: tuple[AccountId, ...]


class ThreadFollowed(msgspec.Struct, frozen=True):
    """``room_id``: of the thread; ``parent``: of its message. All earlier messages count as read. ``woke_at``: the
    time, if the thread was quiet and no message follows."""

    room_id: RoomId
    parent: RoomId
    account_id: AccountId
    read_seq: Seq
    woke_at: Millis | None = None


class ThreadUnfollowed(msgspec.Struct, frozen=True):
    """``muted``: the account has said so, and follows again when it is mentioned."""

    room_id: RoomId
    parent: RoomId
    account_id: AccountId
    muted: bool


class ThreadAnswer(msgspec.Struct, frozen=True, tag="thread-answer"):
    """``role``: the caller's, in the room of the message. ``created``: by this command."""

    thread_id: RoomId
    role: Role
    last_seq: Seq
    created_at: Millis
    follows: bool
    created: bool


class ThreadMessageAnswer(msgspec.Struct, frozen=True, tag="thread-message-answer"):
    """Instead of MessageAnswer if the message is not the first event, or has a line ``in_room``, too."""

    message: Message
    in_room: Seq | None


class RoomThreads(msgspec.Struct, frozen=True, array_like=True):
    """``number`` counts the threads of a room; ``starts`` has the newest, by ``seq``, oldest first."""

    number: int = 0
    starts: tuple[tuple[Seq, RoomId], ...] = ()


STATE: Final = FeatureState("threads", RoomThreads)

# The members and the name of a thread are those of its room.
_OF_THE_ROOM: Final = (ChangeRoom, DeleteRoom, PutMember, JoinDefault, RemoveMember, ImportMembers)


class _Readers:
    """The members of a thread's room, with their roles there and their read marks in the thread. An account that does
    not follow the thread has read it."""

    def __init__(self, thread: Room, members: Members) -> None:
        self._thread = thread
        self._members = members

    def get(self, account_id: AccountId) -> Member | None:
        member = self._members.get(account_id)
        if member is None:
            return None
        follower = self._thread.members.get(account_id)
        return Member(member.role, self._thread.last_seq if follower is None else follower.read_seq)

    def __contains__(self, account_id: object) -> bool:
        return account_id in self._members


# --- starting ---------------------------------------------------------------------------------------------------------


def start_thread(
    room: Room | None, rooms: Callable[[RoomId], Room | None], command: StartThread, new_id: RoomId, at: Millis
) -> Decision:
    """``room``: of the message; ``rooms`` finds those of its partition."""
    if room is None or room.deleted:
        return RoomNotFound(command.room_id)
    if room.thread is not None:
        parent = rooms(room.thread.parent)
        if parent is None or command.by not in parent.members:
            return RoomNotFound(command.room_id)
        return Invalid("seq", "must be a message of a room: a thread has no threads")
    member = room.members.get(command.by)
    if member is None:
        return not_a_member(room, command.by)
    if member.role == "readonly":
        return ReadOnly(room.room_id)
    message = current_message(room, command)
    if not isinstance(message, Message):
        return message
    if message.deleted:
        return MessageIsDeleted(room.room_id, command.seq)
    thread_id = _thread_of(room, command)
    if isinstance(thread_id, NotYetReadable):
        return thread_id
    if thread_id is None:
        followers = (message.author_id,) if message.author_id in room.members else ()
        events = _start(room, command.seq, new_id, at, followers)
        return Decided(events, ThreadAnswer(new_id, member.role, 0, at, command.by in followers, created=True))
    thread = rooms(thread_id)
    if thread is None:
        return RoomNotFound(thread_id)
    follows = command.by in thread.members and not _is_quiet(thread, at)
    return Decided((), ThreadAnswer(thread_id, member.role, thread.last_seq, thread.created_at, follows, created=False))


def import_thread(room: Room | None, command: ImportThread, new_id: RoomId, _: Millis) -> Decision:
    if room is None or room.deleted:
        return RoomNotFound(command.room_id)
    if not room.imported or room.thread is not None:
        return NotAllowed("threads can only be imported into a room that was imported")
    thread_id = _thread_of(room, command)
    if isinstance(thread_id, NotYetReadable):
        return thread_id
    if thread_id is not None:
        return NotAllowed(f"message {command.seq} has a thread already")
    followers = command.followers[:FOLLOWERS_MAX]
    events = _start(room, command.seq, new_id, command.created_at, followers, command.imported_as)
    return Decided(events, imported_answer(new_id, command))


def imported_answer(thread_id: RoomId, command: ImportThread) -> ThreadAnswer:
    return ThreadAnswer(thread_id, "member", 0, command.created_at, follows=False, created=False)


def _thread_of(room: Room, command: StartThread | ImportThread) -> RoomId | NotYetReadable | None:
    """The thread of the message, if the room remembers what has started since the sender's view."""
    state = STATE.of(room)
    started = next((thread_id for seq, thread_id in state.starts if seq == command.seq), command.thread_id)
    if started is None and command.known_number < state.number - len(state.starts):
        return NotYetReadable(room.room_id, command.seq)
    return started


def _start(
    room: Room,
    seq: Seq,
    thread_id: RoomId,
    at: Millis,
    followers: tuple[AccountId, ...],
    imported_as: str | None = None,
) -> tuple[Any, ...]:
    """The thread comes first, so that a reader of the second event finds it."""
    parent = (room.room_id, seq)
    return (
        RoomCreated(thread_id, "thread", "", "", at, (), imported_as, parent=parent),
        ThreadStarted(room.room_id, seq, thread_id, STATE.of(room).number + 1),
        *(ThreadFollowed(thread_id, room.room_id, account_id, 0) for account_id in followers),
    )


# --- in a thread ------------------------------------------------------------------------------------------------------


def in_thread(room: Room, parent: Room | None, command: Any, rule: Rule, at: Millis) -> Decision:
    """``parent``: the room of the thread's message. ``rule``: decides the command in any room."""
    thread = room.thread
    assert thread is not None
    if parent is None or parent.deleted:
        return RoomNotFound(room.room_id)
    over = _over(room, parent, at) if _brings_followers(command) else ()
    ended = tuple(ThreadUnfollowed(room.room_id, thread.parent, each, muted=False) for each in over)
    members = room.members
    for each in over:
        members = members.delete(each)
    room = replace(room, members=members)
    seen: Room = replace(room, members=_Readers(room, parent.members), open=parent.open)
    by: AccountId | None = getattr(command, "by", None)
    if by is not None and by not in parent.members:
        return not_a_member(seen, by)
    match command:
        case FollowThread():
            return _follow(room, command.by, ended, at)
        case UnfollowThread():
            return Decided(_unfollowed(room, command.by), Done())
        case MoveRead() if command.by not in room.members:  # it has no mark that could move back
            command = replace(command, force=False)
        case _ if isinstance(command, _OF_THE_ROOM):
            return NotAllowed("the name and the members of a thread are those of its room: change the room")
    decision = rule(seen, command, at)
    if not isinstance(decision, Decided):
        return decision
    decision = replace(decision, events=tuple(_of_thread(event, thread.parent) for event in decision.events))
    posted = [event for event in decision.events if isinstance(event, MessagePosted)]
    followed = _followed_by(room, command, at, woke=not posted and _is_quiet(room, at))
    if not posted:
        return Decided((*ended, *followed, *decision.events), decision.answer)
    if not isinstance(command, PostMessage):
        return Decided((*decision.events, _changed(room, posted)), decision.answer)
    (said,) = posted
    if command.by not in room.members and all(each.account_id != command.by for each in followed):
        said = replace(said, author_read_seq=None)
    events: tuple[Any, ...] = (*ended, *followed, said, _changed(room, [said]))
    if command.also_in_room:
        line = _line(parent, command, thread, at)
        if not isinstance(line, Decided):
            return line
        return Decided((*events, *line.events), ThreadMessageAnswer(said.message, parent.last_seq + 1))
    if events[0] is said:  # then the log has the answer in its first event
        return Decided(events, MessageAnswer(said.message))
    return Decided(events, ThreadMessageAnswer(said.message, None))


def _of_thread(event: Any, parent: RoomId) -> Any:
    return replace(event, parent=parent) if isinstance(event, MessagePosted | MessageEdited) else event


def _is_quiet(room: Room, at: Millis) -> bool:
    return room.thread is not None and at - room.thread.awake_at > QUIET_MILLIS


def _over(room: Room, parent: Room, at: Millis) -> tuple[AccountId, ...]:
    """The followers whose follows are over: all of a quiet thread; of a full one the accounts that have left its room,
    so that others can follow."""
    if _is_quiet(room, at):
        return tuple(room.members)
    if len(room.members) < FOLLOWERS_MAX:
        return ()
    return tuple(each for each in room.members if each not in parent.members)


def _brings_followers(command: Any) -> bool:
    return isinstance(command, FollowThread | PostMessage) or (
        isinstance(command, EditMessage) and bool(command.mentions)
    )


def _follow(room: Room, account_id: AccountId, ended: tuple[ThreadUnfollowed, ...], at: Millis) -> Decision:
    if account_id in room.members:
        return Decided((), Done())
    followed = _new_followers(room, [account_id], at if _is_quiet(room, at) else None)
    if not followed:
        return Invalid("room_id", f"must be a thread with fewer than {FOLLOWERS_MAX:,} followers")
    return Decided((*ended, *followed), Done())


def _unfollowed(room: Room, account_id: AccountId) -> tuple[ThreadUnfollowed, ...]:
    if room.thread is None or account_id not in room.members:
        return ()
    return (ThreadUnfollowed(room.room_id, room.thread.parent, account_id, muted=True),)


def _followed_by(room: Room, command: Any, at: Millis, *, woke: bool) -> tuple[ThreadFollowed, ...]:
    """An account that writes follows, unless it has unfollowed; one that is mentioned follows in any case."""
    assert room.thread is not None
    accounts = []
    if isinstance(command, PostMessage) and command.by not in room.thread.muted:
        accounts.append(command.by)
    if isinstance(command, PostMessage | EditMessage):
        accounts += command.mentions or ()
    return _new_followers(room, accounts, at if woke else None)


def _new_followers(room: Room, accounts: list[AccountId], woke_at: Millis | None) -> tuple[ThreadFollowed, ...]:
    """Accounts beyond the bound do not follow."""
    assert room.thread is not None
    new = [each for each in dict.fromkeys(accounts) if each not in room.members]
    return tuple(
        ThreadFollowed(room.room_id, room.thread.parent, each, room.last_seq, woke_at)
        for each in new[: max(0, FOLLOWERS_MAX - len(room.members))]
    )


def _changed(room: Room, posted: list[MessagePosted]) -> ThreadChanged:
    thread = room.thread
    assert thread is not None
    for event in posted:
        thread = thread.after_message(event.message.author_id, event.message.posted_at)
    last = posted[-1].message
    return ThreadChanged(
        thread.parent, thread.seq, room.room_id, last.seq, last.posted_at, last.author_id, thread.participants
    )


def _line(parent: Room, command: PostMessage, thread: Thread, at: Millis) -> Decision:
    """The line in the thread's room answers the thread's message, which an import may bring later."""
    reply_to = thread.seq if thread.seq <= parent.last_seq else None
    return post_message(parent, PostMessage(command.by, parent.room_id, command.text, reply_to, command.mentions), at)


def not_a_thread(room: Room, command: FollowThread | UnfollowThread, _: Millis) -> Decision:
    if command.by not in room.members:
        return not_a_member(room, command.by)
    return Invalid("room_id", "must be a thread")


# --- events -----------------------------------------------------------------------------------------------------------


def _has_started(room: Room, event: ThreadStarted) -> Room:
    starts = (*STATE.of(room).starts, (event.seq, event.thread_id))
    return STATE.put(room, RoomThreads(event.number, starts[-STARTS_REMEMBERED:]))


def _has_changed(room: Room, _: ThreadChanged) -> Room:
    """The room keeps nothing of the messages of its threads."""
    return room


def _has_followed(room: Room, event: ThreadFollowed) -> Room:
    thread = room.thread
    assert thread is not None
    muted = tuple(each for each in thread.muted if each != event.account_id)
    awake_at = thread.awake_at if event.woke_at is None else event.woke_at
    followed = with_member(room, event.account_id, Member("member", event.read_seq))
    return replace(followed, thread=replace(thread, muted=muted, awake_at=awake_at))


def _has_unfollowed(room: Room, event: ThreadUnfollowed) -> Room:
    thread = room.thread
    assert thread is not None
    muted = (*thread.muted, event.account_id)[-MUTED_MAX:] if event.muted else thread.muted
    return replace(room, members=room.members.delete(event.account_id), thread=replace(thread, muted=muted))


RULES: Final = {FollowThread: not_a_thread, UnfollowThread: not_a_thread}
EVOLVES: Final = {
    ThreadStarted: _has_started,
    ThreadChanged: _has_changed,
    ThreadFollowed: _has_followed,
    ThreadUnfollowed: _has_unfollowed,
}
ThreadsCommand: TypeAlias = FollowThread | UnfollowThread
ThreadsEvent: TypeAlias = ThreadStarted | ThreadChanged | ThreadFollowed | ThreadUnfollowed
FREEING: Final = (UnfollowThread,)  # taken while the disk is nearly full
