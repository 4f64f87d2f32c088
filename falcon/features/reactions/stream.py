"""Reactions in the stream."""

from typing import Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.reactions.rules import ReactionAdded, ReactionRemoved
from falcon.streams.event import Shown, StreamEvent


class StreamedReaction(msgspec.Struct, frozen=True):
    """``count``: how many accounts have reacted with the emoji now."""

    room_id: RoomId
    seq: Seq
    account_id: AccountId
    emoji: str
    count: int


def reaction(event: ReactionAdded | ReactionRemoved) -> StreamedReaction:
    return StreamedReaction(event.room_id, event.seq, event.account_id, event.emoji, event.count)


REACTION_ADDED: Final = StreamEvent("reaction.added", "A member reacts to a message.", StreamedReaction)
REACTION_REMOVED: Final = StreamEvent("reaction.removed", "A reaction to a message is removed.", StreamedReaction)
EVENTS: Final = (REACTION_ADDED, REACTION_REMOVED)
TO_THE_ROOM: Final = {
    ReactionAdded: Shown(REACTION_ADDED, reaction),
    ReactionRemoved: Shown(REACTION_REMOVED, reaction),
}
