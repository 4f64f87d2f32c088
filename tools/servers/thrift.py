"""The part of HBase's Thrift interface that shows whether it serves.

It uses sockets alone, since the servers are started before the project's libraries are installed.
"""

import socket
import struct
from collections.abc import Callable
from io import BufferedIOBase
from typing import Any, Final

from tools.harness.ports import HOST

_CALL: Final = 0x80010001  # version 1 of the binary protocol, and the kind of message
_REPLY: Final = 0x80010002
_STOP, _STRING, _STRUCT, _MAP, _SET, _LIST = 0, 11, 12, 13, 14, 15
_SUCCESS: Final = 0  # the field of a result; the others are exceptions
_START_KEY: Final = 1  # the field of a region
_NUMBERS: Final = {2: ">b", 3: ">b", 4: ">d", 6: ">h", 8: ">i", 10: ">q"}


class NotServed(Exception):
    """The gateway has answered with an error, or not in time, or not at all."""


def check(port: int, seconds: float) -> None:
    """Raises NotServed unless every region of every table answers a read through the gateway at this port."""
    try:
        with (
            socket.create_connection((HOST, port), timeout=seconds) as connection,
            connection.makefile("rwb") as stream,
        ):
            for table in _call(stream, "getTableNames"):
                _check_table(stream, table)
    except OSError as error:
        raise NotServed(str(error)) from error


def _check_table(stream: BufferedIOBase, table: bytes) -> None:
    if _call(stream, "isTableEnabled", table):
        for region in _call(stream, "getTableRegions", table):
            _call(stream, "getRow", table, region.get(_START_KEY) or b"\0")


def _call(stream: BufferedIOBase, method: str, *arguments: bytes) -> Any:
    """The result: a struct is a dict by the numbers of its fields."""
    fields = b"".join(struct.pack(">bh", _STRING, i) + _string(value) for i, value in enumerate(arguments, 1))
    stream.write(struct.pack(">I", _CALL) + _string(method.encode()) + struct.pack(">i", 0) + fields + b"\0")
    stream.flush()
    kind = _unpack(stream, ">I")
    _read_string(stream)
    _unpack(stream, ">i")
    answer = _read_struct(stream)
    if kind != _REPLY or _SUCCESS not in answer:
        raise NotServed(f"{method}: {_words(answer)}")
    return answer[_SUCCESS]


def _words(answer: Any) -> str:
    """The first text in an exception."""
    while isinstance(answer, dict) and answer:
        answer = next(iter(answer.values()))
    return answer.decode(errors="replace").partition("\n")[0] if isinstance(answer, bytes) else str(answer)


def _string(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


def _read(stream: BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise NotServed("the gateway closed the connection")
    return data


def _unpack(stream: BufferedIOBase, form: str) -> Any:
    return struct.unpack(form, _read(stream, struct.calcsize(form)))[0]


def _read_string(stream: BufferedIOBase) -> bytes:
    return _read(stream, _unpack(stream, ">i"))


def _read_struct(stream: BufferedIOBase) -> dict[int, Any]:
    fields = {}
    while kind := _unpack(stream, ">b"):
        number = _unpack(stream, ">h")
        fields[number] = _read_value(stream, kind)
    return fields


def _read_list(stream: BufferedIOBase) -> list[Any]:
    kind, size = _unpack(stream, ">b"), _unpack(stream, ">i")
    return [_read_value(stream, kind) for _ in range(size)]


def _read_map(stream: BufferedIOBase) -> dict[Any, Any]:
    keys, values, size = _unpack(stream, ">b"), _unpack(stream, ">b"), _unpack(stream, ">i")
    return {_read_value(stream, keys): _read_value(stream, values) for _ in range(size)}


def _read_value(stream: BufferedIOBase, kind: int) -> Any:
    if kind in _NUMBERS:
        return _unpack(stream, _NUMBERS[kind])
    return _READERS[kind](stream)


_READERS: Final[dict[int, Callable[[BufferedIOBase], Any]]] = {
    _STRING: _read_string,
    _STRUCT: _read_struct,
    _MAP: _read_map,
    _SET: _read_list,
    _LIST: _read_list,
}
