"""Reactions of accounts to messages, and what a message shows of them.

Events have what is shown as it now stands, so it is written and never counted. Reactions to a message that has been
deleted stay in the tables; queries of a deleted message do not ask for them.
"""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple, Protocol

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.catalogue import Event
from falcon.features.reactions.rules import REACTION_ACCOUNTS_SHOWN, KnownReactions, ReactionAdded, ReactionRemoved
from falcon.journal.envelope import Recorded
from falcon.read.times import rfc3339
from falcon.read.write import Write

# To decide on the removal of an account that is shown, an owner needs the accounts that are shown next.
FIRST_ACCOUNTS: Final = REACTION_ACCOUNTS_SHOWN + 32
_REVISION_BITS: Final = 48  # changes of a room's reactions; the other bits of the 63 count rebuilds


class ShownReaction(msgspec.Struct, frozen=True):
    """One emoji of a message: how many accounts have reacted with it, and the first of them."""

    emoji: str
    count: int
    accounts: tuple[AccountId, ...]


encode: Final = msgspec.json.Encoder().encode


_shown_in: Final = msgspec.json.Decoder(ShownReaction).decode


class ShownReactions(NamedTuple):
    """The reactions of consecutive messages, for the ones that have some: a list's JSON by seq.

    ``version``: changes whenever they do.
    """

    version: int
    by_seq: dict[Seq, bytes]


NO_REACTIONS: Final = ShownReactions(0, {})


UNKNOWN_REACTIONS: Final = ShownReactions(-1, {})  # of no page that was read before


class KindRow(NamedTuple):
    """One emoji of message ``seq`` as of ``revision``; see ShowReaction."""

    seq: Seq
    since: int
    revision: int
    shown: bytes


class ReactionRow(NamedTuple):
    """``revision`` orders the reactions of a room."""

    revision: int
    emoji: str
    account_id: AccountId
    reacted_at: str


class ReactionQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def shown_reactions(self, room_id: RoomId, first: Seq, last: Seq) -> ShownReactions:
        """The reactions to the messages ``first`` to ``last``, both included."""

    async def reactions_of(self, room_id: RoomId, seqs: Collection[Seq]) -> dict[Seq, bytes]:
        """The reactions to these messages, for the ones that have some: a list's JSON by seq."""

    async def reactions(
        self, room_id: RoomId, seq: Seq, emoji: str | None, after: int, limit: int
    ) -> list[ReactionRow]:
        """The reactions to a message, oldest first, from revision ``after`` (excluded) on. ``emoji``: only these."""

    async def known_reactions(
        self, room_id: RoomId, seq: Seq, emoji: str, accounts: Collection[AccountId]
    ) -> KnownReactions:
        """The reactions that an owner must know to decide on reactions of these accounts."""


def version_of(generation: int, revision: int) -> int:
    """``generation``: of the tables, which a rebuild raises."""
    return generation << _REVISION_BITS | revision


def shown_by_seq(kinds: Collection[KindRow], generation: int) -> ShownReactions:
    """A revision only rises, and no kind goes, so the sum of all rises with every change, in whatever order HBase gives
    rows that are just being written."""
    by_seq: dict[Seq, list[bytes]] = {}
    for kind in sorted(kinds):
        if kind.shown:
            by_seq.setdefault(kind.seq, []).append(kind.shown)
    version = version_of(generation, sum(kind.revision for kind in kinds))
    return ShownReactions(version, {seq: b"[%b]" % b",".join(shown) for seq, shown in by_seq.items()})


class ReactionGroups:
    """The emoji of one message. The room's ``revision`` must have been read before them."""

    def __init__(self, revision: int, emoji: str, kinds: Iterable[KindRow]) -> None:
        self._revision = revision
        shown = {_shown_in(kind.shown): kind for kind in kinds if kind.shown}
        self._emojis = tuple(each.emoji for each in shown)
        self._found = next(((each, kind) for each, kind in shown.items() if each.emoji == emoji), None)

    @property
    def need_accounts(self) -> bool:
        """True if the emoji has more accounts than the shown ones; removing a shown one reveals another."""
        return self._found is not None and self._found[0].count > len(self._found[0].accounts)

    def known(self, reacted: Iterable[tuple[AccountId, int]], first: Iterable[ReactionRow]) -> KnownReactions:
        """``first``: the oldest reactions with the emoji, read after the kinds, if these need them."""
        if self._found is None:
            return KnownReactions(self._revision, self._emojis, tuple(reacted))
        shown, kind = self._found
        # The room remembers reactions that are newer than the kind.
        accounts = tuple(row.account_id for row in first if row.revision <= kind.revision) or shown.accounts
        return KnownReactions(
            self._revision, self._emojis, tuple(reacted), kind.revision, shown.count, kind.since, accounts
        )


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


TAKES: Final = (ReactionAdded, ReactionRemoved)


def project(recorded: Recorded) -> tuple[Write, ...]:
    match recorded.envelope.event:
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
