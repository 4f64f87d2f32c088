"""Frames between two processes of a cluster on one connection, each with a MAC. They need no more than a byte stream.

The accepting end begins with a challenge of random bytes. The other end answers with random bytes of its own, and both
derive a key for each direction from these and an internal key, which never travels. The MAC of a frame covers its
number, so an end refuses a frame that was changed, left out, or sent twice. A recording of one connection is of
no use on another, and no clock is compared.
"""

import hmac
import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

# The name by which an HTTP connection is upgraded to frames.
PROTOCOL: Final = b"falcon-frames/1"
CHALLENGE_BYTES: Final = 32
FRAME_BYTES_MAX: Final = 8 << 20

_MAC_BYTES: Final = 16  # 128 bits
_HEAD: Final = struct.Struct(f">I{_MAC_BYTES}s")  # the length of the content, and the MAC
_NUMBER: Final = struct.Struct(">Q")
HELLO_BYTES: Final = CHALLENGE_BYTES + _HEAD.size

_TO_OWNER: Final = b"falcon frames 1: edge to owner\n"
_TO_EDGE: Final = b"falcon frames 1: owner to edge\n"


class WrongFrame(Exception):
    """The other end sent bytes that are no frame of this connection. The connection must be closed."""


class _Macs:
    """The MACs of one direction's frames, in their order: BLAKE2b with a key (RFC 7693)."""

    def __init__(self, key: bytes) -> None:
        self._keyed = blake2b(key=key, digest_size=_MAC_BYTES)
        self._number = 0

    def next(self, content: bytes | bytearray) -> bytes:
        mac = self._keyed.copy()
        mac.update(_NUMBER.pack(self._number))
        mac.update(content)
        self._number += 1
        return mac.digest()


class FrameWriter:
    def __init__(self, key: bytes) -> None:
        self._macs = _Macs(key)

    def frame(self, content: bytes) -> bytes:
        """The next frame. All frames must be sent, in their order."""
        return _HEAD.pack(len(content), self._macs.next(content)) + content


class FrameReader:
    def __init__(self, key: bytes) -> None:
        self._macs = _Macs(key)
        self._received = bytearray()

    def read(self, data: bytes) -> Iterator[bytearray]:
        """The contents of the frames that are whole with ``data``. Raises WrongFrame."""
        received = self._received
        received += data
        while len(received) >= _HEAD.size:
            length, mac = _HEAD.unpack_from(received)
            if length > FRAME_BYTES_MAX:
                raise WrongFrame(f"a frame of {length} bytes; the most is {FRAME_BYTES_MAX}")
            end = _HEAD.size + length
            if len(received) < end:
                return
            content = received[_HEAD.size : end]
            del received[:end]
            if not hmac.compare_digest(mac, self._macs.next(content)):
                raise WrongFrame("a frame with another MAC than that of this place in the connection")
            yield content


@dataclass(frozen=True, slots=True)
class Channel:
    """One end of an authenticated connection. ``internal_key``: the one that both ends have."""

    internal_key: bytes
    writer: FrameWriter
    reader: FrameReader


def new_challenge() -> bytes:
    return secrets.token_bytes(CHALLENGE_BYTES)


def answer(challenge: bytes, internal_key: bytes) -> tuple[Channel, bytes]:
    """The edge's end, and the hello with which it begins. The owner has the key too if an empty frame comes back."""
    nonce = secrets.token_bytes(CHALLENGE_BYTES)
    to_owner, to_edge = _keys(internal_key, challenge, nonce)
    channel = Channel(internal_key, FrameWriter(to_owner), FrameReader(to_edge))
    return channel, nonce + channel.writer.frame(b"")


def accept(challenge: bytes, hello: bytes, internal_keys: Sequence[bytes]) -> Channel:
    """The owner's end, with the key of which the hello was made. Raises WrongFrame."""
    nonce, frame = hello[:CHALLENGE_BYTES], hello[CHALLENGE_BYTES:]
    for internal_key in internal_keys:
        to_owner, to_edge = _keys(internal_key, challenge, nonce)
        channel = Channel(internal_key, FrameWriter(to_edge), FrameReader(to_owner))
        try:
            if len(hello) == HELLO_BYTES and [*channel.reader.read(frame)] == [b""]:
                return channel
        except WrongFrame:
            continue
    raise WrongFrame("the hello was made with another key, or for another connection")


def _keys(internal_key: bytes, challenge: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """The keys of the frames to the owner, and of those to the edge."""
    to_owner = hmac.digest(internal_key, _TO_OWNER + challenge + nonce, "sha256")
    to_edge = hmac.digest(internal_key, _TO_EDGE + challenge + nonce, "sha256")
    return to_owner, to_edge
