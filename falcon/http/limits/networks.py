"""Rates of addresses. An IPv6 network of 48 bits has several times the quota of one address in it."""

from collections.abc import Callable
from typing import Final

from falcon.base.buckets import Buckets
from falcon.http.limits.addresses import AddressKey, network_of
from falcon.http.limits.quotas import Policy

# A /48 may be a university, or one customer with 65,536 networks of 64 bits.
NETWORK_QUOTAS: Final = 16
_ADDRESSES_MAX: Final = 50_000  # addresses in each of two halves; further addresses share one bucket


class BucketsOfAddresses:
    """Like Buckets, by address."""

    def __init__(self, policy: Policy, clock: Callable[[], float]) -> None:
        self._addresses = Buckets(policy.quota, policy.seconds, keys_max=_ADDRESSES_MAX, shared=True, clock=clock)
        self._networks = Buckets(
            policy.quota * NETWORK_QUOTAS, policy.seconds, keys_max=_ADDRESSES_MAX, shared=True, clock=clock
        )

    def consume(self, address: AddressKey) -> float:
        """Use the address once. Returns 0 if that is allowed; otherwise the seconds until it is."""
        network = network_of(address)
        wait = 0.0 if network is None else self._networks.wait(network)
        if not wait:
            wait = self._addresses.consume(address)
            if network is not None and not wait:
                self._networks.consume(network)
        return wait

    def charge(self, address: AddressKey, uses: float) -> None:
        """Count uses of the address that have happened."""
        self._addresses.charge(address, uses)
        network = network_of(address)
        if network is not None:
            self._networks.charge(network, uses)

    def wait(self, address: AddressKey) -> float:
        """Seconds until the address may be used; 0 if it may be now."""
        network = network_of(address)
        return max(self._addresses.wait(address), 0.0 if network is None else self._networks.wait(network))
