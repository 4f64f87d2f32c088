"""Resume tokens: how far a stream has got, in every lane that it is about.

It is the same for everybody who gets an event from the same process, so that an event is encoded once. Whoever has one
can only see again what the log says he might see, so it is not signed; the check is there to tell a token from what is
none, and from one of another log.
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
    """It is no token, or one of another log."""


def encode(log: str, offsets: Mapping[int, int]) -> str:
    return Token(log, offsets).text()


def decode(log: str, text: str) -> dict[int, int]:
    """Offsets by lane. Raises WrongToken."""
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


class Token:
    """One that is kept up to date: only what has changed is encoded anew."""

    def __init__(self, log: str, offsets: Mapping[int, int]) -> None:
        self._log = log
        self._parts = {lane: _pair(lane, offsets[lane]) for lane in sorted(offsets)}

    def move(self, lane: int, offset: int) -> None:
        if lane not in self._parts:
            self._parts[lane] = b""
            self._parts = dict(sorted(self._parts.items()))
        self._parts[lane] = _pair(lane, offset)

    def drop(self, lane: int) -> None:
        self._parts.pop(lane, None)

    def text(self) -> str:
        body = _VERSION + b"".join(self._parts.values())
        return base64.urlsafe_b64encode(body + _check(self._log, body)).rstrip(b"=").decode()


def _check(log: str, body: bytes) -> bytes:
    return zlib.crc32(body, zlib.crc32(log.encode())).to_bytes(_CHECK_BYTES)


def _pair(lane: int, offset: int) -> bytes:
    return _varint(lane) + _varint(offset)


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
