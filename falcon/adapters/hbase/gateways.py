"""Connections to several HBase gateways, used in turn. Each call has a deadline, and a failed connection is never used
again.

A connection that timed out answers the next call with the late answer of the last one, and two threads on one
connection get each other's answers, both without an error. So a connection serves one call at a time, and any exception
ends it.
"""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from thriftpy2.thrift import TApplicationException, TException

from falcon.adapters.hbase.client import HBaseClient
from falcon.adapters.hbase.connection import (
    REFUSED_TABLE,
    CompressionMissing,
    HBaseFault,
    TableMissing,
    ThriftConnection,
)
from falcon.adapters.hbase.thrift import AlreadyExists, GatewayError, IllegalArgument
from falcon.read.store import ReadStoreUnavailable

log = logging.getLogger("falcon.hbase")

_IDLE_SECONDS: Final = 30.0  # gateways hang up after 60
_PASSED_OVER_SECONDS: Final = 1.0  # after a failure, doubled by each further one
_PASSED_OVER_SECONDS_MAX: Final = 8.0  # a gateway that is back gets calls this soon
_PAUSE_SECONDS: Final = 0.05  # once every gateway has failed, doubled each time
# Many calls wait at once: a shorter pause would flood gateways that have just come back.
_PAUSE_SECONDS_MAX: Final = 0.5
# HBase's own errors that do not pass by themselves. A gateway names them by their classes, somewhere in a stack trace.
_MISSING: Final = (b"TableNotFoundException", b"TableNotEnabledException", b"table does not exist")
_LASTING: Final = (b"NoSuchColumnFamilyException", b"AccessDeniedException", b"InvalidFamilyOperationException")
# A gateway's answer to all that it did not expect: a wrong call, but also a server that has just been lost.
_INTERNAL_ERRORS: Final = 3

T = TypeVar("T")


class _Gateway:
    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{address!r} is no address of a gateway: write HOST:PORT")
        self.address = address
        self.host = host
        self.port = int(port)
        self.idle: list[ThriftConnection] = []
        self.failures = 0
        self.passed_over_until = 0.0


