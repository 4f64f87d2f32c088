"""Counts the connections of each address."""

from falcon.buckets import Counts
from falcon.http.limits.addresses import Addresses, AddressKey
from falcon.http.limits.limiter import refused
from falcon.http.limits.quotas import Policies, Quotas
from falcon.http.problems import Problem


class ConnectionsPerAddress:
    """One instance for each server. Connections of trusted proxies are not counted; without a quota, none are."""

    def __init__(self, quotas: Quotas | None = None, addresses: Addresses | None = None) -> None:
        self._quotas = quotas or Quotas()
        self._addresses = addresses or Addresses()
        self._policy = Policies(self._quotas).address_connections
        self._connections = Counts(self._policy.quota)

    def of(self, client: tuple[str, int] | None) -> AddressKey | None:
        """The address that a connection of this peer counts for; None if it does not count."""
        return self._addresses.of_peer(client) if self._policy.quota else None

    def enter(self, address: AddressKey | None) -> bool:
        """True if there is room for one more, which counts until :meth:`leave`."""
        return address is None or self._connections.enter(address)

    def leave(self, address: AddressKey | None) -> None:
        if address is not None:
            self._connections.leave(address)

    def refusal(self) -> Problem:
        return refused(self._policy)
