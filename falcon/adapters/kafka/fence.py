"""The epoch fence: one writer a partition, decided by the log alone.

A record is a head (epoch, n) and a body. Read from its start, a partition means:

- a marker at offset o opens the epoch o + 1, with n = 0;
- an event is valid if its epoch is the open one and its n the number of valid events since the marker; then n grows;
- all else is void: written by a deposed owner, or twice, or after a hole. Every reader skips it.

The verdict on a record rests only on records before it, and what is committed never changes, so that all readers agree
for ever. No clock, lease, group or broker's deduplication is relied on.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from falcon.journal.envelope import Position
from falcon.streams.starts import NO_START

_HEAD: Final = struct.Struct(">qq")
_NO_EPOCH: Final = 0  # of a marker; no epoch has this number, since the first possible one is 1

RECORD_OVERHEAD: Final = _HEAD.size + 32  # bytes around a body and a key, at most


def marker(owner: str, number: int = NO_START) -> bytes:
    """The record that deposes the owners before it. ``owner`` is for people who read the log. ``number``: of the start
    (``falcon.streams.starts``) that it is."""
    return _HEAD.pack(_NO_EPOCH, number) + owner.encode()


def number_of(value: bytes) -> int:
    """The number of the start that a marker is. Earlier versions wrote NO_START."""
    return int(_HEAD.unpack_from(value)[1])


def opened_by(marker_offset: int) -> Position:
    """The position of a reader after a marker."""
    return Position(marker_offset + 1, marker_offset + 1, 0)


def event(epoch: int, n: int, body: bytes) -> bytes:
    return _HEAD.pack(epoch, n) + body


def judge(at: Position, value: bytes) -> tuple[Position, bytes | None]:
    """The position after the record that stands at ``at``, and its body if it is a valid event."""
    if len(value) >= _HEAD.size:
        epoch, n = _HEAD.unpack_from(value)
        if epoch == _NO_EPOCH:
            return opened_by(at.offset), None
        if epoch == at.epoch and n == at.n:
            return Position(at.offset + 1, epoch, n + 1), value[_HEAD.size :]
    return Position(at.offset + 1, at.epoch, at.n), None


class Witness(NamedTuple):
    """An event that proves a reader's position, if it is valid: epoch ``epoch`` has ``n`` events before ``offset``."""

    offset: int
    epoch: int
    n: int

    @property
    def void(self) -> int:
        """The number of records between the epoch's marker and this event that must be void."""
        return self.offset - self.epoch - self.n


def position_after(records: Sequence[tuple[int, bytes]]) -> Position | None:
    """The position after the last of these records, which follow one another.

    None if they do not prove it: the partition's first record or a marker must be among them.
    """
    position = Position() if records and records[0][0] == 0 else None
    for offset, value in records:
        if _head(value)[0] == _NO_EPOCH:
            position = opened_by(offset)
        elif position is not None:
            position, _ = judge(position, value)
    return position


def witness_among(records: Sequence[tuple[int, bytes]]) -> Witness | None:
    """The event to examine if the records themselves prove nothing. It has the highest epoch, since the owner of a
    lower one has been deposed. It has the fewest void records before it, since a second copy has more of them than the
    first."""
    events = [Witness(offset, *_head(value)) for offset, value in records]
    possible = [each for each in events if each.epoch > _NO_EPOCH and each.n >= 0 and each.void >= 0]
    return max(possible, key=lambda each: (each.epoch, -each.void, each.offset), default=None)


class Examination:
    """Finds out whether a witness is valid from the first records of its epoch: few, however long the epoch is.

    A writer sends a batch only once it knows that the one before is written. So the first copies of an epoch's events
    stand in the log in order and without a hole, and n of them stand before event number n. Of the records between the
    marker and the witness, n are these first copies, and the others are void or another marker. Count the others from
    the marker on. Once all of them have been found, and no marker among them, each of the records that are left is a
    first copy: none of them can be a marker, and the witness is the next one. A second copy of an event never passes:
    its first copy takes a place among the records before it, so that there are fewer void ones than it would need.
    """

    def __init__(self, witness: Witness, begun: Position | None = None) -> None:
        """``begun``: a position that an earlier examination of this epoch has reached."""
        self._witness = witness
        self._at: Position | None = None
        if begun is not None and begun.epoch == witness.epoch and self._is_before(begun):
            self._at = begun

    @property
    def next(self) -> int:
        """The offset of the record to pass to :meth:`look_at` next. The first one is the marker."""
        return self._witness.epoch - 1 if self._at is None else self._at.offset

    @property
    def reached(self) -> Position:
        """If the verdict is True: a position in the epoch from which a later examination may start."""
        assert self._at is not None
        return self._at

    @property
    def verdict(self) -> bool | None:
        """None until enough records have been examined."""
        if self._at is None:
            return None
        if self._at.epoch != self._witness.epoch or not self._is_before(self._at):
            return False
        return True if _void(self._at) == self._witness.void else None

    def look_at(self, value: bytes) -> None:
        if self._at is not None:
            self._at, _ = judge(self._at, value)
        elif _head(value)[0] == _NO_EPOCH:
            self._at = opened_by(self.next)
        else:  # no epoch begins there
            self._at = Position(self.next + 1)

    def _is_before(self, position: Position) -> bool:
        return position.offset <= self._witness.offset and _void(position) <= self._witness.void


def position_from(witness: Witness, records: Iterable[tuple[int, bytes]]) -> Position:
    """The position after the last of the records, which contain a valid witness."""
    position = Position(witness.offset + 1, witness.epoch, witness.n + 1)
    for offset, value in records:
        if offset > witness.offset:
            position, _ = judge(position, value)
    return position


def _head(value: bytes) -> tuple[int, int]:
    """The epoch and n of a record. The epoch of a record that is not Falcon's is one that no marker opens."""
    epoch, n = _HEAD.unpack_from(value) if len(value) >= _HEAD.size else (-1, 0)
    return epoch, n


def _void(position: Position) -> int:
    """The number of void records of its epoch before it."""
    return position.offset - position.epoch - position.n


def belongs(position: Position, before: Sequence[tuple[int, bytes]]) -> bool | None:
    """True if a reader may stand at ``position`` after these records, which end right before it. None if records
    further back are needed to tell. The caller must also check that the epoch's marker stands where it must."""
    for offset, value in reversed(before):
        epoch, n = _HEAD.unpack_from(value) if len(value) >= _HEAD.size else (-1, 0)
        if epoch == _NO_EPOCH:
            return position == Position(position.offset, *opened_by(offset)[1:])
        if epoch == position.epoch and n in (position.n - 1, position.n):
            return bool(n < position.n)  # otherwise a reader would already stand after that event
    return None


def is_marker(value: bytes) -> bool:
    return len(value) >= _HEAD.size and _HEAD.unpack_from(value)[0] == _NO_EPOCH
