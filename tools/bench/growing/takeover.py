"""A takeover: what a partition's snapshots take to restore, in memory and time, by the rooms that there ever were."""

from __future__ import annotations

import asyncio
from typing import Final

from immutables import Map

from falcon.adapters.kafka.producer import Record
from falcon.adapters.kafka.snapshots import SnapshotRecord, pack
from falcon.domain.room import Member, Room
from falcon.write import snapshots
from tools.bench.growing.kafka import Topic
from tools.bench.growing.memory import CpuClock, resident_bytes
from tools.bench.growing.snapshots import EPOCH, counted
from tools.bench.growing.term import Bound, Figures, Term

_PARTITIONS: Final = 64
_MEMBERS: Final = 20
_CREATED: Final = 1_795_000_000_000


def measure(rooms: int) -> Figures:
    """Of a partition with so many rooms, none of which is in use."""
    return asyncio.run(_measure(rooms))


async def _measure(rooms: int) -> Figures:
    members = Map({_PARTITIONS * (1_000 + n): Member("member", 5_000 + n) for n in range(_MEMBERS)})
    data = snapshots.encode_aggregate(Room(_PARTITIONS, "group", "A room's name", "", _CREATED, members, 10_000))

    def made(offset: int) -> Record:
        kept = SnapshotRecord(EPOCH - 1, offset, snapshots.VERSION, data)
        return kept.key(f"aggregate:{_PARTITIONS * (offset + 1)}"), pack(kept)

    topic = Topic(rooms, made)
    with counted(topic) as found:
        before = resident_bytes()
        clock = CpuClock()
        await found.store.restore(0, "growth")
        seconds = clock.seconds()
        grown = resident_bytes() - before
    return {
        "MiB grown": grown / 2**20,
        "bytes a room": grown / rooms,
        "records read": topic.read,
        "µs a room": seconds / rooms * 1e6,
        "seconds": seconds,
    }


TERM: Final = Term(
    name="takeover",
    title="A takeover",
    unit="rooms",
    sizes=(10_000, 100_000, 1_000_000),
    short=(1_000, 5_000),
    measure=measure,
    bounds=(
        Bound("bytes a room", 25, at="largest", is_counted=False),
        Bound("µs a room", 40, is_counted=False),
    ),
    note=f"Rooms of {_MEMBERS} members, one record of each in the topic of snapshots; the time has the making of the "
    "records in it. Up to 16 MiB of the memory are the local file's cache, whatever its size.",
)
