"""The frames that clients receive. A frame is encoded once for all receivers, in the form of SSE and of WebSockets."""

from typing import Final, Literal, TypeAlias

import msgspec

Reason: TypeAlias = Literal["draining", "slow", "unauthenticated"]

encode: Final = msgspec.json.Encoder().encode


class StreamEnd(msgspec.Struct, frozen=True):
    reason: Reason
    retry_after_ms: int


class Frame:
    """``id``: the resume token after this event. ``name``: of the event. ``data``: JSON."""

    __slots__ = ("_sse", "_text", "data", "id", "name", "wire")

    def __init__(self, id: str, name: str, data: bytes) -> None:
        self.id = id
        self.name = name
        self.data = data
        self.wire: dict[str, bytes] = {}  # encoded for each kind of connection by the first that needs it
        self._sse: bytes | None = None
        self._text: str | None = None

    @property
    def sse(self) -> bytes:
        """The frame as a Server-Sent Event. JSON has no line breaks, so the data is one line."""
        if self._sse is None:
            self._sse = b"id: %b\nevent: %b\ndata: %b\n\n" % (self.id.encode(), self.name.encode(), self.data)
        return self._sse

    @property
    def text(self) -> str:
        """The frame as the text of a WebSocket message."""
        if self._text is None:
            self._text = f'{{"id":"{self.id}","event":"{self.name}","data":{self.data.decode()}}}'
        return self._text

    def __len__(self) -> int:
        return len(self.data) + len(self.id) + 40
