"""A takeover: what a partition's snapshots take to restore, in memory and time, by the rooms that there ever were."""

from __future__ import annotations

import asyncio
from typing import Final

from falcon.adapters.kafka.producer import Record
from falcon.domain.room import Member, Room, members_of
from falcon.write import snapshots
from tools.bench.growing.checkpoints import checkpoint
from tools.bench.growing.kafka import Topic
from tools.bench.growing.log import NOW
from tools.bench.growing.memory import CpuClock, resident_bytes
from tools.bench.growing.snapshots import PARTITION, counted, take_over
from tools.bench.growing.term import Bound, Figures, Term

_PARTITIONS: Final = 64
_MEMBERS: Final = 20
_NAME: Final = f"aggregate:{_PARTITIONS}"


def measure(rooms: int) -> Figures:
    """Of a partition with so many rooms, none of which is in use."""
    return asyncio.run(_measure(rooms))


async def _measure(rooms: int) -> Figures:
    (key, value), name = await _snapshot(), _NAME.encode()

    def made(offset: int) -> Record:
        return key.replace(name, f"aggregate:{_PARTITIONS * (offset + 1)}".encode()), b"".join([value[:1], value[1:]])

    topic = Topic(rooms, made)
    with counted(topic) as found:
        before = resident_bytes()
        clock = CpuClock()
        await found.store.restore(PARTITION, "growth")
        seconds = clock.seconds()
        grown = resident_bytes() - before
    return {
        "MiB grown": grown / 2**20,
        "bytes a room": grown / rooms,
        "records read": topic.read,
        "µs a room": seconds / rooms * 1e6,
        "seconds": seconds,
    }


async def _snapshot() -> tuple[bytes, bytes]:
    """Key and value of a room's record, as a checkpoint writes it."""
    members = members_of((_PARTITIONS * (1_000 + n), Member("member", 5_000 + n)) for n in range(_MEMBERS))
    room = Room(_PARTITIONS, "group", "A room's name", "", NOW, members, 10_000)
    topic = Topic()
    with counted(topic) as found:
        await take_over(found)
        saved = checkpoint(1, 10.0, b"")
        saved.snapshots = [(_NAME, snapshots.encode_aggregate(room))]
        await found.store.save(saved)
    return next((key, value) for key, value in topic.written if key and value and _NAME.encode() in key)


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
    note=f"Rooms of {_MEMBERS} members, one record of each in the topic of snapshots. The time includes making the "
    "records. Up to 16 MiB of the memory are the local file's cache, whatever its size.",
)
