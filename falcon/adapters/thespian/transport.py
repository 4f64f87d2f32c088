"""Thespian's TCP transport, bound to loopback, and changed to read no pickle without our key's MAC.

Thespian's own listens on every address and unpickles what arrives, so that any client that can connect runs code in
the server. The launcher makes the key at each start. The processes below get it in their environment, which only their
user can read, and the processes that they fork inherit it.

A message is ``SIZE>``, the MAC of the pickle, the pickle.
"""

import hmac
import logging
import os
import pickle
import time
from functools import partial
from typing import Any, Final

import thespian.system.transport.TCPTransport as tcp
from thespian.system.transport.IPBase import TCPv4ActorAddress
from thespian.system.transport.streamBuffer import ReceiveBuffer, ackDataErrPacket, ackPacket, toSendBuffer

from falcon.adapters.thespian import KEY_BYTES, KEY_VARIABLE
from falcon.telemetry import metrics

log = logging.getLogger("falcon.actors")

_LOOPBACK: Final = "127.0.0.1"
_MAC: Final = "sha256"
_MAC_BYTES: Final = 32
_MESSAGE_MAX: Final = 64 << 20  # a mailbox's batch has half a megabyte; the replies to one may have a few
_SIZE_DIGITS_MAX: Final = 20
_LOG_SECONDS: Final = 60.0


class NoKey(Exception):
    """The process was started without the key of its actor system."""


def secure() -> None:
    """Change Thespian's transport in this process and in those that it forks. Raises NoKey."""
    try:
        key = bytes.fromhex(os.environ.get(KEY_VARIABLE, ""))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise NoKey(f"{KEY_VARIABLE} must have the {KEY_BYTES} bytes of the actor system's key, in hex")
    seal = Seal(key)
    tcp.serializer = seal
    tcp.ReceiveBuffer = partial(_SealedBuffer, seal)
    tcp.ackMsg = toSendBuffer(ackPacket, seal.dumps)
    tcp.ackDataErrMsg = toSendBuffer(ackDataErrPacket, seal.dumps)
    tcp.TCPTransport._addedDataToIncoming = _take_sealed
    TCPv4ActorAddress.bindArgs = property(lambda address: ((_LOOPBACK, address.bindname[1]),))
    os.environ["THESPIAN_BASE_IPADDR"] = _LOOPBACK  # where others send their replies


class Forged(Exception):
    """The MAC is missing or wrong."""


class Seal:
    """A serializer as Thespian expects one."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def dumps(self, message: object) -> bytes:
        pickled = pickle.dumps(message)
        return hmac.digest(self._key, pickled, _MAC) + pickled

    def loads(self, sealed: bytes) -> Any:
        """Raises Forged before it looks at a byte of the pickle."""
        mac, pickled = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, hmac.digest(self._key, pickled, _MAC)):
            raise Forged
        return pickle.loads(pickled)


class _SealedBuffer(ReceiveBuffer):  # type: ignore[misc]
    """Collects one message. It is done as soon as the message is known to be ``forged``."""

    def __init__(self, seal: Seal, deserialize: object) -> None:
        super().__init__(seal.loads)
        self.forged = False
        self._message: Any = None

    def addMore(self, buf: bytes) -> None:
        if self.forged:
            return
        try:
            super().addMore(buf)
        except ValueError:
            self._refuse()
            return
        if self._size is None:
            if len(self._buf) > _SIZE_DIGITS_MAX:
                self._refuse()
        elif not _MAC_BYTES < self._size <= _MESSAGE_MAX:
            self._refuse()
        elif self._blen == self._size and self._message is None:
            try:
                self._message = (self._deserialize(self._buf),)
            except Forged:
                self._refuse()

    def isDone(self) -> bool:
        return self.forged or bool(super().isDone())

    def completed(self) -> tuple[Any, bytes] | None:
        """None for a forged message: to a sender that waits for an acknowledgement, the message is lost."""
        return None if self.forged or self._message is None else (self._message[0], self._extra)

    def _refuse(self) -> None:
        self.forged = True
        self._buf = b""
        _refusals.count()


_take = tcp.TCPTransport._addedDataToIncoming


def _take_sealed(transport: Any, incoming: Any, *args: Any, **kwargs: Any) -> Any:
    """Close a connection that sends a forgery, without an answer."""
    if incoming._rData.forged:
        incoming.close()
        return None
    return _take(transport, incoming, *args, **kwargs)


class _Refusals:
    """Counts each refused message, and logs at most once a minute."""

    def __init__(self) -> None:
        self._logged_at = -_LOG_SECONDS
        self._unlogged = 0

    def count(self) -> None:
        metrics.forged_messages.inc()
        self._unlogged += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_SECONDS:
            log.warning("%d messages to actors did not bear the key; they were dropped unread", self._unlogged)
            self._logged_at, self._unlogged = now, 0


_refusals = _Refusals()
