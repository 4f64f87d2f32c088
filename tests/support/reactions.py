"""Reactions as the read tables have them after some events, in their plainest form."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.catalogue import Event
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
    project,
    shown_by_seq,
)
from falcon.read.write import Write
from tests.support.builders import recorded


@dataclass
class ReactionTables:
    """``reactions`` by room, seq and revision; ``kinds`` by room, seq and emoji."""

    reactions: dict[tuple[RoomId, Seq, int], ReactionRow] = field(default_factory=dict)
    kinds: dict[tuple[RoomId, Seq, str], KindRow] = field(default_factory=dict)
    revisions: dict[RoomId, int] = field(default_factory=dict)

    @classmethod
    def after(cls, events: Iterable[Event]) -> "ReactionTables":
        tables = cls()
        for event in events:
            for write in project(recorded(event)):
                tables.apply(write)
        return tables

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


def shown_reactions(tables: ReactionTables, room_id: RoomId, first: Seq, last: Seq) -> ShownReactions:
    return shown_by_seq(_kinds(tables, room_id, first, last), 0)


def reactions(
    tables: ReactionTables, room_id: RoomId, seq: Seq, emoji: str | None, after: int, limit: int
) -> list[ReactionRow]:
    rows = sorted(row for place, row in tables.reactions.items() if place[:2] == (room_id, seq))
    return [row for row in rows if row.revision > after and emoji in (None, row.emoji)][:limit]


def known_reactions(
    tables: ReactionTables, room_id: RoomId, seq: Seq, emoji: str, accounts: Collection[AccountId]
) -> KnownReactions:
    kinds = ReactionGroups(tables.revisions.get(room_id, 0), emoji, _kinds(tables, room_id, seq, seq))
    rows = reactions(tables, room_id, seq, emoji, 0, len(tables.reactions))
    reacted = [(row.account_id, row.revision) for row in rows if row.account_id in accounts]
    return kinds.known(reacted, rows[:FIRST_ACCOUNTS])


def _kinds(tables: ReactionTables, room_id: RoomId, first: Seq, last: Seq) -> list[KindRow]:
    return [kind for (room, seq, _), kind in tables.kinds.items() if room == room_id and first <= seq <= last]


def reactions_known(
    events: Iterable[Event], room_id: RoomId, seq: Seq, emoji: str, accounts: Collection[AccountId]
) -> KnownReactions:
    return known_reactions(ReactionTables.after(events), room_id, seq, emoji, accounts)
