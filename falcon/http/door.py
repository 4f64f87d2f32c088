"""Refusing at the door: what would find no room is refused before anything is made of it.

Under more than can be carried most of the work is refusing. A refusal that was parsed, routed and authenticated costs
half of what an accepted message does, so that at three times the limit nothing would be left for accepting. Here it is
a look at the bytes and a write of ready ones: a tenth.
"""

import re
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from falcon.domain.ids import partition_of
from falcon.http.problems import from_unavailable
from falcon.telemetry import metrics
from falcon.write.gateway import CommandGateway
from falcon.write.protocol import Unavailable

_ROUTE: Final = "/v1/rooms/{room_id}/messages"
_SEND: Final = re.compile(rb"POST /v1/rooms/([0-9]{1,16})/messages HTTP/1\.1\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: ?([0-9]{1,7})\r\n", re.IGNORECASE)
# Bodies without a length, questions before the body, connections that end, and browsers, who want to be told more.
_UNUSUAL: Final = re.compile(
    rb"\r\n(?:transfer-encoding:|expect:|origin:|connection:(?! ?keep-alive\r))", re.IGNORECASE
)


class Door:
    """Of one event loop. It lets everything in until it stands before a gateway."""

    def __init__(self) -> None:
        self._gateway: CommandGateway | None = None
        self._partitions = 1
        self._refusal = _refusal()
        self._refused = metrics.commands.labels("PostMessage", "overloaded")
        self._answered = metrics.http_requests.labels(_ROUTE, "POST", "5xx")

    def stand_before(self, gateway: CommandGateway, partitions: int) -> None:
        self._gateway = gateway
        self._partitions = partitions

    def refusal(self, data: bytes) -> bytes | None:
        """The answer to bytes that are a whole request to send a message for which there is no room."""
        send = _SEND.match(data)
        if send is None or self._gateway is None:
            return None
        lane = self._gateway.lane(partition_of(int(send[1]), self._partitions))
        if lane is None or lane.expects() or not _is_whole(data):
            return None
        lane.rejected()
        self._refused.inc()
        self._answered.inc()
        return self._refusal


class Protocol(HttpToolsProtocol):
    """uvicorn's, with a door before it; and once a request is answered, nothing of it is kept.

    A connection that waits for its next request would else hold some twenty objects of the last one: thousands of them
    are what the garbage collector looks at again and again, for tens of milliseconds each time.
    """

    def __init__(self, door: Door, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._door = door
        self._within = False
        self._refused_at = 0.0

    def data_received(self, data: bytes) -> None:
        # Behind a request that is still being read or answered everything has to wait for its turn, and so has whoever
        # does not read the answers.
        if not (self._within or self.flow.write_paused) and (self.cycle is None or self.cycle.response_complete):
            refusal = self._door.refusal(data)
            if refusal is not None:
                self._stay_alive()
                self.transport.write(refusal)
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._within = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._within = False
        super().on_message_complete()
        self._forget_answered()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._forget_answered()

    def _forget_answered(self) -> None:
        if not self._within and self.cycle is not None and self.cycle.response_complete:
            self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    def _stay_alive(self) -> None:
        """The connection is in use. A timer for each refusal would cost as much as the refusal, so it is the one that
        runs already that finds out."""
        self._refused_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._close_when_idle(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        idle = self.loop.time() - self._refused_at
        if idle < self.timeout_keep_alive:
            self._close_when_idle(self.timeout_keep_alive - idle)
        else:
            super().timeout_keep_alive_handler()

    def _close_when_idle(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)


def _is_whole(data: bytes) -> bool:
    """These bytes are one request with a body, all of it and nothing else, that may be answered and forgotten."""
    end = data.find(b"\r\n\r\n")
    length = _LENGTH.search(data, 0, end + 2)
    return length is not None and len(data) == end + 4 + int(length[1]) and _UNUSUAL.search(data, 0, end + 2) is None


def _refusal() -> bytes:
    problem = from_unavailable(Unavailable("overloaded"))
    body = problem.body()
    return (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: %d\r\ncontent-type: application/problem+json\r\n"
        b"retry-after: %d\r\n\r\n%b" % (len(body), max(1, round(problem.retry_after or 1)), body)
    )
