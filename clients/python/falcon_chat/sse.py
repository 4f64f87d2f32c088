"""Server-Sent Events out of bytes, by the rules of the HTML standard."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """An event as it was sent. ``id``: the last id of this connection so far."""

    name: str
    data: bytes
    id: str


class Parser:
    """One parser for each connection. Its pieces may be cut anywhere: an event is complete with the empty line after
    it. An event that was cut off is never returned."""

    def __init__(self) -> None:
        self._torn: list[bytes] = []
        self._after_cr = False
        self._at_start = True
        self._id = ""
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[Block]:
        for line in self._lines(piece):
            if line:
                self._field(line)
            elif block := self._ended():
                yield block

    def _lines(self, piece: bytes) -> list[bytes]:
        """The lines that this piece completes. A line that ended with CR has ended, whether or not LF follows."""
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or piece.endswith(b"\r")
        *lines, rest = _LINE_END.split(piece)
        if not lines:
            self._torn.append(rest)
            return []
        lines[0] = b"".join((*self._torn, lines[0]))
        self._torn = [rest]
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        return lines

    def _field(self, line: bytes) -> None:
        """A comment is a field without a name. It is ignored like unknown fields."""
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
            case b"event":
                self._name = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode(errors="replace")

    def _ended(self) -> Block | None:
        name, data = self._name, self._data
        self._name, self._data = "", []
        return Block(name or "message", b"\n".join(data), self._id) if data else None
