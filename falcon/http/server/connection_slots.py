"""The number of connections that a server may have, in all and of one address."""

import contextlib
import logging
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, Final

from falcon.domain.ids import AccountId
from falcon.http.limits.per_address import ConnectionKey, ConnectionsPerAddress
from falcon.http.server import raw_responses
from falcon.http.server.raw_responses import LastResponse
from falcon.telemetry import metrics

log = logging.getLogger("falcon.http")

# Descriptors of a process for health checks, files, the database and connections to its peers.
_DESCRIPTORS_KEPT: Final = 128
_LOG_SECONDS: Final = 60.0
# Connections may use half of the memory. A connection with TLS that has asked once takes 57 KiB, one with an unfinished
# head of 31 KB 46 KiB; there is as much again for answers.
_CONNECTION_BYTES: Final = 128 << 10
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN_GROUP: Final = Path("/proc/self/cgroup")


def connections_for(processes: int = 1) -> int:
    """How many connections this process has descriptors and memory for. ``processes``: so many share the memory."""
    return min(descriptors_for_connections(), max(1, memory() // 2 // _CONNECTION_BYTES // processes))


def descriptors_for_connections() -> int:
    """How many connections this process has descriptors for, without the ones that it reserves."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(limit - _DESCRIPTORS_KEPT, limit // 2)


def memory(control_groups: Path = _CONTROL_GROUPS, own_group: Path = _OWN_GROUP) -> int:
    """The bytes that this process may use: the machine's, or fewer if a control group (of a container, or of systemd)
    allows fewer."""
    allowed = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError):  # another system has no groups, or another version of them
        group = control_groups / own_group.read_text().strip().removeprefix("0::/")
        while group.is_relative_to(control_groups):
            with contextlib.suppress(
                OSError, ValueError
            ):  # this group has no limit: there is no file, or it says "max"
                allowed.append(int((group / "memory.max").read_text()))
            group = group.parent
    return min(allowed)


class ConnectionSlot:
    """The slot of one connection, which counts until :meth:`free`."""

    __slots__ = ("_key", "_slots")

    def __init__(self, slots: "ConnectionSlots", key: ConnectionKey) -> None:
        self._slots = slots
        self._key = key

    def charge_to(self, account_id: AccountId) -> bool:
        """Count the connection for this account, if there is room. Returns True if it need not be asked for another
        one: a client that speaks for many accounts would move its count with each request."""
        if self._key is not None:
            self._key = self._slots.moved(self._key, account_id)
        return not isinstance(self._key, bytes)

    def free(self) -> None:
        """Must be called once. A request of the connection may learn its account later, which changes nothing then."""
        key, self._key = self._key, None
        self._slots.free(key)


class ConnectionSlots:
    """The slots of one server. A connection takes one when it is accepted, before it costs more than a descriptor, and
    frees it when it ends. It may speak another protocol by then.

    ``taken``: the number of slots that connections have.
    """

    def __init__(self, server: str, most: int | None, per_address: ConnectionsPerAddress | None) -> None:
        self._most = connections_for() if most is None else most
        self._per_address = per_address or ConnectionsPerAddress()
        self.moved: Final = self._per_address.moved
        self.taken = 0
        self._logged_at = -_LOG_SECONDS
        metrics.connections.labels(server).set_function(lambda: self.taken)
        metrics.connections_max.labels(server).set(self._most)

    def accept(self, client: Any) -> ConnectionSlot | LastResponse:
        """``client``: the other end, as the socket gives it. If there is no slot, the response that says so."""
        if self.taken >= self._most:
            self._log_full()
            return raw_responses.FULL
        address = self._per_address.key_of(client)
        refusal = self._per_address.enter(address)
        if refusal is not None:
            return LastResponse("address", refusal)
        self.taken += 1
        return ConnectionSlot(self, address)

    def free(self, key: ConnectionKey) -> None:
        self.taken -= 1
        self._per_address.leave(key)

    def _log_full(self) -> None:
        now = time.monotonic()
        if now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            log.warning("all %d connections are taken; more are refused", self._most)
