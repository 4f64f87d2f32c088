"""Reactions in HBase, all in one table. Behind the prefix of the room come, each with a byte for its kind,

- the room's head,
- what its messages show, some messages a row, so that a page is a look-up of known keys,
- the reactions to a message, oldest first,
- the reactions of an account to a message.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Final

import msgspec

from falcon.domain.ids import SEQ_MAX, AccountId, RoomId, Seq
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
    version_of,
)
from falcon.read.hbase import (
    FAST_DIFF,
    NO,
    PREFIXES_KEPT,
    THERE_ONLY,
    U32,
    U64,
    YES,
    Cells,
    HBaseModel,
    HBaseQueryContext,
    Row,
    RowAbout,
    encode,
    hashed,
    prefix_end,
    query,
)

BUCKET: Final = 50  # messages a row: most have no reactions
_HEAD, _KINDS, _REACTIONS, _OWN = b"\x01", b"\x02", b"\x03", b"\x04"
REVISION: Final = b"d:r"
THERE: Final = b"d:i"  # 1 while there is the reaction
REACTION: Final = b"d:e"
_SCANNED: Final = 500  # rows in a call, if one emoji's are sought among all

_decode_reaction: Final = msgspec.json.Decoder(tuple[str, AccountId, str]).decode


# --- keys -------------------------------------------------------------------------------------------------------------


@lru_cache(PREFIXES_KEPT)
def _prefix(room_id: RoomId) -> bytes:
    return hashed(U64(room_id))


def head_key(room_id: RoomId) -> bytes:
    return _prefix(room_id) + _HEAD


def kinds_key(room_id: RoomId, seq: Seq) -> bytes:
    return _prefix(room_id) + _KINDS + U32(seq // BUCKET)


def kinds_keys(room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
    """The rows with what the messages ``first`` to ``last`` show."""
    first, last = max(first, 1), min(last, SEQ_MAX)
    return [_prefix(room_id) + _KINDS + U32(bucket) for bucket in range(first // BUCKET, last // BUCKET + 1)]


def kind_column(seq: Seq, emoji: str) -> bytes:
    return b"d:" + bytes([seq % BUCKET]) + emoji.encode()


def reactions_key(room_id: RoomId, seq: Seq) -> bytes:
    """The prefix of a message's reactions."""
    return _prefix(room_id) + _REACTIONS + U32(seq)


def own_key(room_id: RoomId, seq: Seq, account_id: AccountId) -> bytes:
    return _prefix(room_id) + _OWN + U32(seq) + U64(account_id)


def own_column(emoji: str) -> bytes:
    return b"d:" + emoji.encode()


# --- writing ----------------------------------------------------------------------------------------------------------


def _put(write: PutReaction) -> Cells:
    row = reactions_key(write.room_id, write.seq) + U64(write.revision)
    own = own_key(write.room_id, write.seq, write.account_id)
    return (
        (row, THERE, YES),
        (row, REACTION, encode((write.emoji, write.account_id, write.reacted_at))),
        (own, own_column(write.emoji), b"%d" % write.revision),
    )


def _drop(write: DropReaction) -> Cells:
    row = reactions_key(write.room_id, write.seq) + U64(write.revision)
    return ((row, THERE, NO), (own_key(write.room_id, write.seq, write.account_id), own_column(write.emoji), NO))


def _show(write: ShowReaction) -> Cells:
    value = b"%d %d %b" % (write.since, write.revision, write.shown)
    return ((kinds_key(write.room_id, write.seq), kind_column(write.seq, write.emoji), value),)


def _set_revision(write: SetReactionRevision) -> Cells:
    return ((head_key(write.room_id), REVISION, b"%d" % write.revision),)


# A reader of a revision must find kinds that are at least as new, and a reader of kinds such reactions.
MODEL: Final = HBaseModel(
    tables={"reactions": (4, (FAST_DIFF,))},
    puts=("reactions", "reactions", "reactions"),
    cells={
        PutReaction: (0, _put),
        DropReaction: (0, _drop),
        ShowReaction: (1, _show),
        SetReactionRevision: (2, _set_revision),
    },
    identity=attrgetter("room_id"),
)


# --- queries ----------------------------------------------------------------------------------------------------------


