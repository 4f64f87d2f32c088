"""The edge's end of the connection to a process of owners: batches go in frames, and replies come back."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final, assert_never

import msgspec

from falcon.adapters.owner_http.connecting import Connect
from falcon.telemetry import metrics
from falcon.write import refusals
from falcon.write.framing import CHALLENGE_BYTES, FRAME_BYTES_MAX, Channel, WrongFrame, answer
from falcon.write.mailbox import Mailbox
from falcon.write.protocol import (
    BatchFrame,
    BatchReply,
    Closing,
    CommandBatch,
    NotTaken,
    RepliesFrame,
    Reply,
    decode_owner_frame,
    encode_frame,
)
from falcon.write.signing import Keys
from falcon.write.transit import depart

log = logging.getLogger("falcon.gateway")

# Within a cluster it takes milliseconds; a machine that is gone must not use up a command's deadline.
_CONNECT_SECONDS: Final = 1.0
# Longer than the loop is busy at most, so that the batch is given back before its deadline.
_EARLIER_SECONDS: Final = 0.1
_TICK_SECONDS: Final = 1.0  # an owner that is silent for some of these is taken for dead
# Its loop serves no commands, or the network has lost the connection without telling this end.
_SILENT_TICKS: Final = 3
# Bytes that the process has not read. It reads at once, so it is stuck.
_UNREAD_BYTES_MAX: Final = 8 << 20


@dataclass(slots=True)
class _Away:
    """A batch that was sent. ``missing``: replies that have not come."""

    batch: CommandBatch
    mailbox: Mailbox
    missing: int


def not_taken(batch: CommandBatch, mailbox: Mailbox) -> None:
    """Nothing of the batch was carried out."""
    replies = [(index, refusals.owner_not_reached()) for index in range(len(batch.commands))]
    mailbox.replied(BatchReply(batch.number, [*replies]))


class OwnerProcess:
    """A process of owners at ``address``. The first batch for it opens the connection."""

    def __init__(self, address: str, keys: Keys, connect: Connect) -> None:
        self._address = address
        self._keys = keys
        self._connect = connect
        self._connection: _OwnerConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, CommandBatch, Mailbox]] = []

    @property
    def connected(self) -> bool:
        return self._connection is not None and not self._connection.is_lost

    def send(self, shard: int, batch: CommandBatch, mailbox: Mailbox) -> None:
        """Each command of the batch gets a reply in the mailbox, whatever happens."""
        connection = self._connection
        if connection is not None and connection.takes_batches():
            connection.send(shard, batch, mailbox)
            return
        self._waiting.append((shard, batch, mailbox))
        if self._connecting is None:
            # The mailbox gives a batch up at its deadline, in doubt what became of it. This one was never sent.
            left = max(command.deadline for command in batch.commands) - time.monotonic() - _EARLIER_SECONDS
            self._connecting = asyncio.get_running_loop().create_task(self._reach(min(_CONNECT_SECONDS, left)))

    def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.close()

    async def _reach(self, seconds: float) -> None:
        connection: _OwnerConnection | None = None
        try:
            connection = await self._open(seconds)
        except (OSError, ValueError, OverflowError) as error:  # the address comes from the log, and may be none
            log.warning("no owner takes commands at %s: %s", self._address, str(error) or "it does not answer")
        finally:
            self._connecting = None
        self._connection = connection
        waiting, self._waiting = self._waiting, []
        for shard, batch, mailbox in waiting:
            if connection is None:
                not_taken(batch, mailbox)
            else:
                connection.send(shard, batch, mailbox)

    async def _open(self, seconds: float) -> "_OwnerConnection":
        """Raises OSError; ValueError or OverflowError for text that is not an address."""
        connection = _OwnerConnection(self._keys, self._address)
        try:
            async with asyncio.timeout(seconds):
                await self._connect(self._address, connection)
                await connection.opened
        except BaseException:
            connection.close()
            raise
        return connection


class _OwnerConnection(asyncio.Protocol):
    """``opened``: done once the owner's end has shown that it has the key. It raises ConnectionError."""

    def __init__(self, keys: Keys, address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._keys = keys
        self._address = address
        self._transport: asyncio.Transport | None = None
        self._challenge = b""
        self._channel: Channel | None = None
        self._number = 0
        self._away: dict[int, _Away] = {}
        self._is_retired = False
        self.is_lost = False
        self._silent = 0
        self._ticking: asyncio.TimerHandle | None = None
        self.opened: asyncio.Future[None] = self._loop.create_future()

    # --- batches go out -----------------------------------------------------------------------------------------------

    def takes_batches(self) -> bool:
        """False if a new connection must be made for the next batch."""
        if self._channel is None or self._transport is None or self._is_retired or self._transport.is_closing():
            return False
        if self._channel.internal_key != self._keys()[0]:  # another key signs now, and this one may go soon
            self._retire()
            return False
        return True

    def send(self, shard: int, batch: CommandBatch, mailbox: Mailbox) -> None:
        assert self._channel is not None
        assert self._transport is not None
        frame = BatchFrame(self._number + 1, shard, msgspec.Raw(depart(batch, time.monotonic())))
        content = encode_frame(frame)
        is_stuck = self._transport.is_closing() or self._transport.get_write_buffer_size() > _UNREAD_BYTES_MAX
        if is_stuck or len(content) > FRAME_BYTES_MAX:
            not_taken(batch, mailbox)
            return
        self._number += 1
        self._away[self._number] = _Away(batch, mailbox, len(batch.commands))
        self._transport.write(self._channel.writer.frame(content))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _retire(self) -> None:
        """Send no further batch, and close the connection once the replies are here."""
        self._is_retired = True
        if not self._away:
            self.close()

    def _cut(self, reason: str) -> None:
        assert self._transport is not None
        metrics.owner_connections_cut.labels(reason).inc()
        self._transport.abort()

    # --- asyncio's calls ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._tick()

    def data_received(self, data: bytes) -> None:
        self._silent = 0
        try:
            if self._channel is None:
                data = self._answer(data)
            if self._channel is not None:
                for content in self._channel.reader.read(data):
                    self._receive(content)
        except (WrongFrame, msgspec.DecodeError) as error:
            log.warning("the connection to %s is cut: %s", self._address, error)
            self._cut("malformed")

    def connection_lost(self, error: Exception | None) -> None:
        """Only a retry can tell if a command of a batch on its way was executed."""
        self.is_lost = True
        if self._ticking is not None:
            self._ticking.cancel()
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("it has closed the connection; has it the same internal key?"))
        if self._away:
            log.warning("the connection to %s was lost with %d batches: %s", self._address, len(self._away), error)
        away, self._away = self._away, {}
        for each in away.values():
            each.mailbox.give_up(each.batch.number)

    def _tick(self) -> None:
        if self._silent >= _SILENT_TICKS:
            log.warning("the connection to %s is cut: nothing is heard", self._address)
            self._cut("silent")
            return
        if self._silent and self._channel is not None and self._transport is not None:
            self._transport.write(self._channel.writer.frame(b""))
        self._silent += 1
        self._ticking = self._loop.call_later(_TICK_SECONDS, self._tick)

    # --- what comes in ------------------------------------------------------------------------------------------------

    def _answer(self, data: bytes) -> bytes:
        """Answer the challenge once it is complete. Returns the bytes after it."""
        assert self._transport is not None
        self._challenge += data
        if len(self._challenge) < CHALLENGE_BYTES:
            return b""
        challenge, rest = self._challenge[:CHALLENGE_BYTES], self._challenge[CHALLENGE_BYTES:]
        self._channel, hello = answer(challenge, self._keys()[0])
        self._transport.write(hello)
        return rest

    def _receive(self, content: bytearray) -> None:
        if not self.opened.done():
            self.opened.set_result(None)
        if not content:
            return
        frame = decode_owner_frame(content)
        match frame:
            case RepliesFrame(number, replies):
                self._replied(number, replies)
            case NotTaken(number, reason):
                log.warning("%s does not take a batch: %s", self._address, reason)
                self._refused(number)
            case Closing(taken):
                for number in [number for number in self._away if number > taken]:
                    self._refused(number)
                self._retire()
            case _:
                assert_never(frame)

    def _replied(self, number: int, replies: list[tuple[int, Reply]]) -> None:
        away = self._away.get(number)
        if away is None:
            raise WrongFrame(f"replies to batch {number}, which is not away")
        away.missing -= len(replies)
        if away.missing <= 0:
            self._over(number)
        away.mailbox.replied(BatchReply(away.batch.number, replies))

    def _refused(self, number: int) -> None:
        away = self._away.get(number)
        if away is not None:
            self._over(number)
            not_taken(away.batch, away.mailbox)

    def _over(self, number: int) -> None:
        del self._away[number]
        if self._is_retired:
            self._retire()
