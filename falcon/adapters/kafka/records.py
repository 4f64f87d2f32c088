"""The layout of a journal record in a Kafka record: a binary head and the data. The key is Kafka's key.

Topics keep this layout for ever. ``tests/adapters/test_kafka_records.py`` has a sample of it.
"""

import struct
from sys import intern
from typing import Final

from falcon.journal.record import Record

_HEAD: Final = struct.Struct(">BHB")  # flags, version, length of the type; the type follows
_KEY: Final = struct.Struct(">q")
_CRITICAL: Final = 1  # a bit of the flags
_TYPE_BYTES_MAX: Final = 64  # twice the longest name of an event

OVERHEAD: Final = _HEAD.size + _TYPE_BYTES_MAX + _KEY.size  # bytes around the data, at most


def key(record: Record) -> bytes:
    """The room or account. By it a reader can leave others undecoded."""
    return _KEY.pack(record.key)


def body(record: Record) -> bytes:
    type = record.type.encode()
    return _HEAD.pack(_CRITICAL if record.critical else 0, record.version, len(type)) + type + record.data


def record(key: bytes | None, body: bytes) -> Record:
    """The inverse of :func:`body`. A record that Falcon did not write has no type. Records of a type share its name,
    since many are kept."""
    about = _KEY.unpack(key)[0] if key is not None and len(key) == _KEY.size else 0
    if len(body) >= _HEAD.size:
        flags, version, length = _HEAD.unpack_from(body)
        end = _HEAD.size + length
        type = body[_HEAD.size : end]
        if len(type) == length and type.isascii():
            return Record(intern(type.decode()), version, bool(flags & _CRITICAL), about, body[end:])
    return Record("", 0, True, about, body)
