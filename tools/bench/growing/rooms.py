"""A large room: what one read mark in it costs at the next checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from falcon.domain.catalogue import Event
from falcon.domain.commands import MoveRead, PostMessage
from falcon.domain.events import (
    MemberJoined,
    Membership,
    RoomCreated,
)
from tools.bench.growing.aggregates import PARTITIONS, Owned
from tools.bench.growing.log import NOW
from tools.bench.growing.term import Bound, Figures, Term

_ROOM: Final = PARTITIONS
_FIRST: Final = PARTITIONS * 1_000


def measure(members: int) -> Figures:
    owned = Owned(_events(members))
    owned.does(PostMessage(_FIRST, _ROOM, "Is there tea?"), _FIRST)
    whole = owned.saves()
    reader = _FIRST + PARTITIONS
    owned.does(MoveRead(reader, _ROOM, 1, False, 0), reader)
    saved = owned.saves()
    return {
        "bytes after one read mark": saved.bytes,
        "CPU of it, ms": saved.seconds * 1e3,
        "bytes of all": whole.bytes,
        "bytes of the largest snapshot": whole.largest,
    }


def _events(members: int) -> Iterator[Event]:
    yield RoomCreated(_ROOM, "group", "A large room", "", NOW, (Membership(_FIRST, "admin"),))
    for n in range(1, members):
        yield MemberJoined(_ROOM, _FIRST + PARTITIONS * n, "member", 0)


TERM: Final = Term(
    name="rooms",
    title="A room's checkpoint",
    unit="members",
    sizes=(20, 1_000, 10_000, 100_000),
    short=(20, 1_000),
    measure=measure,
    bounds=(
        Bound("bytes after one read mark", 8 << 10),
        Bound("bytes of the largest snapshot", 1 << 20),
        Bound("CPU of it, ms", 2, is_counted=False),
    ),
    note="The checkpoint's snapshots after all members have joined and one has posted, and then after one read mark.",
)
