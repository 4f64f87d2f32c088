"""Reactions of accounts to messages, and what a message shows of them.

Events have what is shown as it now stands, so it is written and never counted. Reactions to a message that has been
deleted stay in the tables; queries of a deleted message do not ask for them.
"""

from typing import NamedTuple

from falcon.domain.catalogue import Event
from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.domain.reactions import ReactionAdded, ReactionRemoved
from falcon.journal.envelope import Envelope
from falcon.read.reactions.queries import ShownReaction, encode
from falcon.read.times import rfc3339
from falcon.read.write import Write


class PutReaction(NamedTuple):
    """``revision``: at which the account reacted; it names the reaction within the room."""

    room_id: RoomId
    seq: Seq
    revision: int
    emoji: str
    account_id: AccountId
    reacted_at: str


class DropReaction(NamedTuple):
    room_id: RoomId
    seq: Seq
    revision: int
    emoji: str
    account_id: AccountId


class ShowReaction(NamedTuple):
    """The JSON that a message shows of one emoji as of ``revision``; empty if no account reacts with it any more.

    ``since`` orders the emoji of a message.
    """

    room_id: RoomId
    seq: Seq
    emoji: str
    since: int
    revision: int
    shown: bytes


class SetReactionRevision(NamedTuple):
    """The number of changes of reactions in the room so far."""

    room_id: RoomId
    revision: int


def project(envelope: Envelope) -> tuple[Write, ...]:
    match envelope.event:
        case ReactionAdded(reacted_at=reacted_at, revision=revision) as e:
            put = PutReaction(e.room_id, e.seq, revision, e.emoji, e.account_id, rfc3339(reacted_at))
            return (put, _show(e), SetReactionRevision(e.room_id, revision))
        case ReactionRemoved(reacted=reacted, revision=revision) as e:
            drop = DropReaction(e.room_id, e.seq, reacted, e.emoji, e.account_id)
            return (drop, _show(e), SetReactionRevision(e.room_id, revision))
        case _:
            return ()


def _show(event: ReactionAdded | ReactionRemoved) -> ShowReaction:
    shown = encode(ShownReaction(event.emoji, event.count, event.accounts)) if event.count else b""
    return ShowReaction(event.room_id, event.seq, event.emoji, event.since, event.revision, shown)


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case ReactionAdded() | ReactionRemoved():
            return (
                f"message {event.seq} of room {event.room_id} shows {event.emoji} as it was before, until an account"
                " reacts with it again"
            )
        case _:
            return None