def _table(view: HBaseQueryContext) -> str:
    return view.table("reactions", "reactions")


def head_about(view: HBaseQueryContext, room_id: RoomId, first: Seq, last: Seq) -> RowAbout:
    """The head, and beside it the rows with what the messages ``first`` to ``last`` show. Raises BeingFilled."""
    beside = kinds_keys(room_id, first, last) if first <= last else ()
    return _table(view), head_key(room_id), "history", beside


def version_in(view: HBaseQueryContext, head: Row) -> int:
    """The version of all reactions of the room, 0 if there has never been one."""
    revision = _revision(head)
    return version_of(view.generation("reactions"), revision) if revision else 0


def _revision(head: Row) -> int:
    return int(head.get(REVISION, b"0"))


def shown_reactions(view: HBaseQueryContext, room_id: RoomId, first: Seq, last: Seq) -> ShownReactions:
    return shown_in(view, view.calls.rows(_table(view), kinds_keys(room_id, first, last)), first, last)


def shown_in(view: HBaseQueryContext, rows: dict[bytes, Row], first: Seq, last: Seq) -> ShownReactions:
    kinds = [kind for kind in _kinds(rows.items()) if first <= kind.seq <= last]
    return shown_by_seq(kinds, view.generation("reactions"))


def reactions_of(view: HBaseQueryContext, room_id: RoomId, seqs: Collection[Seq]) -> dict[Seq, bytes]:
    rows = view.calls.rows(_table(view), {kinds_key(room_id, seq) for seq in seqs if 1 <= seq <= SEQ_MAX})
    return shown_by_seq([kind for kind in _kinds(rows.items()) if kind.seq in seqs], 0).by_seq


def reactions(
    view: HBaseQueryContext, room_id: RoomId, seq: Seq, emoji: str | None, after: int, limit: int
) -> list[ReactionRow]:
    if not 1 <= seq <= SEQ_MAX:
        return []
    prefix = reactions_key(room_id, seq)
    found: list[ReactionRow] = []
    while len(found) < limit:
        start, stop = prefix + U64(after + 1), prefix_end(prefix)
        scanned = view.calls.scan(_table(view), start, stop, limit if emoji is None else _SCANNED, THERE_ONLY)
        rows = [
            ReactionRow(int.from_bytes(key[-8:], "big"), *_decode_reaction(row[REACTION]))
            for key, row in scanned
            if REACTION in row
        ]
        found += [row for row in rows if emoji in (None, row.emoji)]
        if emoji is None or len(scanned) < _SCANNED:
            break
        after = rows[-1].revision
    return found[:limit]


def known_reactions(
    view: HBaseQueryContext, room_id: RoomId, seq: Seq, emoji: str, accounts: Collection[AccountId]
) -> KnownReactions:
    revision = _revision(view.calls.row(_table(view), head_key(room_id)))
    if not revision or not 1 <= seq <= SEQ_MAX:
        return KnownReactions(revision)
    shown = kinds_key(room_id, seq)
    own = {own_key(room_id, seq, account_id): account_id for account_id in accounts}
    rows = view.calls.rows(_table(view), (shown, *own))
    kinds = ReactionGroups(
        revision, emoji, (kind for kind in _kinds([(shown, rows.get(shown, {}))]) if kind.seq == seq)
    )
    first = reactions(view, room_id, seq, emoji, 0, FIRST_ACCOUNTS) if kinds.need_accounts else ()
    column = own_column(emoji)
    reacted = [
        (account_id, int(value))
        for key, account_id in own.items()
        if (value := rows.get(key, {}).get(column, NO)) != NO
    ]
    return kinds.known(reacted, first)


def _kinds(rows: Iterable[tuple[bytes, Row]]) -> Iterable[KindRow]:
    for key, row in rows:
        first = int.from_bytes(key[-4:], "big") * BUCKET
        for column, value in row.items():
            since, revision, shown = value.split(b" ", 2)
            yield KindRow(first + column[2], int(since), int(revision), shown)


class HBaseReactionQueries:
    shown_reactions = query(shown_reactions)
    reactions_of = query(reactions_of)
    reactions = query(reactions)
    known_reactions = query(known_reactions)
