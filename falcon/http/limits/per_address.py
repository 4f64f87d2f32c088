"""Counts the connections of each address, and those of each account."""

import time
from typing import Final, TypeAlias

from falcon.base.buckets import Counts, Switch
from falcon.domain.ids import AccountId
from falcon.http.limits.addresses import Addresses, AddressKey, network_of
from falcon.http.limits.limiter import refused
from falcon.http.limits.networks import NETWORK_QUOTAS, BucketsOfAddresses
from falcon.http.limits.quotas import Policies, Quotas
from falcon.http.problems import Problem

# What a connection counts for; None if it does not count.
ConnectionKey: TypeAlias = AddressKey | AccountId | None


class ConnectionsPerAddress:
    """One instance for each server. Connections of trusted proxies are not counted; without a quota, none are.

    A connection counts for its address until an account is known. From then on it counts for this account, which may
    have as many: hundreds of people may share one address. Those beyond that still count for their address. New
    connections have a rate, too: each costs as much as a few requests, with TLS more than the client's own part.
    """

    def __init__(
        self, quotas: Quotas | None = None, addresses: Addresses | None = None, switch: Switch | None = None
    ) -> None:
        self._quotas = quotas or Quotas()
        self.addresses: Final = addresses or Addresses()
        self._switch = switch or Switch()
        policies = Policies(self._quotas)
        self._policy = policies.address_connections
        self._connections = Counts(self._policy.quota)
        self._of_networks = Counts(self._policy.quota * NETWORK_QUOTAS)
        self._new_policy = policies.address_new_connections
        self._new = BucketsOfAddresses(self._new_policy, time.monotonic)

    def key_of(self, client: tuple[str, int] | None) -> AddressKey | None:
        """The address that a connection of this peer counts for; None if it does not count."""
        return self.addresses.of_peer(client) if self._policy.quota and self._switch.on else None

    def enter(self, key: ConnectionKey) -> Problem | None:
        """Count one more connection until :meth:`leave`; the response to it if there is no room."""
        if key is None:
            return None
        if not self._count(key):
            return refused(self._policy)
        wait = self._new.consume(key) if isinstance(key, bytes) else 0.0
        if wait:
            self.leave(key)
            return refused(self._new_policy, wait)
        return None

    def moved(self, key: ConnectionKey, account_id: AccountId) -> ConnectionKey:
        """Count a connection for the account in place of ``key``, if there is room. Returns what it counts for now."""
        if key is None or not self._connections.enter(account_id):
            return key
        self.leave(key)
        return account_id

    def leave(self, key: ConnectionKey) -> None:
        if key is not None:
            self._connections.leave(key)
            if (network := _network_of(key)) is not None:
                self._of_networks.leave(network)

    def _count(self, key: AddressKey | AccountId) -> bool:
        """True if there was room for one more."""
        network = _network_of(key)
        if network is not None and self._of_networks.is_full(network):
            return False
        if not self._connections.enter(key):
            return False
        return network is None or self._of_networks.enter(network)


def _network_of(key: AddressKey | AccountId) -> AddressKey | None:
    return network_of(key) if isinstance(key, bytes) else None
