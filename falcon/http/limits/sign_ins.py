"""Bounds how often passwords are guessed. They hold on loopback too, and whatever FALCON_LIMITS says."""

import hashlib
from collections.abc import Callable
from typing import Final

from falcon.base.buckets import Buckets
from falcon.http.limits.addresses import AddressKey
from falcon.http.limits.networks import BucketsOfAddresses
from falcon.http.limits.quotas import SIGN_IN_ADDRESS, SIGN_IN_LOGIN, Policy

_LOGINS_MAX: Final = 50_000  # in each of two halves; further logins share one bucket


class SignInAttempts:
    """Counts each attempt as wrong until its password is found right. One instance for each process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        login = SIGN_IN_LOGIN
        self._logins = Buckets(login.quota, login.seconds, keys_max=_LOGINS_MAX, shared=True, clock=clock)
        self._addresses = BucketsOfAddresses(SIGN_IN_ADDRESS, clock)

    def reached(self, login: bytes, address: AddressKey) -> tuple[Policy, float] | None:
        """The limit that is reached, and for how many seconds."""
        wait = self._addresses.wait(address)
        if wait:
            return SIGN_IN_ADDRESS, wait
        wait = self._logins.wait(login)
        return (SIGN_IN_LOGIN, wait) if wait else None

    def count(self, login: bytes, address: AddressKey, uses: int = 1) -> None:
        """An attempt begins. -1: it was right, and does not count any more."""
        self._logins.charge(login, uses)
        self._addresses.charge(address, uses)


def login_key(login: str) -> bytes:
    """The same for all spellings of a login, known or not. It does not show the login."""
    return hashlib.blake2b(login.casefold().encode("utf-8", "surrogatepass"), digest_size=16).digest()
