"""Events of reactions, and the answer, as they stand in the log."""

from typing import Final

from falcon.features.reactions.rules import ReactionAdded, ReactionAnswer, ReactionRemoved
from falcon.journal.shapes.shape import answer, event

EVENTS: Final = (
    event(
        "reaction-added",
        ReactionAdded,
        critical=False,
        room_id=int,
        seq=int,
        emoji=str,
        account_id=int,
        reacted_at=int,
        revision=int,
        count=int,
        since=int,
        accounts=tuple[int, ...],
    ),
    event(
        "reaction-removed",
        ReactionRemoved,
        critical=False,
        room_id=int,
        seq=int,
        emoji=str,
        account_id=int,
        removed_at=int,
        reacted=int,
        revision=int,
        count=int,
        since=int,
        accounts=tuple[int, ...],
    ),
)
ANSWERS: Final = (answer("reaction-answer", ReactionAnswer, room_id=int, seq=int, emoji=str, count=int),)
