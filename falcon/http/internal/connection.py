"""The owners' end of the connection on which an edge sends batches of commands. Replies go back as they are ready."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import msgspec

from falcon.http.server.upgrades import UpgradedConnection
from falcon.telemetry import metrics
from falcon.write.framing import HELLO_BYTES, Channel, WrongFrame, accept, new_challenge
from falcon.write.protocol import (
    BatchFrame,
    Closing,
    CommandEnvelope,
    NotTaken,
    OwnerFrame,
    RepliesFrame,
    Reply,
    decode_batch_frame,
    encode_frame,
)
from falcon.write.signing import Keys
from falcon.write.transit import Arrivals

log = logging.getLogger("falcon.internal")

# An edge that is idle sends something each second.
SILENT_SECONDS: Final = 20.0
_HELLO_SECONDS: Final = 10.0

# Has the shard with this number carry out commands, whose replies are given to the function: index, reply, some at a
# time. Raises LookupError if the shard is not in this process.
Deliver: TypeAlias = Callable[[int, list[CommandEnvelope], Callable[[list[tuple[int, Reply]]], None]], None]


class EdgeConnection(UpgradedConnection):
    def __init__(self, keys: Keys, deliver: Deliver, arrivals: Arrivals) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._keys = keys
        self._deliver = deliver
        self._arrivals = arrivals
        self._challenge = new_challenge()
        self._hello = b""
        self._channel: Channel | None = None
        self._taken = 0  # the number of the last batch
        self._ready: dict[int, list[tuple[int, Reply]]] = {}  # by batch
        self._is_closing = False
        self._heard_at = self._loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.write(self._challenge)

    def data_received(self, data: bytes) -> None:
        try:
            if self._channel is None:
                self._receive_hello(data)
                return
            self._heard_at = self._loop.time()
            for content in self._channel.reader.read(data):
                self._receive(content)
        except (WrongFrame, msgspec.DecodeError) as error:
            log.warning(
                "a connection for commands from %s is cut: %s", self.transport.get_extra_info("peername"), error
            )
            self._cut("malformed")

    def pause_writing(self) -> None:
        """The edge reads replies more slowly than it sends commands."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def check_time(self, now: float) -> None:
        if now - self._heard_at > (SILENT_SECONDS if self._channel else _HELLO_SECONDS):
            self._cut("timeout")

    def shutdown(self) -> None:
        """Take no further batch. The edge closes the connection when it has the replies to the others."""
        if self._channel is None:
            self.transport.close()
        elif not self._is_closing:
            self._is_closing = True
            self._send(Closing(self._taken))

    def _receive_hello(self, data: bytes) -> None:
        self._hello += data
        if len(self._hello) > HELLO_BYTES:
            raise WrongFrame("the hello is too long")
        if len(self._hello) == HELLO_BYTES:
            self._channel = accept(self._challenge, self._hello, self._keys())
            self.transport.write(self._channel.writer.frame(b""))

    def _receive(self, content: bytearray) -> None:
        assert self._channel is not None
        if not content:
            self.transport.write(self._channel.writer.frame(b""))
        elif self._channel.internal_key not in self._keys():
            self.shutdown()
        elif not self._is_closing:
            self._accept(decode_batch_frame(content))

    def _accept(self, frame: BatchFrame) -> None:
        self._taken += 1
        if frame.number != self._taken:
            raise WrongFrame(f"batch {frame.number} in place of {self._taken}")
        try:
            commands = self._arrivals.received(frame.batch)
            self._deliver(frame.shard, commands, partial(self._replied, frame.number))
        except (msgspec.DecodeError, LookupError) as error:
            self._send(NotTaken(frame.number, str(error)))

    def _replied(self, number: int, replies: list[tuple[int, Reply]]) -> None:
        if not self._ready:
            self._loop.call_soon(self._send_ready)  # together with those of the same turn of the loop
        self._ready.setdefault(number, []).extend(replies)

    def _send_ready(self) -> None:
        ready, self._ready = self._ready, {}
        for number, replies in ready.items():
            self._send(RepliesFrame(number, replies))

    def _send(self, frame: OwnerFrame) -> None:
        if self._channel is not None and not self.transport.is_closing():
            self.transport.write(self._channel.writer.frame(encode_frame(frame)))

    def _cut(self, reason: str) -> None:
        metrics.connections_cut.labels(reason).inc()
        self.transport.abort()
