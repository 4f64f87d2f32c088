"""The pins of each room, by the message's number."""

from typing import Final, NamedTuple

import msgspec

from falcon.domain.ids import ID_MAX, AccountId, RoomId, Seq
from falcon.features.catalogue import Event
from falcon.features.pins.rules import PINS_MAX, PinAdded, PinRemoved
from falcon.journal.envelope import Recorded
from falcon.read.items import DropItem, ItemQueries, Items, PutItem
from falcon.read.times import rfc3339
from falcon.read.write import Write

ITEMS: Final = Items("pins")
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(tuple[str, int, AccountId]).decode


class PinRow(NamedTuple):
    """``number``, ``seq``: the order of pins."""

    number: int
    seq: Seq
    pinned_at: str
    account_id: AccountId


TAKES: Final = (PinAdded, PinRemoved)


def project(recorded: Recorded) -> tuple[Write, ...]:
    match recorded.envelope.event:
        case PinAdded() as e:
            value = _encode((rfc3339(e.pinned_at), e.number, e.account_id))
            return (PutItem(e.room_id, _key(e.seq), value),)
        case PinRemoved() as e:
            return (DropItem(e.room_id, _key(e.seq)),)
        case _:
            return ()


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case PinAdded() | PinRemoved():
            return f"room {event.room_id} lists message {event.seq} among its pins, or not, as it was before"
        case _:
            return None


async def pins_among(store: ItemQueries, room_id: RoomId, first: Seq = 0, last: Seq = ID_MAX) -> list[PinRow]:
    """The pins of messages ``first`` to ``last``, the newest pin first. Raises ReadStoreUnavailable, BeingFilled."""
    items = await store.items(room_id, ITEMS, _key(first), _key(last), PINS_MAX)
    rows = [(_decode(item.value), int.from_bytes(item.key, "big")) for item in items]
    return sorted((PinRow(number, seq, at, by) for (at, number, by), seq in rows), reverse=True)


def _key(seq: Seq) -> bytes:
    return seq.to_bytes(8, "big")
