"""Reactions in SQLite. ``place`` is room_id << 32 | seq, as in the timeline."""

from collections.abc import Collection
from typing import Any, Final

from falcon.domain.ids import SEQ_MAX, AccountId, RoomId, Seq
from falcon.features.reactions.rules import KnownReactions
from falcon.features.reactions.table import (
    FIRST_ACCOUNTS,
    NO_REACTIONS,
    DropReaction,
    KindRow,
    PutReaction,
    ReactionGroups,
    ReactionRow,
    SetReactionRevision,
    ShownReactions,
    ShowReaction,
    shown_by_seq,
    version_of,
)
from falcon.read.sqlite import SqliteModel, SqliteQueryContext, in_file_of, query

MODEL: Final = SqliteModel(
    tables={
        "reactions": """CREATE TABLE reactions{} (
        place INTEGER NOT NULL, revision INTEGER NOT NULL, emoji TEXT NOT NULL, account_id INTEGER NOT NULL,
        reacted_at TEXT NOT NULL, PRIMARY KEY (place, revision)
    ) WITHOUT ROWID;
    CREATE INDEX reactions_{unique} ON reactions{} (place, emoji, account_id)""",
        "reaction_kinds": """CREATE TABLE reaction_kinds{} (
        place INTEGER NOT NULL, emoji TEXT NOT NULL, since INTEGER NOT NULL, revision INTEGER NOT NULL,
        shown BLOB NOT NULL, PRIMARY KEY (place, emoji)
    ) WITHOUT ROWID""",
        "reaction_revisions": """CREATE TABLE reaction_revisions{} (
        room_id INTEGER PRIMARY KEY, revision INTEGER NOT NULL
    )""",
    },
    identities={
        "reactions": "place >> 32",
        "reaction_kinds": "place >> 32",
        "reaction_revisions": "room_id",
    },
    statements={
        PutReaction: ("INSERT OR REPLACE INTO reactions{} VALUES (?1 << 32 | ?2, ?3, ?4, ?5, ?6)",),
        DropReaction: (
            "DELETE FROM reactions{} WHERE place = ?1 << 32 | ?2 AND revision = ?3 AND emoji = ?4 AND account_id = ?5",
        ),
        ShowReaction: ("INSERT OR REPLACE INTO reaction_kinds{} VALUES (?1 << 32 | ?2, ?3, ?4, ?5, ?6)",),
        SetReactionRevision: ("INSERT OR REPLACE INTO reaction_revisions{} VALUES (?1, ?2)",),
    },
)


def shown_reactions(view: SqliteQueryContext, room_id: RoomId, first: Seq, last: Seq) -> ShownReactions:
    kinds = _kinds(view, room_id, first, last)
    return shown_by_seq(kinds, view.generation("reactions")) if kinds else NO_REACTIONS


def reactions_of(view: SqliteQueryContext, room_id: RoomId, seqs: Collection[Seq]) -> dict[Seq, bytes]:
    return shown_by_seq([kind for seq in seqs for kind in _kinds(view, room_id, seq, seq)], 0).by_seq


def version(view: SqliteQueryContext, revision: int) -> int:
    """The version of all reactions of a room at this revision, which is that of one of them."""
    return version_of(view.generation("reactions"), revision)


def reactions(
    view: SqliteQueryContext, room_id: RoomId, seq: Seq, emoji: str | None, after: int, limit: int
) -> list[ReactionRow]:
    if not 1 <= seq <= SEQ_MAX:  # its upper bits would name a place in another room
        return []
    rows: Any = view.execute(
        "SELECT revision, emoji, account_id, reacted_at FROM reactions"
        " WHERE place = ?1 << 32 | ?2 AND revision > ?3 AND emoji = coalesce(?4, emoji) ORDER BY revision LIMIT ?5",
        (room_id, seq, after, emoji, limit),
    )
    return [ReactionRow(*row) for row in rows]


def known_reactions(
    view: SqliteQueryContext, room_id: RoomId, seq: Seq, emoji: str, accounts: Collection[AccountId]
) -> KnownReactions:
    row: Any = view.execute("SELECT revision FROM reaction_revisions WHERE room_id = ?", (room_id,)).fetchone()
    kinds = ReactionGroups(0 if row is None else row[0], emoji, _kinds(view, room_id, seq, seq))
    first = reactions(view, room_id, seq, emoji, 0, FIRST_ACCOUNTS) if kinds.need_accounts else ()
    reacted = [
        (account_id, revision)
        for account_id in accounts
        for (revision,) in view.execute(
            "SELECT revision FROM reactions WHERE place = ?1 << 32 | ?2 AND emoji = ?3 AND account_id = ?4",
            (room_id, min(seq, SEQ_MAX), emoji, account_id),
        )
    ]
    return kinds.known(reacted, first)


def _kinds(view: SqliteQueryContext, room_id: RoomId, first: Seq, last: Seq) -> list[KindRow]:
    rows: Any = view.execute(
        "SELECT place & 0xffffffff, since, revision, shown FROM reaction_kinds"
        " WHERE place BETWEEN ?1 << 32 | ?2 AND ?1 << 32 | ?3",
        (room_id, max(first, 1), min(last, SEQ_MAX)),
    )
    return [KindRow(*row) for row in rows]


class SqliteReactionQueries:
    shown_reactions = query(shown_reactions, "reactions")
    reactions_of = query(reactions_of, "reactions")
    reactions = query(reactions, "reactions")
    known_reactions = query(known_reactions, "reactions")


class SqliteFilesReactionQueries:
    shown_reactions = in_file_of(SqliteReactionQueries.shown_reactions)
    reactions_of = in_file_of(SqliteReactionQueries.reactions_of)
    reactions = in_file_of(SqliteReactionQueries.reactions)
    known_reactions = in_file_of(SqliteReactionQueries.known_reactions)
