"""Connections to owners, within the networks in which an owner may be.

The log says at which address an owner is reached, and commands carry messages. A forged address in the log must not
lead them out of the deployment.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp


def connector(networks: Sequence[str], **options: Any) -> aiohttp.TCPConnector:
    """Serves any number of aiohttp's connections. It checks the address that a name resolves to when it connects."""
    import aiohttp  # here: it is a third of what a Falcon on one machine imports, which has no use for it

    return aiohttp.TCPConnector(limit=0, socket_factory=sockets_within(networks), **options)


def sockets_within(networks: Sequence[str]) -> Callable[[Any], socket.socket]:
    """Makes the socket for one of the addresses that a name resolves to."""
    allowed = [ipaddress.ip_network(each) for each in networks]

    def make(address_info: Any) -> socket.socket:
        """Raises PermissionError."""
        family, kind, protocol, _, (host, *_) = address_info
        address: Any = ipaddress.ip_address(host.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if not any(address in network for network in allowed):
            raise PermissionError(f"{host} is not within FALCON_INTERNAL_NETWORKS")
        return socket.socket(family, kind, protocol)

    return make
