"""A read that waits for its own write: the calls of HBase, by the time that the tables are behind."""

from __future__ import annotations

import asyncio
from typing import Final

from falcon.domain.events import Membership, RoomCreated
from falcon.journal.envelope import Envelope
from tools.bench.growing.edge import CountedEdge, Site, counted_edge
from tools.bench.growing.log import NOW
from tools.bench.growing.term import Bound, Figures, Term

_PARTITIONS: Final = 64
_ME: Final = _PARTITIONS
_ROOM: Final = _PARTITIONS * 100
_READS: Final = 20
_PATH: Final = f"/v1/rooms/{_ROOM}/messages"
_JSON: Final = {"content-type": "application/json"}


def measure(milliseconds: int) -> Figures:
    """The tables show each message so long after it was acknowledged."""
    return asyncio.run(_measure(milliseconds))


async def _measure(milliseconds: int) -> Figures:
    site = Site(_PARTITIONS)
    room = RoomCreated(_ROOM, "group", "Tea kitchen", "", NOW, (Membership(_ME, "member"),))
    site.show(site.happen([*site.account(_ME), room]))
    async with counted_edge(site) as edge, edge.stream(_ME):
        await edge.request("GET", _PATH, _ME)
        called = plain = 0
        for _ in range(_READS):
            _, happened = await _sent(edge)
            site.show(happened)
            plain += await _calls_of_read(edge, {})
            position, happened = await _sent(edge)
            asyncio.get_running_loop().call_later(milliseconds / 1_000, site.show, happened)
            called += await _calls_of_read(edge, {"falcon-position": position})
    return {"HBase calls of a read": plain / _READS, "HBase calls more with a position": (called - plain) / _READS}


async def _sent(edge: CountedEdge) -> tuple[str, list[Envelope]]:
    """The position of a message that was sent, and what the tables do not show yet."""
    happened: list[Envelope] = []
    edge.owners.happened = happened.append
    answer = await edge.request("POST", _PATH, _ME, b'{"text":"Is there tea?"}', _JSON)
    return answer["falcon-position"], happened


async def _calls_of_read(edge: CountedEdge, headers: dict[str, str]) -> int:
    before = edge.site.calls
    await edge.request("GET", _PATH, _ME, headers=headers)
    return edge.site.calls - before


TERM: Final = Term(
    name="positions",
    title="A read of one's own write",
    unit="ms that the tables are behind",
    sizes=(1, 50, 500),
    short=(1, 30),
    measure=measure,
    bounds=(Bound("HBase calls more with a position", 0.5),),
    note="A page of messages with the position of a message that was just sent, and how many calls more it takes than "
    "a page with a new message takes without one.",
)
