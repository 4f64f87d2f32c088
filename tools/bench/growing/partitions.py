"""A stream that begins, by the number of partitions: what it asks about each of them."""

from __future__ import annotations

import asyncio
from typing import Final

from falcon.adapters.hbase.schema import meta_name
from falcon.domain.events import Membership, RoomCreated
from tools.bench.growing.edge import PREFIX, Site, counted_edge
from tools.bench.growing.log import NOW
from tools.bench.growing.memory import CpuClock
from tools.bench.growing.term import Bound, Figures, Term

_ROOMS: Final = 20
_STREAMS: Final = 20


def measure(partitions: int) -> Figures:
    return asyncio.run(_measure(partitions))


async def _measure(partitions: int) -> Figures:
    site = Site(partitions)
    me = partitions
    rooms = [
        RoomCreated(partitions * 100 + n, "group", f"Room {n}", "", NOW, (Membership(me, "member"),))
        for n in range(_ROOMS)
    ]
    site.show(site.happen([*site.account(me), *rooms]))
    async with counted_edge(site) as edge, edge.stream(me):
        before = site.hbase.given[meta_name(PREFIX)]
        clock = CpuClock()
        for _ in range(_STREAMS):
            await edge.begins(me)
        seconds = clock.seconds()
        rows = site.hbase.given[meta_name(PREFIX)] - before
    return {"rows of positions": rows / _STREAMS, "CPU, ms": seconds / _STREAMS * 1e3}


TERM: Final = Term(
    name="partitions",
    title="A stream that begins, by partitions",
    unit="partitions",
    sizes=(16, 64, 256),
    short=(16, 64),
    measure=measure,
    bounds=(Bound("rows of positions", 20), Bound("CPU, ms", 20, is_counted=False)),
    note="Rows of the one region that says where the tables stand. The account has 20 rooms.",
)
