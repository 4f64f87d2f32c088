"""Sends by many accounts: the calls of HBase that authenticating them takes."""

from __future__ import annotations

import asyncio
from typing import Final

from falcon.domain.events import Event, Membership, RoomCreated
from tools.bench.growing.edge import CountedEdge, SimulatedTime, Site, counted_edge
from tools.bench.growing.log import NOW
from tools.bench.growing.term import Bound, Figures, Term

_PARTITIONS: Final = 64
_RATE: Final = 100  # sends a second of the process
_COUNTED: Final = 2_000
_FIRST: Final = 100


def measure(accounts: int) -> Figures:
    """With so many accounts that send in turn."""
    return asyncio.run(_measure(accounts))


async def _measure(accounts: int) -> Figures:
    site = Site(_PARTITIONS)
    account_ids = [_PARTITIONS * (_FIRST + n) + n % _PARTITIONS for n in range(accounts)]
    room_id = _PARTITIONS
    events: list[Event] = [event for each in account_ids for event in site.account(each)]
    members = tuple(Membership(each, "member") for each in account_ids)
    events.append(RoomCreated(room_id, "group", "Tea kitchen", "", NOW, members))
    site.show(site.happen(events))
    with SimulatedTime() as simulated:
        async with counted_edge(site) as edge, edge.stream(account_ids[0]):
            for account_id in account_ids:
                await _send(edge, room_id, account_id)
                simulated.pass_by(1 / _RATE)
            before = site.calls
            for n in range(_COUNTED):
                await _send(edge, room_id, account_ids[n % accounts])
                simulated.pass_by(1 / _RATE)
            called = site.calls - before
    return {"HBase calls a send": called / _COUNTED}


async def _send(edge: CountedEdge, room_id: int, account_id: int) -> None:
    await edge.request(
        "POST",
        f"/v1/rooms/{room_id}/messages",
        account_id,
        b'{"text":"Is there tea?"}',
        {"content-type": "application/json"},
    )


TERM: Final = Term(
    name="tokens",
    title="A send",
    unit="accounts",
    sizes=(20, 1_000, 10_000),
    short=(20, 200),
    measure=measure,
    bounds=(Bound("HBase calls a send", 0.05),),
    note=f"{_RATE} sends a second at one process, of each account in turn, by simulated time, after each account has "
    "sent once. One account listens. A look each second at which tables are live is among the calls.",
)
