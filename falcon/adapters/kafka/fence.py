"""The epoch fence: one writer a partition, decided by the log alone.

A record is a head (epoch, n) and a body. Read from its start, a partition means:

- a marker at offset o opens the epoch o + 1, with n = 0;
- an event is valid if its epoch is the open one and its n the number of valid events since the marker; then n grows;
- all else is void: written by a deposed owner, or twice, or behind a hole. Everybody skips it.

The verdict on a record rests only on records before it, and what is committed never changes, so that all readers agree
for ever. No clock, lease, group or broker's deduplication is relied on.
"""

import struct
from collections.abc import Sequence
from typing import Final

from falcon.journal.envelope import Position

_HEAD: Final = struct.Struct(">qq")
_KEY: Final = struct.Struct(">q")
_NO_EPOCH: Final = 0  # of a marker; no epoch has this number, since the first possible one is 1

RECORD_OVERHEAD: Final = _HEAD.size + _KEY.size + 32  # bytes around a body, at most


def marker(owner: str) -> bytes:
    """The record that deposes whoever wrote before it. ``owner`` is for people."""
    return _HEAD.pack(_NO_EPOCH, 0) + owner.encode()


def opened_by(marker_offset: int) -> Position:
    """Where a reader stands behind a marker."""
    return Position(marker_offset + 1, marker_offset + 1, 0)


def event(epoch: int, n: int, body: bytes) -> bytes:
    return _HEAD.pack(epoch, n) + body


def judge(at: Position, value: bytes) -> tuple[Position, bytes | None]:
    """The position behind the record that stands at ``at``, and its body if it is a valid event."""
    if len(value) >= _HEAD.size:
        epoch, n = _HEAD.unpack_from(value)
        if epoch == _NO_EPOCH:
            return opened_by(at.offset), None
        if epoch == at.epoch and n == at.n:
            return Position(at.offset + 1, epoch, n + 1), value[_HEAD.size :]
    return Position(at.offset + 1, at.epoch, at.n), None


def key(aggregate_id: int) -> bytes:
    """A record's key, so that readers can pass over what they do not want without decoding it."""
    return _KEY.pack(aggregate_id)


def standing_behind(records: Sequence[tuple[int, bytes]]) -> Position | None:
    """Where a reader stands behind the last of these records, which follow one another; None where none of them tells.

    A marker among them tells it exactly. Without one they are all of one epoch's time, which is the highest that any of
    them names, since who was deposed has a lower one; and where its events stand, the numbers say.
    """
    position = Position() if records and records[0][0] == 0 else None
    epochs = [_HEAD.unpack_from(value)[0] for _, value in records if len(value) >= _HEAD.size]
    highest = max(epochs, default=_NO_EPOCH)
    for offset, value in records:
        epoch, n = _HEAD.unpack_from(value) if len(value) >= _HEAD.size else (-1, 0)
        if epoch == _NO_EPOCH:
            position = opened_by(offset)
        elif position is not None:
            position, _ = judge(Position(offset, position.epoch, position.n), value)
        elif epoch == highest and _NO_EPOCH not in epochs[: epochs.index(highest)]:
            position = Position(offset + 1, epoch, n + 1)
    return position


def aggregate_of_key(key: bytes | None) -> int:
    """The inverse of ``key``; 0 for none."""
    return _KEY.unpack(key)[0] if key is not None and len(key) == _KEY.size else 0


def belongs(position: Position, before: Sequence[tuple[int, bytes]]) -> bool | None:
    """Whether a reader may stand at ``position`` behind these records, which end right before it; None where records
    further back are needed to tell. Whether the epoch's marker stands where it must is to be looked at besides."""
    for offset, value in reversed(before):
        epoch, n = _HEAD.unpack_from(value) if len(value) >= _HEAD.size else (-1, 0)
        if epoch == _NO_EPOCH:
            return position == Position(position.offset, *opened_by(offset)[1:])
        if epoch == position.epoch and n in (position.n - 1, position.n):
            return bool(n < position.n)  # else a reader would stand behind that event
    return None


def is_marker(value: bytes) -> bool:
    return len(value) >= _HEAD.size and _HEAD.unpack_from(value)[0] == _NO_EPOCH
