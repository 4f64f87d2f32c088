"""A pod in a network of its own, so that it alone can be cut off from the brokers.

Brokers tell their clients the addresses at which they are reached, so a proxy at another address is passed by. In a
network namespace of its own a pod has a loopback of its own, and there the brokers' very addresses can be taken by
passages, which carry bytes to the real ones. A passage that is shut carries nothing either way and says nothing: to
both ends it is a network that has gone silent, and what was under way arrives when it is opened again.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from tools.harness.ports import HOST

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_CHUNK: Final = 1 << 16


class NotPermitted(Exception):
    """Networks of one's own need root."""


class Apart:
    """A network namespace, entered by one thread: what that thread starts lives in it, and its sockets belong to it."""

    def __init__(self) -> None:
        """Raises NotPermitted."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="apart")
        self._servers: list[asyncio.Server] = []
        self._carrying: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._always = asyncio.Event()
        self._always.set()
        try:
            self.do(_enter)
        except OSError as error:
            raise NotPermitted(f"a network namespace cannot be made: {error}") from error

    def do(self, act: Callable[[], T]) -> T:
        """Call it on the thread that is inside, and wait."""
        return self._thread.submit(act).result()

    async def lead_out(self, ports: Iterable[int], *, can_be_shut: bool) -> None:
        """Processes inside that connect to one of these ports reach the same port outside."""
        gate = self._open if can_be_shut else self._always
        for port in ports:
            await self._serve(self.do(lambda port=port: _listening(port)), port, socket.socket, gate)  # type: ignore[misc]

    async def lead_in(self, ports: Iterable[int]) -> None:
        """Processes outside that connect to one of these ports reach the same port inside."""
        for port in ports:
            await self._serve(_listening(port), port, lambda: self.do(socket.socket), self._always)

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        self._thread.shutdown()

    async def _serve(
        self, listening: socket.socket, port: int, make: Callable[[], socket.socket], gate: asyncio.Event
    ) -> None:
        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await _carry(reader, writer, make(), port, gate)
            writer.transport.abort()

        self._servers.append(await asyncio.start_server(carry, sock=listening))


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, beyond: socket.socket, port: int, gate: asyncio.Event
) -> None:
    """Carry bytes until both ends have closed, or one is broken."""
    await gate.wait()
    beyond.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(beyond, (HOST, port))
    except BaseException:
        beyond.close()
        raise
    other_reader, other_writer = await asyncio.open_connection(sock=beyond)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(reader, other_writer, gate))
            both.create_task(_pump(other_reader, writer, gate))
    except* OSError:
        pass
    finally:
        other_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
    while data := await reader.read(_CHUNK):
        await gate.wait()
        writer.write(data)
        await writer.drain()
    await gate.wait()
    if writer.can_write_eof():
        writer.write_eof()


def _listening(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((HOST, port))
    listening.listen(256)
    return listening


def _enter() -> None:
    """Leave the common network, for this thread and what it starts; bring the new one's loopback up."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
