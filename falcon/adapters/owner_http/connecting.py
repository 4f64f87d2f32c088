"""Connects to owners: to those of other machines by HTTP and an Upgrade, only within their networks; to those of this
machine by a socket in a folder."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from falcon.adapters.owner_http.networks import sockets_within
from falcon.base.process import short_path
from falcon.write.framing import PROTOCOL

# Connects the protocol to the process at this address. Raises OSError, and ValueError or OverflowError for what is no
# address.
Connect: TypeAlias = Callable[[str, asyncio.Protocol], Awaitable[None]]

_ADDRESS: Final = re.compile(r"\[?(.+?)\]?:([0-9]{1,5})")
# An owner's head has some hundred bytes; this is no place for a stranger to fill memory.
_HEAD_BYTES_MAX: Final = 4 << 10
_SHOWN_BYTES: Final = 80  # of a strange answer, in a log line
_PAUSE_SECONDS: Final = 0.02  # a process of this machine that starts is found this soon


async def upgraded(address: str, protocol: asyncio.Protocol, networks: Sequence[str]) -> None:
    """Connect the protocol to the server at ``address``, host:port, within these networks. Raises as Connect does."""
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


async def connected_locally(address: str, protocol: asyncio.Protocol, folder: Path) -> None:
    """Connect the protocol to the socket that is called ``address`` in ``folder``. If no process listens there, one is
    being started: wait for it until the caller gives up. Raises as Connect does."""
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        while not _is_listening(connecting, folder, address):
            await asyncio.sleep(_PAUSE_SECONDS)
        await asyncio.get_running_loop().create_unix_connection(lambda: protocol, sock=connecting)
    except BaseException:
        connecting.close()
        raise


def _is_listening(connecting: socket.socket, folder: Path, name: str) -> bool:
    """Connects if it is."""
    with short_path(folder, name) as path:
        try:
            connecting.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):  # the last: its queue is full
            return False
    return True


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
            said = head.partition(b"\r\n")[0][:_SHOWN_BYTES].decode(errors="replace")
            why = f"it does not speak {PROTOCOL.decode()} ({said})"
            self._fail(f"{why}: an older falcon write is to be replaced before falcon api")
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
