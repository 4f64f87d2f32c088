"""Read marks of one account in one room: the web client has one under way, and other clients may have several."""

from __future__ import annotations

import asyncio
from typing import Final

from falcon.domain.events import Membership, MessagePosted, RoomCreated
from falcon.domain.message import Message
from tools.bench.growing.edge import Site, counted_edge
from tools.bench.growing.log import NOW
from tools.bench.growing.term import Bound, Figures, Term

_PARTITIONS: Final = 64
_ME: Final = _PARTITIONS
_ROOM: Final = _PARTITIONS * 100
_DURABLE_SECONDS: Final = 0.02


def measure(marks: int) -> Figures:
    """So many come while the first one is on its way."""
    return asyncio.run(_measure(marks))


async def _measure(marks: int) -> Figures:
    site = Site(_PARTITIONS)
    room = RoomCreated(_ROOM, "group", "Tea kitchen", "", NOW, (Membership(_ME, "member"),))
    messages = (MessagePosted(Message(_ROOM, seq, _ME, "Is there tea?", NOW)) for seq in range(1, marks + 2))
    site.show(site.happen([*site.account(_ME), room, *messages]))
    async with counted_edge(site) as edge, edge.stream(_ME):
        edge.owners.seconds = _DURABLE_SECONDS

        async def mark(seq: int) -> None:
            body = b'{"seq":%d}' % seq
            await edge.request("PUT", f"/v1/rooms/{_ROOM}/read", _ME, body, {"content-type": "application/json"})

        await mark(1)
        before = site.calls
        await asyncio.gather(*(mark(seq) for seq in range(2, marks + 2)))
    return {"HBase calls a mark": (site.calls - before) / marks}


TERM: Final = Term(
    name="read_marks",
    title="Read marks",
    unit="marks at once",
    sizes=(1, 10, 100),
    short=(1, 10),
    measure=measure,
    bounds=(Bound("HBase calls a mark", 0.5),),
    note="The account's token was looked up just before.",
)
