"""Events of reactions, and the answer, as they stand in the log."""

from typing import Final

import msgspec

from falcon.features.reactions.rules import ReactionAdded, ReactionAnswer, ReactionRemoved
from falcon.journal.shapes.shape import alike


class ReactionAddedV1(msgspec.Struct, frozen=True):
    room_id: int
    seq: int
    emoji: str
    account_id: int
    reacted_at: int
    revision: int
    count: int
    since: int
    accounts: tuple[int, ...]


class ReactionRemovedV1(msgspec.Struct, frozen=True):
    room_id: int
    seq: int
    emoji: str
    account_id: int
    removed_at: int
    reacted: int
    revision: int
    count: int
    since: int
    accounts: tuple[int, ...]


class ReactionAnswerV1(msgspec.Struct, frozen=True, tag="reaction-answer.v1"):
    room_id: int
    seq: int
    emoji: str
    count: int


EVENTS: Final = (
    alike("reaction-added", ReactionAdded, ReactionAddedV1, critical=False),
    alike("reaction-removed", ReactionRemoved, ReactionRemovedV1, critical=False),
)
ANSWERS: Final = (alike("reaction-answer", ReactionAnswer, ReactionAnswerV1),)
