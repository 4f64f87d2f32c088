"""GET /v1/rooms: the calls of HBase for a page of 50, by the rooms of the account."""

from __future__ import annotations

import asyncio
from typing import Final

from tools.bench.growing.edge import counted_edge
from tools.bench.growing.hello import ME, member_of
from tools.bench.growing.memory import CpuClock
from tools.bench.growing.term import Bound, Figures, Term

_PATH: Final = "/v1/rooms?limit=50"


def measure(rooms: int) -> Figures:
    return asyncio.run(_measure(rooms))


async def _measure(rooms: int) -> Figures:
    site = member_of(rooms)
    async with counted_edge(site) as edge:
        calls = site.calls
        await edge.request("GET", _PATH, ME)
        first = site.calls - calls
        calls, rows = site.calls, site.rows
        clock = CpuClock()
        await edge.request("GET", _PATH, ME)
        seconds = clock.seconds()
    return {
        "HBase calls": site.calls - calls,
        "rows": site.rows - rows,
        "CPU, ms": seconds * 1e3,
        "HBase calls of the first": first,
    }


TERM: Final = Term(
    name="room_list",
    title="A page of the room list",
    unit="rooms",
    sizes=(20, 1_000, 10_000),
    short=(20, 150),
    measure=measure,
    bounds=(Bound("HBase calls", 10), Bound("rows", 700), Bound("HBase calls of the first", 60)),
    note="The first page of 50, asked for a second time, and before that the first page that a process is asked for.",
)
