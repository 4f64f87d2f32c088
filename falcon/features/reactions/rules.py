"""Reactions: their commands, events and answer, and what stands of them when a command is decided.

A room does not keep reactions: a sender shows what the read tables say, and the room brings that up to date with the
changes that it remembers. So however many accounts react at once, no view is too old (docs/decisions/0035).
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from falcon.domain.aggregates import FeatureState
from falcon.domain.answers import Done, ImportAnswer
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import AccountId, Millis, RoomId, Seq
from falcon.domain.rejections import (
    Invalid,
    MessageIsDeleted,
    MessageNotFound,
    NotAllowed,
    NotAMember,
    NotJoined,
    NotYetReadable,
    ReadOnly,
)
from falcon.features.messages.rules import Message, current_message
from falcon.features.rooms.rules import Room, not_a_member

REACTION_KINDS_MAX = 50  # different emoji that a message has


REACTION_ACCOUNTS_SHOWN = 20  # of one emoji, with a message; the list of its reactions has all


# Names of columns have the text; only some of two people with skins of different colours are longer.
EMOJI_BYTES_MAX = 32


# Recent changes of reactions that a room keeps, see RoomReactions: those of the last minute, within bounds.
REACTIONS_REMEMBERED_LEAST = 16
REACTIONS_REMEMBERED_MOST = 512
REACTIONS_REMEMBERED_MILLIS = 60_000


class KnownReactions(msgspec.Struct, frozen=True):
    """The read tables' knowledge of a message and an emoji, at the room's reaction ``revision`` or later.

    ``kinds``: every emoji that the message has. ``reacted``: of the accounts that the command is about, the ones that
    have reacted with this emoji, each with the revision at which it did. The rest is of this emoji as of
    ``kind_revision``: ``since`` is the revision of the oldest reaction when it came up, and ``accounts`` are the first
    ones, in the order in which they reacted.
    """

    revision: int
    kinds: tuple[str, ...] = ()
    reacted: tuple[tuple[AccountId, int], ...] = ()
    kind_revision: int = 0
    count: int = 0
    since: int = 0
    accounts: tuple[AccountId, ...] = ()


class AddReaction(msgspec.Struct, frozen=True, tag=True):
    """``known``, ``known_revision`` as in EditMessage; ``reactions`` as the read side showed them."""

    by: AccountId
    room_id: RoomId
    seq: Seq
    emoji: str
    known: Message | None = None
    known_revision: int = 0
    reactions: KnownReactions = KnownReactions(0)


class RemoveReaction(msgspec.Struct, frozen=True, tag=True):
    """Like AddReaction."""

    by: AccountId
    room_id: RoomId
    seq: Seq
    emoji: str
    known: Message | None = None
    known_revision: int = 0
    reactions: KnownReactions = KnownReactions(0)


class ImportedReaction(msgspec.Struct, frozen=True):
    account_id: AccountId
    reacted_at: Millis


class ImportReactions(msgspec.Struct, frozen=True, tag=True):
    """The reactions to a message of an imported room with one emoji, oldest first; the ones that it has are skipped.

    The other fields are as in AddReaction.
    """

    room_id: RoomId
    seq: Seq
    emoji: str
    imported: tuple[ImportedReaction, ...]
    known: Message | None = None
    known_revision: int = 0
    reactions: KnownReactions = KnownReactions(0)


class ReactionAdded(msgspec.Struct, frozen=True):
    """An account has reacted to a message with an emoji, with which it had not.

    ``revision`` counts the changes of reactions in the room. ``count``: how many accounts have reacted with this emoji
    now; ``accounts``: the first of them. ``since``: the revision at which the first one did, which orders the emoji.
    """

    room_id: RoomId
    seq: Seq
    emoji: str
    account_id: AccountId
    reacted_at: Millis
    revision: int
    count: int
    since: int
    accounts: tuple[AccountId, ...]


class ReactionRemoved(msgspec.Struct, frozen=True):
    """Like ReactionAdded. ``reacted``: the revision of the reaction that is no more."""

    room_id: RoomId
    seq: Seq
    emoji: str
    account_id: AccountId
    removed_at: Millis
    reacted: int
    revision: int
    count: int
    since: int
    accounts: tuple[AccountId, ...]


class ReactionAnswer(msgspec.Struct, frozen=True, tag="reaction-answer"):
    """``count``: how many accounts have reacted with the emoji."""

    room_id: RoomId
    seq: Seq
    emoji: str
    count: int


class ReactionChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A reaction that was added or removed. ``reacted``: the revision of the account\'s reaction; 0 if it was
    removed."""

    seq: Seq
    emoji: str
    account_id: AccountId
    revision: int
    at: Millis
    count: int
    since: int
    reacted: int