class Gateways:
    """Calls to HBase from any thread, through gateways in turn.

    ``addresses`` are HOST:PORT. ``connections``: the most calls at once, over all gateways. Keep the sum over all
    processes below the gateways' ``hbase.thrift.maxWorkerThreads``: past it a gateway accepts connections and never
    answers. ``connect``: makes a connection to HOST and PORT.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        connections: int = 64,
        *,
        connect: Callable[[str, int], ThriftConnection] = ThriftConnection,
    ) -> None:
        if not addresses:
            raise ValueError("no gateway: give at least one HOST:PORT")
        self._gateways = [_Gateway(address) for address in addresses]
        self._free = threading.BoundedSemaphore(connections)
        self._connections = connections
        self._connect = connect
        self._lock = threading.Lock()
        self._turn = 0
        self._closed = False

    def within(self, seconds: float, attempt_seconds: float | None = None) -> HBaseClient:
        """A client for calls that take no longer than this in all.

        ``attempt_seconds``: after this time another gateway is asked; half of the time by default.
        """
        attempt = seconds / 2 if attempt_seconds is None else attempt_seconds
        return HBaseClient(self, time.monotonic() + seconds, attempt)

    def call(self, ask: Callable[[ThriftConnection], T], until: float, attempt_seconds: float) -> T:
        """Returns what ``ask`` returns. ``ask`` may be called several times, so a repetition must do no harm.

        ``until`` is on the monotonic clock. Raises ReadStoreUnavailable by then, and HBaseFault at once.
        """
        failures = 0
        while True:
            gateway = self._next(attempt_seconds)
            try:
                return self._attempt(gateway, ask, min(until, time.monotonic() + attempt_seconds), until)
            except (IllegalArgument, AlreadyExists) as error:
                self._is_well(gateway)
                raise HBaseFault(f"HBase refuses: {_words(error)}") from error
            except TApplicationException as error:
                self._is_well(gateway)
                if failures + 1 >= _INTERNAL_ERRORS:
                    raise HBaseFault(f"HBase refuses: {_words(error)}") from error
                self._wait(failures, until, gateway, error)
            except GatewayError as error:  # HBase's own error
                self._is_well(gateway)
                _raise_if_lasting(error)
                self._wait(failures, until, gateway, error)
            except (TException, OSError) as error:
                self._pass_over(gateway)
                self._wait(failures, until, gateway, error)
            failures += 1

    def close(self) -> None:
        """Close idle connections now, and each of the others after its call."""
        with self._lock:
            self._closed = True
            idle = [line for gateway in self._gateways for line in gateway.idle]
            for gateway in self._gateways:
                gateway.idle.clear()
        for line in idle:
            line.close()

    def _attempt(
        self, gateway: _Gateway, ask: Callable[[ThriftConnection], T], attempt_until: float, until: float
    ) -> T:
        if not self._free.acquire(timeout=max(0.0, until - time.monotonic())):
            raise ReadStoreUnavailable(f"all {self._connections} connections to HBase are busy")
        try:
            line = self._pop(gateway)
            line.until = attempt_until
            try:
                answer = ask(line)
            except BaseException:
                line.close()
                raise
            self._give_back(gateway, line)
            return answer
        finally:
            self._free.release()

    def _pop(self, gateway: _Gateway) -> ThriftConnection:
        """The connection that was used last. If it is too old to be trusted, so are all below it."""
        oldest = time.monotonic() - _IDLE_SECONDS
        with self._lock:
            line = gateway.idle.pop() if gateway.idle else None
            old: list[ThriftConnection] = []
            if line is not None and line.idle_since < oldest:
                old, gateway.idle = [line, *gateway.idle], []
        for each in old:
            each.close()
        return self._connect(gateway.host, gateway.port) if line is None or old else line

    def _give_back(self, gateway: _Gateway, line: ThriftConnection) -> None:
        line.idle_since = time.monotonic()
        self._is_well(gateway)
        with self._lock:
            if not self._closed:
                gateway.idle.append(line)
                return
        line.close()

    def _next(self, attempt_seconds: float) -> _Gateway:
        """The next gateway in turn. One that has failed is passed over for a while, and then tried by a single call."""
        now = time.monotonic()
        with self._lock:
            self._turn = (self._turn + 1) % len(self._gateways)
            in_turn = self._gateways[self._turn :] + self._gateways[: self._turn]
            gateway = min(in_turn, key=lambda each: max(each.passed_over_until, now))
            if gateway.failures:
                gateway.passed_over_until = now + attempt_seconds
            return gateway

    def _pass_over(self, gateway: _Gateway) -> None:
        """Close the gateway's other connections: they have most likely failed, too."""
        with self._lock:
            seconds = min(_PASSED_OVER_SECONDS * 2 ** min(gateway.failures, 10), _PASSED_OVER_SECONDS_MAX)
            gateway.failures += 1
            gateway.passed_over_until = time.monotonic() + seconds
            idle, gateway.idle = gateway.idle, []
        for line in idle:
            line.close()

    def _is_well(self, gateway: _Gateway) -> None:
        if gateway.failures:
            with self._lock:
                gateway.failures = 0
                gateway.passed_over_until = 0.0

    def _wait(self, failures: int, until: float, gateway: _Gateway, error: Exception) -> None:
        """Pause before the next attempt, unless there is a gateway that was not asked yet."""
        fresh = failures + 1 < len(self._gateways)
        pause = 0.0 if fresh else min(_PAUSE_SECONDS * 2 ** min(failures, 10), _PAUSE_SECONDS_MAX)
        if time.monotonic() + pause >= until:
            raise ReadStoreUnavailable(f"HBase does not answer through {gateway.address}: {_words(error)}") from error
        log.debug("asking HBase again, %s failed: %s", gateway.address, _words(error))
        time.sleep(pause)


def _raise_if_lasting(error: Any) -> None:
    text = error.message or b""
    if any(name in text for name in _MISSING):
        raise TableMissing(f"HBase has no such table: {_words(error)}") from error
    if REFUSED_TABLE.encode() in text:
        raise CompressionMissing(f"HBase refuses: {_words(error)}") from error
    if any(name in text for name in _LASTING):
        raise HBaseFault(f"HBase refuses: {_words(error)}") from error


def _words(error: Any) -> str:
    """The error in one line: HBase sends stack traces."""
    if isinstance(error.__context__, ssl.SSLError):  # thriftpy2 says only that it could not connect
        error = error.__context__
    message = getattr(error, "message", None) or str(error)
    if isinstance(message, bytes):
        message = message.decode(errors="replace")
    return f"{type(error).__name__} {message.partition(chr(10))[0][:200]}".strip()
