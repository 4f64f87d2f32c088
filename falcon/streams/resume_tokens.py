"""Resume tokens: how far a stream has got in each of its segments.

All clients that get an event from one process get the same token, so that the event is encoded once. A token opens
nothing that the log would not show its bearer anyway, so it is not signed. The checksum tells a token from other text,
and from a token of another log.
"""

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

_VERSION: Final = b"\x01"
_CHECK_BYTES: Final = 4
_TEXT_MAX: Final = 64 << 10
_VARINT_MAX: Final = 9


class WrongToken(ValueError):
    """The text is no token, or a token of another log."""


def encode(log: str, offsets: Mapping[int, int]) -> str:
    return ResumeToken(log, offsets).text()


def decode(log: str, text: str) -> dict[int, int]:
    """Offsets by segment. Raises WrongToken."""
    if not text.isascii() or not 0 < len(text) <= _TEXT_MAX:
        raise WrongToken("it is too long, or not ASCII")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise WrongToken("it is not base64url") from error
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if body[:1] != _VERSION or _check(log, body) != check:
        raise WrongToken("it is not one of this log's")
    return _offsets(body[1:])


class ResumeToken:
    """A token that is kept up to date. It encodes only the segments that have changed."""

    def __init__(self, log: str, offsets: Mapping[int, int]) -> None:
        self._log = log
        self._parts = {segment: _pair(segment, offsets[segment]) for segment in sorted(offsets)}

    def move(self, segment: int, offset: int) -> None:
        if segment not in self._parts:
            self._parts[segment] = b""
            self._parts = dict(sorted(self._parts.items()))
        self._parts[segment] = _pair(segment, offset)

    def drop(self, segment: int) -> None:
        self._parts.pop(segment, None)

    def text(self) -> str:
        body = _VERSION + b"".join(self._parts.values())
        return base64.urlsafe_b64encode(body + _check(self._log, body)).rstrip(b"=").decode()


def _check(log: str, body: bytes) -> bytes:
    return zlib.crc32(body, zlib.crc32(log.encode())).to_bytes(_CHECK_BYTES)


def _pair(segment: int, offset: int) -> bytes:
    return _varint(segment) + _varint(offset)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _offsets(data: bytes) -> dict[int, int]:
    numbers = list(_varints(data))
    if len(numbers) % 2:
        raise WrongToken("it is cut short")
    return dict(zip(numbers[::2], numbers[1::2], strict=True))


def _varints(data: bytes) -> Iterable[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
        elif shift >= 7 * _VARINT_MAX:
            raise WrongToken("a number in it is too large")
    if shift:
        raise WrongToken("it is cut short")