class RoomReactions(msgspec.Struct, frozen=True, array_like=True):
    """``revision`` counts the changes of reactions in a room, ``changes`` has the newest, oldest first. ``forgotten``
    is the revision of the newest that it has no more. They bring a view of the reactions to a message up to date, and
    leave the room's ``revision`` alone: a reaction makes no edit stale."""

    revision: int = 0
    changes: tuple[ReactionChange, ...] = ()
    forgotten: int = 0


STATE: Final = FeatureState("reactions", RoomReactions)


class MessageReactions:
    """``revision``: of the room's reactions. ``changes``: the ones that the room remembers, oldest first.

    The tables may show some of the changes already, so applying a change twice is applying it once.
    """

    def __init__(
        self,
        room_id: RoomId,
        seq: Seq,
        emoji: str,
        revision: int,
        known: KnownReactions,
        changes: Iterable[ReactionChange],
    ) -> None:
        self._room_id = room_id
        self._seq = seq
        self._emoji = emoji
        self._revision = revision
        self._kinds = set(known.kinds)
        self._reacted = dict(known.reacted)
        self.count = known.count
        self._since = known.since
        self._accounts = list(known.accounts)
        for change in changes:
            if change.seq == seq and change.revision > known.revision:
                self._apply(change, known.kind_revision)

    def _apply(self, change: ReactionChange, kind_revision: int) -> None:
        if change.count:
            self._kinds.add(change.emoji)
        else:
            self._kinds.discard(change.emoji)
        if change.emoji != self._emoji:
            return
        self._reacted[change.account_id] = change.reacted
        if change.revision > kind_revision:
            self.count, self._since = change.count, change.since
            self._list(change.account_id, added=bool(change.reacted))

    def _list(self, account_id: AccountId, *, added: bool) -> None:
        """``_accounts`` stay the first ones: one that reacts now follows them only if they were all."""
        if not added:
            self._accounts = [each for each in self._accounts if each != account_id]
        elif len(self._accounts) == self.count - 1:
            self._accounts.append(account_id)

    def refusal(self) -> Invalid | None:
        """Why no account can react to the message with this emoji."""
        if self._emoji in self._kinds or len(self._kinds) < REACTION_KINDS_MAX:
            return None
        return Invalid("emoji", f"a message has at most {REACTION_KINDS_MAX} different emoji")

    def add(self, account_id: AccountId, at: Millis) -> tuple[ReactionAdded, ...]:
        """Nothing happens if the account has reacted with this emoji before."""
        if self._reacted.get(account_id):
            return ()
        self._revision += 1
        self._since = self._since if self.count else self._revision
        self.count += 1
        self._reacted[account_id] = self._revision
        self._kinds.add(self._emoji)
        self._list(account_id, added=True)
        return (
            ReactionAdded(
                self._room_id,
                self._seq,
                self._emoji,
                account_id,
                at,
                self._revision,
                self.count,
                self._since,
                self._shown,
            ),
        )

    def remove(self, account_id: AccountId, at: Millis) -> tuple[ReactionRemoved, ...]:
        """Nothing happens if the account has not reacted with this emoji."""
        reacted = self._reacted.get(account_id)
        if not reacted:
            return ()
        self._revision += 1
        self.count -= 1
        self._list(account_id, added=False)
        return (
            ReactionRemoved(
                self._room_id,
                self._seq,
                self._emoji,
                account_id,
                at,
                reacted,
                self._revision,
                self.count,
                self._since,
                self._shown,
            ),
        )

    @property
    def _shown(self) -> tuple[AccountId, ...]:
        return tuple(self._accounts[:REACTION_ACCOUNTS_SHOWN])


