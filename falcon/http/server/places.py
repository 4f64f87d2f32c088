"""The number of connections that a server may have, in all and of one address."""

import logging
import resource
import sys
import time
from typing import Any, Final

from falcon.http.limits.addresses import AddressKey
from falcon.http.limits.per_address import ConnectionsPerAddress
from falcon.http.server import raw_responses
from falcon.http.server.raw_responses import LastResponse
from falcon.telemetry import metrics

log = logging.getLogger("falcon.http")

# Descriptors of a process for health checks, files, the database and connections to its peers.
_DESCRIPTORS_KEPT: Final = 128
_LOG_SECONDS: Final = 60.0


def descriptors_for_connections() -> int:
    """How many connections this process has descriptors for, without those that it reserves."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(limit - _DESCRIPTORS_KEPT, limit // 2)


class Place:
    """The place of one connection. It counts until :meth:`leave`."""

    __slots__ = ("_address", "_places")

    def __init__(self, places: "Places", address: AddressKey | None) -> None:
        self._places = places
        self._address = address

    def leave(self) -> None:
        """Must be called once."""
        self._places.leave(self._address)


class Places:
    """The places of one server. A connection takes its place when it is accepted, before it costs more than a
    descriptor, and leaves it when it ends, in whatever protocol.

    ``taken``: how many are.
    """

    def __init__(self, server: str, most: int | None, per_address: ConnectionsPerAddress | None) -> None:
        self._most = descriptors_for_connections() if most is None else most
        self._per_address = per_address or ConnectionsPerAddress()
        self.taken = 0
        self._logged_at = -_LOG_SECONDS
        metrics.connections.labels(server).set_function(lambda: self.taken)
        metrics.connections_max.labels(server).set(self._most)

    def take(self, client: Any) -> Place | LastResponse:
        """``client``: the other end, as the socket gives it. If there is no room, the response that says so."""
        if self.taken >= self._most:
            self._log_full()
            return raw_responses.FULL
        address = self._per_address.of(client)
        if not self._per_address.enter(address):
            return LastResponse("address", self._per_address.refusal())
        self.taken += 1
        return Place(self, address)

    def leave(self, address: AddressKey | None) -> None:
        self.taken -= 1
        self._per_address.leave(address)

    def _log_full(self) -> None:
        now = time.monotonic()
        if now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            log.warning("all %d connections are taken; more are refused", self._most)
