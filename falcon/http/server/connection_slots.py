"""The number of connections that a server may have, in all and of one address."""

import logging
import resource
import sys
import time
from typing import Any, Final

from falcon.domain.ids import NOBODY, AccountId
from falcon.http.limits.per_address import ConnectionKey, ConnectionsPerAddress
from falcon.http.server import raw_responses
from falcon.http.server.raw_responses import LastResponse
from falcon.telemetry import metrics

log = logging.getLogger("falcon.http")

# Descriptors of a process for health checks, files, the database and connections to its peers.
_DESCRIPTORS_KEPT: Final = 128
_LOG_SECONDS: Final = 60.0


def descriptors_for_connections() -> int:
    """How many connections this process has descriptors for, without the ones that it reserves."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(limit - _DESCRIPTORS_KEPT, limit // 2)


class ConnectionSlot:
    """The slot of one connection, which counts until :meth:`free`. ``account_id``: of its last request with a good
    token; NOBODY before that."""

    __slots__ = ("_key", "_slots", "account_id")

    def __init__(self, slots: "ConnectionSlots", key: ConnectionKey) -> None:
        self._slots = slots
        self._key = key
        self.account_id = NOBODY

    def belongs_to(self, account_id: AccountId) -> None:
        """Count the connection for this account."""
        self.account_id = account_id
        self._key = self._slots.moved(self._key, account_id)

    def free(self) -> None:
        """Must be called once."""
        self._slots.free(self._key)


class ConnectionSlots:
    """The slots of one server. A connection takes one when it is accepted, before it costs more than a descriptor, and
    frees it when it ends. It may speak another protocol by then.

    ``taken``: the number of slots that connections have.
    """

    def __init__(self, server: str, most: int | None, per_address: ConnectionsPerAddress | None) -> None:
        self._most = descriptors_for_connections() if most is None else most
        self._per_address = per_address or ConnectionsPerAddress()
        self.taken = 0
        self._logged_at = -_LOG_SECONDS
        metrics.connections.labels(server).set_function(lambda: self.taken)
        metrics.connections_max.labels(server).set(self._most)

    def take(self, client: Any) -> ConnectionSlot | LastResponse:
        """``client``: the other end, as the socket gives it. If there is no slot, the response that says so."""
        if self.taken >= self._most:
            self._log_full()
            return raw_responses.FULL
        address = self._per_address.of(client)
        if not self._per_address.enter(address):
            return LastResponse("address", self._per_address.refusal())
        self.taken += 1
        return ConnectionSlot(self, address)

    def moved(self, key: ConnectionKey, account_id: AccountId) -> ConnectionKey:
        return self._per_address.moved(key, account_id)

    def free(self, key: ConnectionKey) -> None:
        self.taken -= 1
        self._per_address.leave(key)

    def _log_full(self) -> None:
        now = time.monotonic()
        if now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            log.warning("all %d connections are taken; more are refused", self._most)
