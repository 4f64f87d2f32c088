"""Reactions as the read tables have them after some events."""

from collections.abc import Collection, Iterable
from typing import Any

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.catalogue import Event
from falcon.features.reactions.rules import KnownReactions
from falcon.features.reactions.table import project
from falcon.journal.envelope import Envelope
from tests.support.builders import NOW
from tools.harness.memory import reactions as memory


class ReactionTables:
    """The context of queries in memory."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._tables = memory.ReactionTables()
        for event in events:
            for write in project(Envelope(0, 1, 0, NOW, event)):
                self._tables.apply(write)

    def tables(self, projection: str) -> Any:
        return self._tables

    def generation(self, projection: str) -> int:
        return 0


def reactions_known(
    events: Iterable[Event], room_id: RoomId, seq: Seq, emoji: str, accounts: Collection[AccountId]
) -> KnownReactions:
    return memory.known_reactions(ReactionTables(events), room_id, seq, emoji, accounts)
