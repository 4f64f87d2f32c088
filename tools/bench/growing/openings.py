"""Streams that begin while the feed remembers many records: how many of them each looks at."""

from __future__ import annotations

import asyncio
from typing import Final

from falcon.domain.events import MemberJoined, Membership, MessagePosted, RoomCreated
from falcon.domain.message import Message
from falcon.journal import codec
from falcon.journal.envelope import Envelope
from tools.bench.growing.edge import CountedEdge, Site, counted_edge
from tools.bench.growing.log import EPOCH, NOW
from tools.bench.growing.memory import CpuClock
from tools.bench.growing.term import Bound, Figures, Term

_PARTITIONS: Final = 64
_ME: Final = _PARTITIONS
_OTHER: Final = 2 * _PARTITIONS
_ROOMS: Final = 20
_FIRST_ROOM: Final = _PARTITIONS * 1_000
_OTHERS_ROOM: Final = _PARTITIONS * 100_000
_JOINS: Final = 100  # one of so many events is about a member


def measure(events: int) -> Figures:
    """So many events of other rooms after the client's token, or after what the tables show."""
    return asyncio.run(_measure(events))


async def _measure(events: int) -> Figures:
    resumed, name, resumed_ms = await _looked_at(events, is_shown=True)
    begun, _, begun_ms = await _looked_at(events, is_shown=False)
    return {
        "records that a resumed stream looks at": resumed,
        "CPU of it, ms": resumed_ms,
        "told to catch up": float(name == "catch_up"),
        "records that a new stream looks at, tables behind": begun,
        "CPU of that, ms": begun_ms,
    }


async def _looked_at(events: int, *, is_shown: bool) -> tuple[int, str, float]:
    """The records that an opening looks at, the name of its first event, and its CPU in ms."""
    site = _site()
    async with counted_edge(site) as edge, edge.stream(_OTHER):
        token = (await edge.begins(_ME)).id
        _happen(site, events)
        if is_shown:
            site.show(())
        await site.log.all_read()
        return await _open(edge, token if is_shown else "")


async def _open(edge: CountedEdge, resume: str) -> tuple[int, str, float]:
    log = edge.site.log
    log.begin_turn()
    clock = CpuClock()
    begun = await edge.begins(_ME, resume)
    return log.looked_at, begun.name, clock.seconds() * 1e3


def _site() -> Site:
    site = Site(_PARTITIONS)
    members = (Membership(_ME, "member"),)
    rooms = [RoomCreated(_FIRST_ROOM + n, "group", f"Room {n}", "", NOW, members) for n in range(_ROOMS)]
    site.show(site.happen([*site.account(_ME), *site.account(_OTHER), *rooms]))
    return site


def _happen(site: Site, events: int) -> None:
    """A message in each of the account's rooms, and events of rooms that no stream here is in."""
    site.happen(MessagePosted(Message(_FIRST_ROOM + n, 1, _ME, "Is there tea?", NOW)) for n in range(_ROOMS))
    posted = [
        codec.encode(_envelope(n, MessagePosted(Message(_OTHERS_ROOM + n, 2, 9, "x" * 100, NOW))))
        for n in range(_PARTITIONS)
    ]
    joined = [codec.encode(_envelope(n, MemberJoined(_OTHERS_ROOM + n, 9, "member", 0))) for n in range(_PARTITIONS)]
    for n in range(events):
        kinds = joined if n % _JOINS == 0 else posted
        site.log.append(n % _PARTITIONS, kinds[n % _PARTITIONS])


def _envelope(partition: int, event: MessagePosted | MemberJoined) -> Envelope:
    return Envelope(partition, EPOCH, 0, NOW, event)


TERM: Final = Term(
    name="openings",
    title="Opening a stream",
    unit="events of others",
    sizes=(1_000, 20_000, 600_000),
    short=(200, 2_000),
    measure=measure,
    bounds=(
        Bound("records that a resumed stream looks at", 500),
        Bound("told to catch up", 0),
        Bound("records that a new stream looks at, tables behind", 500),
        Bound("CPU of it, ms", 100, is_counted=False),
    ),
    note="600,000 events are ten minutes at 1,000 a second. One of 100 events is about a member. A stream that is "
    "*told to catch up* (1) does not get what it missed: its client asks for pages.",
)
