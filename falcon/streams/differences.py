"""Offsets that are close to others, one for each segment, in few bytes.

Most differences lie within a narrow range, so each segment has a field of a few bits for its place in that range. The
few others follow as a list, each with the number of segments since the one before. A list alone, with fields of no
bits, is shortest for many segments of which few have moved.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import sub
from typing import Final

from falcon.streams.varints import Malformed, read_varint, varint

_WIDTHS: Final = range(9)  # of a field, in bits
_ORDER_MAX: Final = 15  # gaps of 32,768 segments, more than a log has partitions
_ZEROS_MAX: Final = 62  # no offset has more bits
_PATIENCE: Final = 8  # so many moves may end outside of the range before another one is looked for


class Differences:
    """The differences of ``offsets`` to ``zeros``, kept up to date: a move costs the same however many segments there
    are."""

    def __init__(self, zeros: Sequence[int], offsets: Sequence[int]) -> None:
        self._zeros = list(zeros)
        self._offsets = list(offsets)
        self._width, self._least = 0, 0
        self._patience = self._misses = _PATIENCE
        self._pack()

    def move(self, segment: int, offset: int) -> None:
        self._offsets[segment] = offset
        value = offset - self._zeros[segment] - self._least
        if 0 <= value < self._span:
            self._set_field(segment, value)
            self._others.pop(segment, None)
            return
        self._set_field(segment, 0)
        self._others[segment] = _unsigned(value, self._span) + 1
        self._misses -= 1
        if self._misses < 0:
            self._pack()

    def count_from(self, segment: int, zero: int) -> None:
        """Count the segment's difference from this offset."""
        self._zeros[segment] = zero
        self.move(segment, self._offsets[segment])

    def offset(self, segment: int) -> int:
        return self._offsets[segment]

    def zero(self, segment: int) -> int:
        """The offset that the segment's difference is to."""
        return self._zeros[segment]

    def encoded(self) -> bytes:
        bits, size, others = self._fields, self._width * len(self._offsets), self._others
        order = _order(len(self._offsets), len(others)) if others else 0
        least_gap, segment = 1 << order, 0
        for other in sorted(others):
            gap, value = other - segment + least_gap, others[other]
            gap_size, value_size = 2 * gap.bit_length() - 1 - order, 2 * value.bit_length() - 1
            bits = (bits << gap_size | gap) << value_size | value
            size += gap_size + value_size
            segment = other + 1
        padding = -size % 8
        head = bytes((self._width << 4 | order,)) + self._least_encoded
        return head + (bits << padding).to_bytes((size + padding) // 8)

    def _set_field(self, segment: int, value: int) -> None:
        before = self._field[segment]
        if before != value:
            self._field[segment] = value
            self._fields += (value - before) << self._width * segment

    def _pack(self) -> None:
        """Choose the range that makes the fewest bytes."""
        differences = list(map(sub, self._offsets, self._zeros))
        before = self._width, self._least
        self._width, self._least = _range_of(differences)
        # The same range again and again: it is the best one, and a few segments are always outside.
        self._patience = 2 * self._patience if before == (self._width, self._least) else _PATIENCE
        self._misses = self._patience
        self._span = 1 << self._width
        self._least_encoded = varint(_unsigned(self._least, 0))
        self._field = [0] * len(differences)
        self._others: dict[int, int] = {}
        self._fields = 0
        for segment, difference in enumerate(differences):
            value = difference - self._least
            if 0 <= value < self._span:
                self._set_field(segment, value)
            else:
                self._others[segment] = _unsigned(value, self._span) + 1


def read(data: bytes, zeros: Sequence[int]) -> list[int]:
    """The offsets. Raises Malformed."""
    if not data:
        raise Malformed("there is nothing")
    width, order = data[0] >> 4, data[0] & 15
    unsigned, at = read_varint(data, 1)
    least, size, span = _signed(unsigned, 0), width * len(zeros), 1 << width
    bits = "".join(f"{byte:08b}" for byte in data[at:])
    if len(bits) < size:
        raise Malformed("it is cut short")
    fields = int(bits[:size] or "0", 2)
    offsets = [zero + least + (fields >> width * segment & span - 1) for segment, zero in enumerate(zeros)]
    segment = 0
    numbers = _numbers(bits, size, order)
    for gap, value in zip(numbers, numbers, strict=True):
        segment += gap
        if segment >= len(zeros):
            raise Malformed("it names a segment that there is not")
        offsets[segment] = zeros[segment] + least + _signed(value, span)
        segment += 1
    if offsets and min(offsets) < 0:
        raise Malformed("an offset in it is before the log")
    return offsets


def _numbers(bits: str, at: int, order: int) -> Iterator[int]:
    """Gaps and values in turn, up to the padding."""
    count = 0
    while (one := bits.find("1", at)) >= 0:
        base = order if count % 2 == 0 else 0
        stop = one + one - at + 1 + base
        if one - at > _ZEROS_MAX or stop > len(bits):
            raise Malformed("a number in it is too large, or cut short")
        yield int(bits[one:stop], 2) - (1 << base)
        at, count = stop, count + 1
    if count % 2:
        raise Malformed("it is cut short")


def _order(segments: int, others: int) -> int:
    """The order of the exponential Golomb code that suits the gaps between so many of the segments."""
    return min(_ORDER_MAX, max(0, (segments // (others + 1)).bit_length() - 2))


def _range_of(differences: Sequence[int]) -> tuple[int, int]:
    """The width of a field and the least value in one, for about the fewest bits. The values in the middle of the
    ones that do not fit tell how long these are."""
    ordered, count = sorted(differences), len(differences)
    starts = {0, *(ordered[count // part] for part in (16, 8, 4) if count >= part), *ordered[:1]}
    best = (1 << 62, 0, 0)
    for start in starts:
        first = bisect_left(ordered, start)
        for width in _WIDTHS:
            above = start + (1 << width)
            stop = bisect_left(ordered, above, first)
            others = count - stop + first
            # One bit more for each in the list, since a field takes less time.
            bits = count * width + others * ((count // (others + 1)).bit_length() + 1)
            if first:
                bits += 2 * first * (start - ordered[first // 2]).bit_length()
            if stop < count:
                bits += 2 * (count - stop) * (ordered[(stop + count) // 2] - above + 1).bit_length()
            best = min(best, (bits, width, start))
            if not others:
                break
    return best[1], best[2]


def _unsigned(value: int, span: int) -> int:
    """A number for a value that is not within ``range(span)``: even if it is above, odd if it is below."""
    return 2 * (value - span) if value >= span else -2 * value - 1


def _signed(number: int, span: int) -> int:
    return -(number + 1) // 2 if number & 1 else number // 2 + span
