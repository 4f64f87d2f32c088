"""One connection to a gateway, and the faults that its other end may report."""

import ssl
import time
from collections.abc import Sequence
from typing import Any, Final

from thriftpy2.protocol import TBinaryProtocol
from thriftpy2.thrift import TClient, args_to_kwargs
from thriftpy2.transport import TBufferedTransport, TMemoryBuffer, TSocket, TSSLSocket

from falcon.adapters.hbase.thrift import Hbase

# HBase names this setting in its error about a table that it cannot keep: in Falcon's case one with a compression that
# its region servers do not have. The rest of the error is the compression's own.
REFUSED_TABLE: Final = "hbase.table.sanity.checks"


_BUFFER_BYTES: Final = 32 << 10  # a page of 50 messages has some 20 KB: with 4 KiB it took six system calls


class HBaseFault(Exception):
    """HBase refuses the call, and would refuse it again. The message says why."""


class TableMissing(HBaseFault):
    """The table does not exist, or is being dropped."""


class CompressionMissing(HBaseFault):
    """HBase does not have the compression that a table was to be created with."""


class ThriftConnection:
    """One connection, for one thread at a time. ``tls``: for gateways with TLS."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.until = 0.0
        self.idle_since = 0.0
        self._socket = TSocket(host, port) if tls is None else TSSLSocket(host, port, ssl_context=tls)
        self._transport = TBufferedTransport(self._socket, _BUFFER_BYTES)
        self._answers = TBinaryProtocol(self._transport, decode_response=False)
        self._client = TClient(Hbase, self._answers)

    @property
    def client(self) -> Any:
        """A client for one call, which ends by ``until``. Raises TimeoutError, TTransportException."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time left")
        self._socket.set_timeout(left * 1_000)
        if not self._socket.is_open():
            self._transport.open()
        return self._client

    def together(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """The answers to several calls, each with its name and arguments. All are sent at once, so they take one wait.
        The gateway makes one after the other. Raises as :attr:`client` and the calls do."""
        _ = self.client  # connects
        questions = TMemoryBuffer()
        client = TClient(Hbase, self._answers, TBinaryProtocol(questions))
        for name, args in calls:
            client._send(name, **args_to_kwargs(getattr(Hbase, f"{name}_args").thrift_spec, *args))
        self._socket.write(questions.getvalue())
        return [self.client._recv(name) for name, _ in calls]  # each sets the time that is left

    def close(self) -> None:
        self._socket.close()
