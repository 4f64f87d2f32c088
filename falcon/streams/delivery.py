"""Who sees what of an event. It follows the log alone: one who is removed sees that, and nothing after it."""

from collections.abc import Callable, Collection, Iterable
from copy import copy
from typing import Final, Protocol

import msgspec

from falcon.domain.commands import Role, RoomKind
from falcon.domain.events import (
    Event,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReadMoved,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    TokenRevoked,
)
from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.domain.message import Message
from falcon.streams.frames import Frame, Member, Room, encode
from falcon.streams.subscription import Subscription
from falcon.streams.tail import Raw

# A message whose text is not to be shown again, since it has been deleted meanwhile.
Withheld = Collection[tuple[RoomId, Seq]]

_LONG_AGO: Final = "1970-01-01T00:00:00.000Z"
_MESSAGES: Final = {
    MessagePosted: "message.posted",
    MessageEdited: "message.edited",
    MessageDeleted: "message.deleted",
}


class RoomInfo(msgspec.Struct):
    """What an event of a room does not say itself, as of the events so far."""

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    created_at: str
    last_seq: Seq = 0
    peers: tuple[AccountId, ...] = ()

    def follow(self, event: Event) -> None:
        if isinstance(event, MessagePosted):
            self.last_seq = max(self.last_seq, event.message.seq)
        elif isinstance(event, RoomChanged):
            self.name, self.description = event.name, event.description


class Lookups(Protocol):
    """What has to be asked for; it may take a moment."""

    async def shown(self, room: RoomInfo | None, raw: Raw, account_id: AccountId, role: Role) -> bytes | None:
        """The room as the account sees it, behind the record; None where nobody knows any more what it was like.

        Without ``room`` it is looked up. Raises ReadStoreUnavailable where the tables have not got so far.
        """

    async def info(self, room_id: RoomId) -> RoomInfo | None:
        """Raises ReadStoreUnavailable."""

    async def read_mark(self, room: RoomInfo | None, moved: ReadMoved) -> bytes | None:
        """With what is left to read behind it."""


class Index(Protocol):
    """Whoever has to find the subscriptions of a room is told who comes and goes."""

    def enter(self, subscription: Subscription, room_id: RoomId) -> None: ...

    def leave(self, subscription: Subscription, room_id: RoomId) -> None: ...


class Delivery:
    """One event on its way to one subscription after the other; what several of them get is made once."""

    def __init__(
        self,
        id: Callable[[], str],
        raw: Raw,
        event: Event,
        info: RoomInfo | None,
        lookups: Lookups,
        index: Index,
        withheld: Withheld = (),
    ) -> None:
        self._make_id = id
        self._id: str | None = None
        self._raw = raw
        self._event = event
        self._info = info
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
        """Show it, if it is to be seen there; and let what it changes about who sees what hold from then on."""
        match self._event:
            case MessagePosted() | MessageEdited() | MessageDeleted():
                self._message(subscription, self._event)
            case ReadMoved(room_id=room_id, account_id=account_id) as moved:
                if account_id == subscription.account_id and room_id in subscription.rooms:
                    info = None if self._info is None else copy(self._info)
                    subscription.push_later(self.id, "read.moved", lambda: self._lookups.read_mark(info, moved))
            case RoomCreated():
                self._created(subscription, self._event)
            case RoomChanged():
                self._room(subscription, "room.changed", self._event.room_id)
            case RoomDeleted(room_id=room_id):
                self._room(subscription, "room.deleted", room_id)
                self._leave(subscription, room_id)
            case MemberJoined(room_id=room_id, account_id=account_id, role=role):
                if account_id == subscription.account_id and subscription.wants(room_id):
                    subscription.rooms[room_id] = role
                    self._index.enter(subscription, room_id)
                self._member(subscription, "member.joined", Member(room_id, account_id, role))
            case MemberChanged(room_id=room_id, account_id=account_id, role=role):
                if account_id == subscription.account_id and room_id in subscription.rooms:
                    subscription.rooms[room_id] = role
                self._member(subscription, "member.changed", Member(room_id, account_id, role))
            case MemberLeft(room_id=room_id, account_id=account_id, role=role):
                self._member(subscription, "member.left", Member(room_id, account_id, role))
                if account_id == subscription.account_id:
                    self._leave(subscription, room_id)
            case TokenRevoked(token_hash=token_hash):
                if token_hash == subscription.token_hash:
                    subscription.end("unauthenticated")

    def _frame(self, variant: str, name: str, data: Callable[[], bytes]) -> Frame:
        frame = self._frames.get(variant)
        if frame is None:
            frame = self._frames[variant] = Frame(self.id, name, data())
        return frame

    def to_everybody(self, subscriptions: Iterable[Subscription], message: Message) -> None:
        """A message, to those who are known to be in its room."""
        frame = self._message_frame(message)
        for subscription in subscriptions:
            subscription.push(frame)

    def _message_frame(self, message: Message) -> Frame:
        return self._frame("", _MESSAGES[type(self._event)], lambda: encode(self._as_shown(message)))

    def _message(self, subscription: Subscription, event: MessagePosted | MessageEdited | MessageDeleted) -> None:
        message = event.message
        if message.room_id in subscription.rooms:
            subscription.push(self._message_frame(message))

    def _as_shown(self, message: Message) -> Message:
        if (message.room_id, message.seq) in self._withheld:
            return msgspec.structs.replace(message, text="", deleted=True, mentions=())
        return message

    def _created(self, subscription: Subscription, event: RoomCreated) -> None:
        role = next((each.role for each in event.members if each.account_id == subscription.account_id), None)
        if role is None or not subscription.wants(event.room_id):
            return
        subscription.rooms[event.room_id] = role
        self._index.enter(subscription, event.room_id)
        self._room(subscription, "room.created", event.room_id)

    def _room(self, subscription: Subscription, name: str, room_id: RoomId) -> None:
        """A direct room bears the other one's name, which has to be looked up."""
        role = subscription.rooms.get(room_id)
        info = self._info
        if role is None:
            return
        if name == "room.deleted" and info is None:
            info = RoomInfo(room_id, "group", "", "", _LONG_AGO)  # it cannot be looked up any more
        if info is None or (info.kind == "direct" and name != "room.deleted"):
            known, account_id = None if info is None else copy(info), subscription.account_id
            subscription.push_later(self.id, name, lambda: self._lookups.shown(known, self._raw, account_id, role))
            return
        room = Room(room_id, info.kind, info.name, info.description, role, info.last_seq, info.created_at)
        subscription.push(self._frame(role, name, lambda: encode(room)))

    def _member(self, subscription: Subscription, name: str, member: Member) -> None:
        if member.room_id in subscription.rooms:
            subscription.push(self._frame("", name, lambda: encode(member)))

    def _leave(self, subscription: Subscription, room_id: RoomId) -> None:
        if subscription.rooms.pop(room_id, None) is not None:
            self._index.leave(subscription, room_id)
