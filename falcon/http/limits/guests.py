"""How many connections each address has."""

from falcon.buckets import Counts
from falcon.http.limits.addresses import Addresses, AddressKey
from falcon.http.limits.limiter import refused
from falcon.http.limits.quotas import Policies, Quotas
from falcon.http.problems import Problem


class Guests:
    """Of one server. Where there is no quota, or the peer is a trusted proxy, a connection is not counted."""

    def __init__(self, quotas: Quotas | None = None, addresses: Addresses | None = None) -> None:
        self._quotas = quotas or Quotas()
        self._addresses = addresses or Addresses()
        self._policy = Policies(self._quotas).address_connections
        self._connections = Counts(self._policy.quota)

    def apart(self) -> "Guests":
        """Others, with the same limit, that are counted by themselves."""
        return Guests(self._quotas, self._addresses)

    def of(self, client: tuple[str, int] | None) -> AddressKey | None:
        """Whom a connection of this peer counts for; None where it is not counted."""
        return self._addresses.of_peer(client) if self._policy.quota else None

    def enter(self, guest: AddressKey | None) -> bool:
        """Whether there is room for one more, which counts until :meth:`leave`."""
        return guest is None or self._connections.enter(guest)

    def leave(self, guest: AddressKey | None) -> None:
        if guest is not None:
            self._connections.leave(guest)

    def is_full(self, guest: AddressKey | None) -> bool:
        return guest is not None and self._connections.is_full(guest)

    def refusal(self) -> Problem:
        return refused(self._policy)
