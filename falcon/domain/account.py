"""The state of an account, and how events change it."""

from collections.abc import Iterable
from typing import assert_never

import msgspec
from immutables import Map
from msgspec.structs import replace

from falcon.domain import limits
from falcon.domain.events import AccountCreated, AccountEvent, DirectRoomOpened, TokenIssued, TokenRevoked
from falcon.domain.ids import AccountId, RoomId
from falcon.domain.parted_map import IdMap, id_map, with_entry


def directs_of(entries: Iterable[tuple[AccountId, RoomId]] = ()) -> "IdMap[RoomId]":
    return id_map(limits.DIRECTS_IN_PART, entries)


class Account(msgspec.Struct, frozen=True):
    """``directs``: peer to room, for the pairs in which this account has the smaller id."""

    account_id: AccountId
    name: str
    is_admin: bool
    tokens: "Map[int, str]" = Map()
    tokens_issued: int = 0
    directs: "IdMap[RoomId]" = msgspec.field(default_factory=directs_of)


def evolve(account: Account | None, event: AccountEvent) -> Account:
    """The account after the event. Never refuses."""
    if isinstance(event, AccountCreated):
        return Account(event.account_id, event.name, event.is_admin)
    assert account is not None, f"{event} came before its account was created"
    match event:
        case TokenIssued(token_id=token_id, token_hash=token_hash):
            tokens = account.tokens.set(token_id, token_hash)
            return replace(account, tokens=tokens, tokens_issued=token_id)
        case TokenRevoked(token_id=token_id):
            return replace(account, tokens=account.tokens.delete(token_id))
        case DirectRoomOpened(peer=peer, room_id=room_id):
            directs = with_entry(account.directs, limits.DIRECTS_IN_PART, peer, room_id)
            return replace(account, directs=directs)
        case _:
            assert_never(event)
