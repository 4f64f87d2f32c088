"""Connects to owners, only within their networks, and turns the HTTP connection into one for frames by an Upgrade."""

import asyncio
import re
import socket
from collections.abc import Sequence
from typing import Final

from falcon.adapters.owner_http.networks import sockets_within
from falcon.write.framing import PROTOCOL

_ADDRESS: Final = re.compile(r"\[?(.+?)\]?:([0-9]{1,5})")
_HEAD_BYTES_MAX: Final = 4 << 10


async def upgraded(address: str, networks: Sequence[str], protocol: asyncio.Protocol) -> None:
    """Connect the protocol to the server at ``address``, host:port. Raises OSError."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ConnectionError("this is no host:port")
    loop = asyncio.get_running_loop()
    upgrade = _Upgrade(address, protocol)
    await loop.create_connection(lambda: upgrade, sock=await _connected(found[1], int(found[2]), networks))
    try:
        await upgrade.done
    except BaseException:
        upgrade.transport.abort()
        raise


async def _connected(host: str, port: int, networks: Sequence[str]) -> socket.socket:
    """A connection to the first address of the host that can be reached. Raises OSError."""
    loop = asyncio.get_running_loop()
    make, refusal = sockets_within(networks), OSError(f"{host} has no address")
    for info in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            connecting = make(info)
        except OSError as error:
            refusal = error
            continue
        try:
            connecting.setblocking(False)
            await loop.sock_connect(connecting, info[4])
            return connecting
        except OSError as error:
            connecting.close()
            refusal = error
        except BaseException:
            connecting.close()
            raise
    raise refusal


class _Upgrade(asyncio.Protocol):
    """Asks for the upgrade, and hands the connection over to ``protocol``. ``done`` raises ConnectionError."""

    transport: asyncio.Transport

    def __init__(self, address: str, protocol: asyncio.Protocol) -> None:
        self._address = address
        self._protocol = protocol
        self._response = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.write(
            b"GET /internal/frames HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"
            % (self._address.encode(), PROTOCOL)
        )

    def data_received(self, data: bytes) -> None:
        self._response += data
        head, end, rest = self._response.partition(b"\r\n\r\n")
        if not end and len(head) <= _HEAD_BYTES_MAX:
            return
        if not head.startswith(b"HTTP/1.1 101 ") or PROTOCOL not in head.lower():
            self._fail(f"it does not speak {PROTOCOL.decode()}: {head.splitlines()[:1]}")
            return
        self.transport.set_protocol(self._protocol)
        self._protocol.connection_made(self.transport)
        if rest:
            self._protocol.data_received(rest)
        if not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"it has closed the connection: {error}")

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(why))
