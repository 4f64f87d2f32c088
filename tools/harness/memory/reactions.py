"""Reactions in memory."""

from collections.abc import Collection
from dataclasses import dataclass, field

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.reactions.rules import KnownReactions
from falcon.features.reactions.table import (
    FIRST_ACCOUNTS,
    DropReaction,
    KindRow,
    PutReaction,
    ReactionGroups,
    ReactionRow,
    SetReactionRevision,
    ShownReactions,
    ShowReaction,
    shown_by_seq,
)
from falcon.read.write import Write
from tools.harness.memory.models import MemoryQueryContext, query


@dataclass
class ReactionTables:
    """``reactions`` by room, seq and revision; ``kinds`` by room, seq and emoji."""

    reactions: dict[tuple[RoomId, Seq, int], ReactionRow] = field(default_factory=dict)
    kinds: dict[tuple[RoomId, Seq, str], KindRow] = field(default_factory=dict)
    revisions: dict[RoomId, int] = field(default_factory=dict)

    def apply(self, write: Write) -> None:
        match write:
            case PutReaction(room_id, seq, revision, emoji, account_id, reacted_at):
                self.reactions[room_id, seq, revision] = ReactionRow(revision, emoji, account_id, reacted_at)
            case DropReaction(room_id, seq, revision):
                self.reactions.pop((room_id, seq, revision), None)
            case ShowReaction(room_id, seq, emoji, since, revision, shown):
                self.kinds[room_id, seq, emoji] = KindRow(seq, since, revision, shown)
            case SetReactionRevision(room_id, revision):
                self.revisions[room_id] = revision


def tables(view: MemoryQueryContext) -> ReactionTables:
    found: ReactionTables = view.tables("reactions")
    return found


def shown_reactions(view: MemoryQueryContext, room_id: RoomId, first: Seq, last: Seq) -> ShownReactions:
    return shown_by_seq(_kinds(view, room_id, first, last), view.generation("reactions"))


def reactions(
    view: MemoryQueryContext, room_id: RoomId, seq: Seq, emoji: str | None, after: int, limit: int
) -> list[ReactionRow]:
    rows = sorted(row for place, row in tables(view).reactions.items() if place[:2] == (room_id, seq))
    return [row for row in rows if row.revision > after and emoji in (None, row.emoji)][:limit]


def known_reactions(
    view: MemoryQueryContext, room_id: RoomId, seq: Seq, emoji: str, accounts: Collection[AccountId]
) -> KnownReactions:
    kinds = ReactionGroups(tables(view).revisions.get(room_id, 0), emoji, _kinds(view, room_id, seq, seq))
    rows = reactions(view, room_id, seq, emoji, 0, len(tables(view).reactions))
    reacted = [(row.account_id, row.revision) for row in rows if row.account_id in accounts]
    return kinds.known(reacted, rows[:FIRST_ACCOUNTS])


def _kinds(view: MemoryQueryContext, room_id: RoomId, first: Seq, last: Seq) -> list[KindRow]:
    return [kind for (room, seq, _), kind in tables(view).kinds.items() if room == room_id and first <= seq <= last]


class MemoryReactionQueries:
    shown_reactions = query(shown_reactions)
    reactions = query(reactions)
    known_reactions = query(known_reactions)
