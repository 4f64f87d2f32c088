"""The messages of a room, each as the JSON for clients, and the number of changes to the room's messages.

One projection writes both, so that a revision never runs ahead of the messages: an edit is decided on the message as
its sender saw it at a revision, and a page's ETag rests on it.
"""

from collections.abc import Collection
from typing import Final, NamedTuple, Protocol, TypeAlias

from falcon.domain.ids import RoomId, Seq
from falcon.features.catalogue import Event
from falcon.features.messages.bodies import missing_message, row_of
from falcon.features.messages.ranges import ITEMS_BYTES_MAX, MessageRange
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.journal.envelope import Recorded
from falcon.read.write import Write

RoomSeq: TypeAlias = tuple[RoomId, Seq]


class TimelineQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def page(
        self, room_id: RoomId, first: Seq, last: Seq, *, from_last: bool = False, bytes_max: int = ITEMS_BYTES_MAX
    ) -> MessageRange:
        """The messages ``first`` to ``last``, both included, up to the first that is not there yet. If they exceed
        ``bytes_max``: the first of them that fit, or with ``from_last`` the last, but at least one.

        A message is not there yet while nothing after it has been applied. Otherwise the message was passed over or
        its row was lost, and ``missing_message`` stands in its place.
        """

    async def message(self, room_id: RoomId, seq: Seq) -> bytes | None:
        """A page of one message. None if it is not there yet."""

    async def messages(self, wanted: Collection[RoomSeq]) -> dict[RoomSeq, bytes]:
        """Messages of several rooms, as :meth:`message` has them. The ones that are not there yet are left out."""

    async def message_at(self, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
        """The message, and a revision of the room. The message is not older than the revision."""

    async def newest(self, room_id: RoomId, through: Seq) -> Seq:
        """The newest message up to ``through`` in the timeline; 0 if there is none."""


class UpsertMessage(NamedTuple):
    """``message`` is the JSON for clients."""

    room_id: RoomId
    seq: Seq
    message: bytes


class SetRevision(NamedTuple):
    """The number of edits and deletions in the room so far."""

    room_id: RoomId
    revision: int


TAKES: Final = (MessagePosted, MessageEdited, MessageDeleted)


def project(recorded: Recorded) -> tuple[Write, ...]:
    match recorded.envelope.event:
        case MessagePosted(message=message):
            return (UpsertMessage(message.room_id, message.seq, row_of(message)),)
        case MessageEdited(message=message, revision=revision) | MessageDeleted(message=message, revision=revision):
            put = UpsertMessage(message.room_id, message.seq, row_of(message))
            return (put, SetRevision(message.room_id, revision))
        case _:
            return ()


def passed_over(recorded: Recorded) -> tuple[Write, ...]:
    """The writes for a skipped event. Its message is shown as missing, so that pages have no hole, and no text stays
    that was edited or deleted. The revision moves on, since no edit could be decided otherwise."""
    match recorded.envelope.event:
        case MessagePosted(message=message):
            return (_missing(message),)
        case MessageEdited(message=message, revision=revision) | MessageDeleted(message=message, revision=revision):
            return (_missing(message), SetRevision(message.room_id, revision))
        case _:
            return ()


def _missing(message: Message) -> UpsertMessage:
    return UpsertMessage(message.room_id, message.seq, missing_message(message.room_id, message.seq, message.posted_at))


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return f"message {m.seq} of room {m.room_id} is shown as missing until it is edited or deleted"
        case _:
            return None
