"""The begin of a stream: the calls of HBase, by the rooms of its account."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple
from unittest.mock import patch

from falcon.adapters.hbase import read_store
from falcon.domain.catalogue import Event
from falcon.domain.events import (
    Membership,
    MessagePosted,
    RoomCreated,
)
from falcon.domain.message import Message
from falcon.streams import revocations
from tools.bench.growing.edge import CountedEdge, Site, counted_edge
from tools.bench.growing.log import NOW
from tools.bench.growing.memory import CpuClock
from tools.bench.growing.term import Bound, Figures, Term

PARTITIONS: Final = 64
ME: Final = PARTITIONS
_PEERS: Final = PARTITIONS * 1_000
_ROOMS: Final = PARTITIONS * 100_000
_BEGINNINGS: Final = 5


def member_of(rooms: int) -> Site:
    """An account in so many rooms with a message in each; half of the rooms are direct."""
    site = Site(PARTITIONS)
    events = [*site.account(ME), *_rooms(site, rooms)]
    site.show(site.happen(events))
    return site


def _rooms(site: Site, rooms: int) -> Iterator[Event]:
    for n in range(rooms):
        room_id, peer = _ROOMS + n, _PEERS + n
        yield from site.account(peer)
        members = (Membership(ME, "member"), Membership(peer, "member"))
        yield RoomCreated(room_id, "direct" if n % 2 else "group", "" if n % 2 else f"Room {n}", "", NOW + n, members)
        yield MessagePosted(Message(room_id, 1, peer, "Is there tea?", NOW + n))


def measure(rooms: int) -> Figures:
    return asyncio.run(_measure(rooms))


async def _measure(rooms: int) -> Figures:
    site = member_of(rooms)
    # Once a second the store first looks up which tables are live, and a token is looked up if the log was not read to
    # its end within a second. On a busy machine each opening would count that.
    with (
        patch.object(read_store, "_GENERATIONS_SECONDS", 3_600.0),
        patch.object(revocations, "_FRESH_SECONDS", 3_600.0),
    ):
        async with counted_edge(site) as edge:
            await edge.begins(ME)  # from here on the process knows what it looks up once
            again = min([await _cost(edge) for _ in range(_BEGINNINGS)])
        async with counted_edge(site) as edge:
            calls = site.calls
            await edge.begins(ME)
            first = site.calls - calls
    return {
        "HBase calls": again.calls,
        "rows": again.rows,
        "CPU, ms": again.seconds * 1e3,
        "HBase calls in a new process": first,
    }


class _Cost(NamedTuple):
    calls: int
    rows: int
    seconds: float


async def _cost(edge: CountedEdge) -> _Cost:
    site = edge.site
    calls, rows = site.calls, site.rows
    clock = CpuClock()
    await edge.begins(ME)
    return _Cost(site.calls - calls, site.rows - rows, clock.seconds())


TERM: Final = Term(
    name="hello",
    title="A stream that begins",
    unit="rooms",
    sizes=(20, 1_000, 10_000),
    short=(20, 150),
    measure=measure,
    bounds=(
        Bound("HBase calls", 4),
        Bound("HBase calls in a new process", 30),
    ),
    note="With a hello of the account's rooms, half of which are direct. The cheapest of several that begin one after "
    "another. The fake HBase's own CPU is in the time. A scan is one call.",
)
