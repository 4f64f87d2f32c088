"""Decides which subscriptions see an event, and as which bytes. Both follow the log alone, so every process gives the
same at any time (docs/decisions/0019). A member who is removed sees the removal and nothing after it, in the room's
threads neither."""

from collections.abc import Callable, Container, Iterable
from typing import Protocol

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.accounts.rules import AccountChanged, TokenRevoked
from falcon.features.catalogue import Event
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.messages.stream import MESSAGES, StreamedMessage
from falcon.features.read_marks.rules import ReadMoved
from falcon.features.read_marks.stream import READ_MOVED, StreamedReadMark
from falcon.features.rooms.rules import (
    MemberChanged,
    MemberJoined,
    MemberLeft,
    Role,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from falcon.features.rooms.stream import ROOM_CHANGED, ROOM_CREATED, ROOM_DELETED, StreamedRoom
from falcon.features.threads.rules import ThreadChanged, ThreadFollowed, ThreadUnfollowed
from falcon.features.threads.stream import THREAD_CHANGED, StreamedThreadChange
from falcon.read.times import rfc3339
from falcon.streams.event import InARoom, OfAnAccount, StreamEvent
from falcon.streams.events import TO_THE_ACCOUNT, TO_THE_ROOM
from falcon.streams.frames import Frame, encode
from falcon.streams.subscription import Subscription

# Messages that have been deleted meanwhile: a replay shows them without their text.
Withheld = Container[tuple[RoomId, Seq]]


class Lookups(Protocol):
    """Looks up what an event does not contain. Calls may take a moment. Every method may raise ReadStoreUnavailable."""

    async def name_of(self, account_id: AccountId) -> str:
        """Waits until the tables know the account: a name is never left out because they are behind."""


class Index(Protocol):
    """Finds the subscriptions of a room. Deliveries tell it when a subscription enters or leaves a room."""

    def enter(self, subscription: Subscription, room_id: RoomId) -> None: ...

    def leave(self, subscription: Subscription, room_id: RoomId) -> None: ...


class Delivery:
    """Delivers one event to several subscriptions. Frames that several of them get are encoded once."""

    def __init__(
        self,
        id: Callable[[], str],
        event: Event,
        lookups: Lookups,
        index: Index,
        withheld: Withheld = (),
    ) -> None:
        self._make_id = id
        self._id: str | None = None
        self._event = event
        self._lookups = lookups
        self._index = index
        self._withheld = withheld
        self._frames: dict[str, Frame] = {}

    @property
    def id(self) -> str:
        if self._id is None:
            self._id = self._make_id()
        return self._id

    def to(self, subscription: Subscription) -> None:
        """Push the event if the subscription may see it, and apply what it changes about the subscription's rooms."""
        match self._event:
            case MessagePosted() | MessageEdited() | MessageDeleted():
                self._message(subscription, self._event)
            case ReadMoved(room_id=room_id, account_id=account_id) as moved:
                if account_id == subscription.account_id and room_id in subscription.rooms:
                    self._read_moved(subscription, moved)
            case RoomCreated():
                self._created(subscription, self._event)
            case RoomChanged() as changed:
                self._changed(subscription, changed)
            case RoomDeleted() as deleted:
                self._deleted(subscription, deleted)
            case MemberJoined(room_id=room_id, account_id=account_id, role=role) as joined:
                if account_id == subscription.account_id and subscription.wants(room_id):
                    self._enter(subscription, room_id, role)
                    for thread_id in _threads_of(subscription, room_id):
                        self._enter(subscription, thread_id, role)
                self._to_room(subscription, joined)
            case MemberChanged(room_id=room_id, account_id=account_id, role=role) as changed:
                if account_id == subscription.account_id and room_id in subscription.rooms:
                    subscription.rooms[room_id] = role
                self._to_room(subscription, changed)
            case MemberLeft(room_id=room_id, account_id=account_id) as left:
                self._to_room(subscription, left)
                if account_id == subscription.account_id:
                    self._leave(subscription, room_id)
            case ThreadChanged(room_id=room_id, thread_id=thread_id) as thread_changed:
                if room_id in subscription.rooms and thread_id not in subscription.rooms:
                    subscription.push(self._frame("", THREAD_CHANGED, lambda: encode(_thread(thread_changed))))
            case ThreadFollowed(room_id=thread_id, parent=parent, account_id=account_id):
                if account_id == subscription.account_id and subscription.wants(parent):
                    subscription.follows[thread_id] = parent
                    if (role_in_room := subscription.rooms.get(parent)) is not None:
                        self._enter(subscription, thread_id, role_in_room)
            case ThreadUnfollowed(room_id=thread_id, account_id=account_id):
                if account_id == subscription.account_id:
                    self._leave(subscription, thread_id)
                    subscription.follows.pop(thread_id, None)
            case TokenRevoked(token_hash=token_hash):
                if token_hash == subscription.token_hash:
                    subscription.end("unauthenticated")
            case AccountChanged(account_id=account_id, role="guest"):
                if account_id == subscription.account_id:  # guests read no room that they have not joined
                    for room_id in [each for each, role in subscription.rooms.items() if role is None]:
                        self._leave(subscription, room_id)
            case _ as event if type(event) in TO_THE_ROOM:
                self._to_room(subscription, event)  # type: ignore[arg-type]
            case _ as event if type(event) in TO_THE_ACCOUNT:
                self._to_account(subscription, event)  # type: ignore[arg-type]
            case _:
                pass  # no stream shows it

    def _frame(self, variant: str, event: StreamEvent, data: Callable[[], bytes]) -> Frame:
        frame = self._frames.get(variant)
        if frame is None:
            frame = self._frames[variant] = Frame(self.id, event.name, data())
        return frame

    def to_members(self, subscriptions: Iterable[Subscription], message: Message) -> None:
        """Push a message to subscriptions that are known to be in its room."""
        frame = self._message_frame(message)
        for subscription in subscriptions:
            subscription.push(frame)

    def _message_frame(self, message: Message) -> Frame:
        return self._frame("", MESSAGES[type(self._event)], lambda: encode(show_message(message, self._withheld)))

    def _message(self, subscription: Subscription, event: MessagePosted | MessageEdited | MessageDeleted) -> None:
        message = event.message
        if message.room_id in subscription.rooms:
            subscription.push(self._message_frame(message))

    def _created(self, subscription: Subscription, event: RoomCreated) -> None:
        role = next((each.role for each in event.members if each.account_id == subscription.account_id), None)
        if role is None or not subscription.wants(event.room_id):
            return
        self._enter(subscription, event.room_id, role)
        room = StreamedRoom(
            event.room_id,
            event.kind,  # type: ignore[arg-type]  # a thread begins without members
            event.name,
            event.description,
            role,
            0,
            rfc3339(event.created_at),
            open=event.open,
            default=event.default,
        )
        if event.kind == "group":
            subscription.push(self._frame(role, ROOM_CREATED, lambda: encode(room)))
            return
        me = subscription.account_id
        place, peer = next(
            ((place, each.account_id) for place, each in enumerate(event.members) if each.account_id != me), (0, me)
        )
        room = msgspec.structs.replace(room, peer_id=peer)
        if event.names:
            named = msgspec.structs.replace(room, name=event.names[place])
            subscription.push(self._frame(str(peer), ROOM_CREATED, lambda: encode(named)))
        else:  # an older Falcon wrote no names
            subscription.push_later(self.id, ROOM_CREATED.name, lambda: self._direct(room, peer))

    async def _direct(self, room: StreamedRoom, peer: AccountId) -> bytes:
        """A direct room bears the name of the other member."""
        return encode(msgspec.structs.replace(room, name=await self._lookups.name_of(peer)))

    def _changed(self, subscription: Subscription, event: RoomChanged) -> None:
        if event.room_id not in subscription.rooms:
            return
        role = subscription.rooms[event.room_id]
        subscription.push(self._frame(role or "", ROOM_CHANGED, lambda: encode(_group(event, role))))
        if role is None and not event.open:
            self._leave(subscription, event.room_id)

    def _deleted(self, subscription: Subscription, event: RoomDeleted) -> None:
        if event.room_id not in subscription.rooms:
            return
        role = subscription.rooms[event.room_id]
        subscription.push(self._frame(role or "", ROOM_DELETED, lambda: encode(_group(event, role))))
        self._leave(subscription, event.room_id)

    def _read_moved(self, subscription: Subscription, event: ReadMoved) -> None:
        mark = StreamedReadMark(event.room_id, event.read_seq, event.unread, event.mentions)
        subscription.push(self._frame("", READ_MOVED, lambda: encode(mark)))

    def _to_room(self, subscription: Subscription, event: InARoom) -> None:
        """Push an event that all members of the room see in the same way."""
        if event.room_id in subscription.rooms:
            shown = TO_THE_ROOM[type(event)]
            subscription.push(self._frame("", shown.event, lambda: encode(shown.data(event))))

    def _to_account(self, subscription: Subscription, event: OfAnAccount) -> None:
        """Push it to each stream of the account, also to one of some rooms: the event may be about a thread of these,
        and does not name its room."""
        if event.account_id == subscription.account_id:
            shown = TO_THE_ACCOUNT[type(event)]
            subscription.push(self._frame("", shown.event, lambda: encode(shown.data(event))))

    def _enter(self, subscription: Subscription, room_id: RoomId, role: Role) -> None:
        subscription.rooms[room_id] = role
        self._index.enter(subscription, room_id)

    def _leave(self, subscription: Subscription, room_id: RoomId) -> None:
        """Leave a room with its threads, or a thread."""
        for each in (room_id, *_threads_of(subscription, room_id)):
            if each in subscription.rooms:
                del subscription.rooms[each]
                self._index.leave(subscription, each)


def _thread(e: ThreadChanged) -> StreamedThreadChange:
    return StreamedThreadChange(e.room_id, e.seq, e.thread_id, e.last_seq, rfc3339(e.last_at), e.account_id)


def _threads_of(subscription: Subscription, room_id: RoomId) -> list[RoomId]:
    """The threads of the room that the account follows."""
    return [thread_id for thread_id, parent in subscription.follows.items() if parent == room_id]


def _group(event: RoomChanged | RoomDeleted, role: Role | None) -> StreamedRoom:
    """Only a group is changed or deleted, never a direct room."""
    return StreamedRoom(
        event.room_id,
        "group",
        event.name,
        event.description,
        role,
        event.last_seq,
        rfc3339(event.created_at),
        open=event.open,
        default=event.default,
    )


def show_message(m: Message, withheld: Withheld) -> StreamedMessage:
    posted_at, edited_at = rfc3339(m.posted_at), None if m.edited_at is None else rfc3339(m.edited_at)
    if (m.room_id, m.seq) in withheld:
        return StreamedMessage(m.room_id, m.seq, m.author_id, "", posted_at, edited_at, True, m.reply_to, ())
    return StreamedMessage(
        m.room_id, m.seq, m.author_id, m.text, posted_at, edited_at, m.deleted, m.reply_to, m.mentions
    )
