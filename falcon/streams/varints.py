"""Numbers in as few bytes as they need, least significant first (https://protobuf.dev/programming-guides/encoding/)."""

from collections.abc import Iterator
from typing import Final

_BYTES_MAX: Final = 9  # 63 bits


class Malformed(ValueError):
    """The bytes are not as Falcon writes them."""


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where the rest begins. Raises Malformed."""
    value = shift = 0
    for index in range(at, min(len(data), at + _BYTES_MAX)):
        value |= (data[index] & 0x7F) << shift
        shift += 7
        if data[index] < 0x80:
            return value, index + 1
    raise Malformed("a number in it is too large, or cut short")


def varints(data: bytes, at: int = 0) -> Iterator[int]:
    """All numbers from there on. Raises Malformed."""
    while at < len(data):
        value, at = read_varint(data, at)
        yield value
