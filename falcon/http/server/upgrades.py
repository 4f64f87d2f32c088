"""Connections that leave HTTP by an Upgrade (RFC 9110, 7.8), other than WebSockets."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias


class UpgradedConnection(asyncio.Protocol):
    """Counts as a connection of its server, and of its address, until it is lost."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.on_lost: Callable[[], None] = _nothing

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.on_lost()

    def check_time(self, now: float) -> None:
        """Called about once a second, with the loop's clock."""

    def shutdown(self) -> None:
        """The server ends. It waits some seconds for the connection to end."""
        self.transport.close()


# By the name of the protocol, in small letters.
Upgrades: TypeAlias = Mapping[bytes, Callable[[], UpgradedConnection]]
NO_UPGRADES: Final[Upgrades] = {}


def switching_to(protocol: bytes) -> bytes:
    """The response before the first byte of the other protocol."""
    return b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol


def _nothing() -> None:
    """Does nothing: no server counts the connection."""
