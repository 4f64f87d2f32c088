"""Counts the connections of each address, and those of each account."""

from typing import Final, TypeAlias

from falcon.buckets import Counts, Switch
from falcon.domain.ids import AccountId
from falcon.http.limits.addresses import Addresses, AddressKey
from falcon.http.limits.limiter import refused
from falcon.http.limits.quotas import Policies, Quotas
from falcon.http.problems import Problem

# What a connection counts for; None if it does not count.
ConnectionKey: TypeAlias = AddressKey | AccountId | None


class ConnectionsPerAddress:
    """One instance for each server. Connections of trusted proxies are not counted; without a quota, none are.

    A connection counts for its address until an account is known. From then on it counts for the account, which may
    have as many: hundreds of people may share one address. Those beyond that still count for their address.
    """

    def __init__(
        self, quotas: Quotas | None = None, addresses: Addresses | None = None, switch: Switch | None = None
    ) -> None:
        self._quotas = quotas or Quotas()
        self.addresses: Final = addresses or Addresses()
        self._switch = switch or Switch()
        self._policy = Policies(self._quotas).address_connections
        self._connections = Counts(self._policy.quota)

    def of(self, client: tuple[str, int] | None) -> AddressKey | None:
        """The address that a connection of this peer counts for; None if it does not count."""
        return self.addresses.of_peer(client) if self._policy.quota and self._switch.on else None

    def enter(self, key: ConnectionKey) -> bool:
        """True if there is room for one more, which counts until :meth:`leave`."""
        return key is None or self._connections.enter(key)

    def moved(self, key: ConnectionKey, account_id: AccountId) -> ConnectionKey:
        """Count a connection for the account in place of ``key``, if there is room. Returns what it counts for now."""
        if key is None or key == account_id or not self._connections.enter(account_id):
            return key
        self._connections.leave(key)
        return account_id

    def leave(self, key: ConnectionKey) -> None:
        if key is not None:
            self._connections.leave(key)

    def refusal(self) -> Problem:
        return refused(self._policy)
