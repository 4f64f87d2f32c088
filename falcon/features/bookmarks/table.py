"""The bookmarks of each account, the newest one first."""

import struct
from typing import Final, NamedTuple

import msgspec

from falcon.domain.ids import ID_MAX, AccountId, Millis, RoomId, Seq
from falcon.features.bookmarks.rules import BookmarkRemoved, BookmarkSet
from falcon.features.catalogue import Event
from falcon.journal.envelope import Recorded
from falcon.read.items import DropItem, ItemQueries, Items, PutItem
from falcon.read.write import Write

ITEMS: Final = Items("bookmarks", "account_id")
_KEY: Final = struct.Struct(">QQQ")  # the time, counted backwards, the room and the seq
LAST: Final = b"\xff" * _KEY.size
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(str).decode


class BookmarkRow(NamedTuple):
    """``key``: its place among the account's, from which a list continues."""

    key: bytes
    room_id: RoomId
    seq: Seq
    note: str
    created_at: Millis


TAKES: Final = (BookmarkSet, BookmarkRemoved)


def project(recorded: Recorded) -> tuple[Write, ...]:
    match recorded.envelope.event:
        case BookmarkSet() as e:
            return (PutItem(e.account_id, _key(e), _encode(e.note)),)
        case BookmarkRemoved() as e:
            return (DropItem(e.account_id, _key(e)),)
        case _:
            return ()


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case BookmarkSet() | BookmarkRemoved():
            return f"account {event.account_id} has a bookmark at message {event.seq} of room {event.room_id}, or not"
        case _:
            return None


async def bookmarks_of(store: ItemQueries, account_id: AccountId, after: bytes, limit: int) -> list[BookmarkRow]:
    """The bookmarks of an account after a key, the newest one first. Raises ReadStoreUnavailable, BeingFilled."""
    items = await store.items(account_id, ITEMS, after + b"\0" if after else b"", LAST, limit)
    rows = []
    for item in items:
        backwards, room_id, seq = _KEY.unpack(item.key)
        rows.append(BookmarkRow(item.key, room_id, seq, _decode(item.value), ID_MAX - backwards))
    return rows


def _key(event: BookmarkSet | BookmarkRemoved) -> bytes:
    return _KEY.pack(ID_MAX - event.created_at, event.room_id, event.seq)
