"""The threads that messages show, by the message's number. Number 0 has the count of the threads of a room.

Events have what is shown as it now stands, so it is written and never counted. A page asks only in rooms whose row says
that they have threads.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.catalogue import Event
from falcon.features.threads.rules import ThreadChanged, ThreadStarted
from falcon.journal.envelope import Recorded
from falcon.read.items import ItemQueries, Items, PutItem, SealItem
from falcon.read.times import rfc3339
from falcon.read.write import Write

ITEMS: Final = Items("threads")
TAKES: Final = (ThreadStarted, ThreadChanged)
_PAGE: Final = 200  # messages; each has one thread


class ShownThread(msgspec.Struct, frozen=True):
    """A message's thread, as the message shows it."""

    room_id: RoomId
    last_seq: Seq = 0
    last_at: str | None = None
    participants: tuple[AccountId, ...] = ()


class KnownThread(NamedTuple):
    """A message's thread, once ``number`` starts of the room had been applied."""

    thread_id: RoomId | None
    number: int


_encode: Final = msgspec.json.Encoder().encode
_shown_in: Final = msgspec.json.Decoder(ShownThread).decode


def project(recorded: Recorded) -> tuple[Write, ...]:
    match recorded.envelope.event:
        case ThreadStarted() as e:
            shown = PutItem(e.room_id, _key(e.seq), _encode(ShownThread(e.thread_id)))
            return shown, SealItem(e.room_id, _key(0), b"%d" % e.number)
        case ThreadChanged() as e:
            thread = ShownThread(e.thread_id, e.last_seq, rfc3339(e.last_at), e.participants)
            return (PutItem(e.room_id, _key(e.seq), _encode(thread)),)
        case _:
            return ()


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case ThreadStarted():
            return f"message {event.seq} of room {event.room_id} shows no thread until a message is sent there"
        case ThreadChanged():
            return f"message {event.seq} of room {event.room_id} shows its thread as it was before"
        case _:
            return None


async def shown_threads(store: ItemQueries, room_id: RoomId, first: Seq, last: Seq) -> dict[Seq, bytes]:
    """The JSON that messages ``first`` to ``last``, 200 at most, show of their threads, for those with one. Raises
    ReadStoreUnavailable, BeingFilled."""
    items = await store.items(room_id, ITEMS, _key(max(first, 1)), _key(last), _PAGE)
    return {int.from_bytes(item.key, "big"): item.value for item in items}


async def shown_threads_of(store: ItemQueries, room_id: RoomId, seqs: Collection[Seq]) -> dict[Seq, bytes]:
    """Like :func:`shown_threads`, of any messages."""
    found: dict[Seq, bytes] = {}
    for seq in seqs:
        found |= await shown_threads(store, room_id, seq, seq)
    return found


async def known_thread(store: ItemQueries, room_id: RoomId, seq: Seq) -> KnownThread:
    """Raises ReadStoreUnavailable, BeingFilled."""
    # The number first: what is read after it is at least as new.
    number = await store.items(room_id, ITEMS, _key(0), _key(0), 1)
    shown = (await shown_threads(store, room_id, seq, seq)).get(seq)
    return KnownThread(None if shown is None else _shown_in(shown).room_id, int(number[0].value) if number else 0)


def _key(seq: Seq) -> bytes:
    return seq.to_bytes(8, "big")
