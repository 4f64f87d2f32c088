"""A change of a room's reactions, as the room remembers it."""

import msgspec

from falcon.domain.ids import AccountId, Millis, Seq


class ReactionChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A reaction that was added or removed. ``reacted``: the revision of the account's reaction; 0 if it was
    removed."""

    seq: Seq
    emoji: str
    account_id: AccountId
    revision: int
    at: Millis
    count: int
    since: int
    reacted: int