def add_reaction(room: Room, command: AddReaction, at: Millis) -> Decision:
    reactions = _reactions_for(room, command)
    if not isinstance(reactions, MessageReactions):
        return reactions
    if (refusal := reactions.refusal()) is not None:
        return refusal
    events = reactions.add(command.by, at)
    return Decided(events, ReactionAnswer(room.room_id, command.seq, command.emoji, reactions.count))


def remove_reaction(room: Room, command: RemoveReaction, at: Millis) -> Decision:
    reactions = _reactions_for(room, command)
    if not isinstance(reactions, MessageReactions):
        return reactions
    return Decided(reactions.remove(command.by, at), Done())


def import_reactions(room: Room, command: ImportReactions, _: Millis) -> Decision:
    """Accounts that reacted need not be members (any more). A deleted message takes none."""
    if not room.imported:
        return NotAllowed("reactions can only be imported into a room that was imported")
    reactions = _reactions(room, command)
    if isinstance(reactions, MessageIsDeleted):
        return Decided((), ImportAnswer(0, len(command.imported)))
    if not isinstance(reactions, MessageReactions):
        return reactions
    if (refusal := reactions.refusal()) is not None:
        return refusal
    events = tuple(event for each in command.imported for event in reactions.add(each.account_id, each.reacted_at))
    return Decided(events, ImportAnswer(len(events), len(command.imported) - len(events)))


def _reactions_for(
    room: Room, command: AddReaction | RemoveReaction
) -> MessageReactions | NotAMember | NotJoined | ReadOnly | MessageNotFound | NotYetReadable | MessageIsDeleted:
    member = room.members.get(command.by)
    if member is None:
        return not_a_member(room, command.by)
    if member.role == "readonly":
        return ReadOnly(room.room_id)
    return _reactions(room, command)


def _reactions(
    room: Room, command: AddReaction | RemoveReaction | ImportReactions
) -> MessageReactions | MessageNotFound | NotYetReadable | MessageIsDeleted:
    """The reactions as they now stand, if the room remembers what has changed since the sender's view."""
    message = current_message(room, command)
    if not isinstance(message, Message):
        return message
    if message.deleted:
        return MessageIsDeleted(room.room_id, command.seq)
    known = command.reactions
    state = STATE.of(room)
    if known.revision < state.forgotten:
        return NotYetReadable(room.room_id, command.seq)
    return MessageReactions(room.room_id, command.seq, command.emoji, state.revision, known, state.changes)


def _added(room: Room, e: ReactionAdded) -> Room:
    change = ReactionChange(e.seq, e.emoji, e.account_id, e.revision, e.reacted_at, e.count, e.since, e.revision)
    return _with_change(room, change)


def _removed(room: Room, e: ReactionRemoved) -> Room:
    change = ReactionChange(e.seq, e.emoji, e.account_id, e.revision, e.removed_at, e.count, e.since, reacted=0)
    return _with_change(room, change)


def _with_change(room: Room, change: ReactionChange) -> Room:
    state = STATE.of(room)
    changes = (*state.changes, change)
    recent = change.at - REACTIONS_REMEMBERED_MILLIS
    dropped = max(0, len(changes) - REACTIONS_REMEMBERED_MOST)
    while len(changes) - dropped > REACTIONS_REMEMBERED_LEAST and changes[dropped].at < recent:
        dropped += 1
    forgotten = changes[dropped - 1].revision if dropped else state.forgotten
    return STATE.put(room, RoomReactions(change.revision, changes[dropped:], forgotten))


RULES: Final = {AddReaction: add_reaction, RemoveReaction: remove_reaction, ImportReactions: import_reactions}
EVOLVES: Final = {ReactionAdded: _added, ReactionRemoved: _removed}
ReactionsCommand: TypeAlias = AddReaction | RemoveReaction | ImportReactions
ReactionsEvent: TypeAlias = ReactionAdded | ReactionRemoved
FREEING: Final = (RemoveReaction,)  # taken while the disk is nearly full
