"""Decides if a request is within the limits of its account or its address. The answer is in this process's memory."""

import logging
import math
import random
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from starlette.types import Scope

from falcon.base.account_factors import AccountFactors
from falcon.base.buckets import Buckets, Counts, Switch
from falcon.domain.ids import AccountId
from falcon.features.accounts.rules import ADMINS
from falcon.http.limits.addresses import Addresses
from falcon.http.limits.costs import SHORT_SECONDS
from falcon.http.limits.networks import BucketsOfAddresses
from falcon.http.limits.quotas import Policies, Policy, Quotas
from falcon.http.limits.sign_ins import SignInAttempts, login_key
from falcon.http.limits.usages import Usage, Usages
from falcon.http.problems import Problem
from falcon.telemetry import metrics

log = logging.getLogger("falcon.http")

FORWARDED: Final = frozenset({b"x-forwarded-for", b"forwarded", b"via"})  # fields that proxies set
_KNOWN_PROXIES_MAX: Final = 1_000  # that need not be looked for again among the trusted networks
_READING: Final = frozenset({"GET", "HEAD"})
# A client that continues in spite of refusals gets this many a second, and waits for each further one. Otherwise it
# would get as many as the processor can make, and others would wait.
_REFUSALS: Final = 20
# And a process gives so many refusals a second to all clients without a good token. Many addresses together would
# otherwise take the processor, although each keeps to its own share.
_REFUSALS_UNAUTHENTICATED: Final = 100
# An account pays for what it may use in so many seconds at once: for each request alone that would cost a microsecond.
_PORTION_SECONDS: Final = 0.1
# Reads that an account gets at once, beside the one that it asks for: so many, and at most this part of its limit.
_AHEAD_MAX: Final = 15
_AHEAD_PART: Final = 16
_DELAY_SECONDS_MAX: Final = 4.0  # many clients give up after five, and would not learn why
_KEYS_MAX: Final = 50_000  # clients in each of two halves; further ones share one bucket


class Limiter:
    """One instance for each process. Without a quota there is no limit, and while ``switch`` is off there is none.

    ``factors``: of accounts that may take more or less than others. ``limits_requests``: True if an account's requests
    have a limit. ``limits_costs``: True if an account pays for what its requests cost. ``limits_addresses``:
    True if requests without a good token have one. ``watch``: to be called with the scope of each request that has a
    field of FORWARDED, until it is None; it finds a proxy that is not named, and then limits hold.

    ``clock`` gives seconds, and is monotonic: it does not follow changes of the time of day.
    """

    def __init__(
        self,
        quotas: Quotas | None = None,
        addresses: Addresses | None = None,
        clock: Callable[[], float] = time.monotonic,
        switch: Switch | None = None,
        factors: AccountFactors | None = None,
    ) -> None:
        self._quotas = quotas or Quotas()
        self._addresses = addresses or Addresses()
        self._switch = switch or Switch()
        self.clock = clock
        self.watch = None if self._quotas == Quotas() else self._watch
        self._known_proxies: set[str] = set()
        metrics.unnamed_proxies.set(0)
        self._sign_ins = SignInAttempts(clock)  # whatever the switch says
        self._factors = factors
        self._hold(self._quotas if self._switch.on else Quotas())

    def _hold(self, quotas: Quotas) -> None:
        """Begin to count. Nothing was used before."""
        self.policies = Policies(quotas)
        self.limits_costs = quotas.account_bytes_sent > 0 or quotas.account_cpu_ms > 0
        self.limits_requests = self.limits_costs or any(
            (quotas.account_commands, quotas.account_reads, quotas.account_requests)
        )
        self.limits_addresses = self.policies.address_requests.quota > 0
        self.usages = Usages(self.policies, are_special=self._factors is not None)
        self._reads_ahead = min(quotas.account_reads // _AHEAD_PART, _AHEAD_MAX)
        self._portion_seconds = quotas.account_cpu_ms / 1_000 * _PORTION_SECONDS or math.inf
        self.portion_bytes = quotas.account_bytes_sent * _PORTION_SECONDS or math.inf
        requests = self.policies.address_requests
        self._unauthenticated = BucketsOfAddresses(requests, self.clock)
        self._issued = Buckets(requests.quota, requests.seconds, keys_max=_KEYS_MAX, shared=True, clock=self.clock)
        self._documents = BucketsOfAddresses(self.policies.address_documents, self.clock)
        refusals = _REFUSALS_UNAUTHENTICATED * self.limits_addresses
        self._refusals_unauthenticated = Buckets(refusals, 1.0, ahead=_DELAY_SECONDS_MAX, clock=self.clock)
        self._new_rooms = self._buckets(self.policies.account_new_rooms)
        self._streams = Counts(self.policies.account_streams.quota)
        self._refusals = Buckets(
            _REFUSALS, 1.0, keys_max=_KEYS_MAX, shared=True, ahead=_DELAY_SECONDS_MAX, clock=self.clock
        )
        metrics.rate_limited.begin(*((name,) for name in self.policies.by_name))

    def _buckets(self, policy: Policy, ahead: float = 0.0) -> Buckets:
        return Buckets(policy.quota, policy.seconds, ahead=ahead, clock=self.clock)

    def _watch(self, scope: Scope) -> None:
        """A proxy has passed this request on. If it has no trust, all its clients have one address for Falcon, and they
        may come from anywhere, even if Falcon listens to its own machine only."""
        client = scope.get("client")
        peer = client[0] if client else ""
        if peer in self._known_proxies:
            return
        if client is not None and self._addresses.of_peer(client) is None:
            if len(self._known_proxies) < _KNOWN_PROXIES_MAX:
                self._known_proxies.add(peer)
            return
        self.watch = None
        metrics.unnamed_proxies.set(1)
        began = not self._switch.on
        if began:
            self._switch.on = True
            self._hold(self._quotas)
        log.error(
            "FALCON_TRUSTED_PROXIES does not name the proxy at %s, which passes requests on: all its clients count as "
            "one address%s. Set FALCON_TRUSTED_PROXIES=%s if that is your proxy's address; FALCON_LIMITS=off, if there "
            "shall be no limits",
            peer or "an unknown address",
            ", and limits are on from now on" if began else "",
            peer,
        )

    # --- an account ---------------------------------------------------------------------------------------------------

    def enter(self, account_id: AccountId, method: str) -> Usage:
        """A request of the account begins, and pays for its first SHORT_SECONDS. Raises Problem 429.

        A read may be the first of some that the account gets: the next ones take from ``usage.reads_ahead`` and need
        not come here. So it may have a sixteenth more at once than its limit says, if these are left from before.
        """
        now = self.clock()
        usage = self.usages.lately.get(account_id)
        if usage is None:
            usage = self.usages.of(account_id, now)
        if usage.is_special:
            self._look_at(usage, now)
        bucket, ahead = usage.commands, 0
        if method in _READING:
            bucket = usage.reads
            if not usage.is_special and not usage.reads_ahead:
                ahead = self._reads_ahead
        free_at, earliest = bucket.free_at, now - bucket.slack
        if free_at > now:
            raise self._refused(account_id, bucket.policy, free_at - now)
        bucket.free_at = (free_at if free_at > earliest else earliest) + bucket.each
        if usage.under_way >= usage.under_way_max:
            raise self._refused(account_id, self.policies.account_requests)
        usage.seconds += SHORT_SECONDS
        if ahead and bucket.free_at + bucket.each * (ahead - 1) <= now:
            bucket.free_at += bucket.each * ahead
            usage.seconds += SHORT_SECONDS * ahead
            usage.reads_ahead = ahead
        if usage.seconds > self._portion_seconds:
            self.settle(usage)
        return usage

    def leave(self, usage: Usage, seconds: float) -> None:
        """The request ends. If it took longer than SHORT_SECONDS, its account pays for these seconds of the processor
        as in :meth:`charge`."""
        usage.seconds += max(0.0, seconds - SHORT_SECONDS)
        if usage.seconds > self._portion_seconds:
            self.settle(usage)

    def settle(self, usage: Usage) -> None:
        """The account pays for all that its usage has got. Administrators do not pay: they export and import all there
        is."""
        if usage.role in ADMINS:
            usage.seconds, usage.sent = 0.0, 0
        else:
            usage.pay(self.clock())

    def check_stream(self, account_id: AccountId) -> None:
        """A request for a stream counts as a read. Raises Problem 429, also if the account has too many streams."""
        self.enter(account_id, "GET")
        if self._streams.is_full(account_id, self.factor(account_id)):
            raise self._refused(account_id, self.policies.account_streams)

    @contextmanager
    def stream(self, account_id: AccountId) -> Iterator[None]:
        """Counts a stream of the account while it lasts. Raises Problem 429."""
        streams = self._streams  # others may be counted when it ends
        if not streams.enter(account_id, self.factor(account_id)):
            raise self._refused(account_id, self.policies.account_streams)
        try:
            yield
        finally:
            streams.leave(account_id)

    def refusal_of_new_room(self, account_id: AccountId) -> Problem | None:
        """The refusal if the account has made as many rooms as it may in a day."""
        wait = self._new_rooms.wait(account_id)
        return self._refused(account_id, self.policies.account_new_rooms, wait) if wait else None

    def made_room(self, account_id: AccountId) -> None:
        self._new_rooms.consume(account_id, 1.0 / self.factor(account_id))

    def factor(self, account_id: AccountId) -> float:
        """How many times each limit of an account this one may take."""
        return 1.0 if self._factors is None else self._factors.factor_of(account_id)

    def charge(self, account_id: AccountId, seconds: float, sent: int = 0) -> None:
        """The account pays for an answer: for the processor time that it took, and for ``sent`` bytes of it. If that is
        more than it has, its next request is refused."""
        now = self.clock()
        usage = self.usages.of(account_id, now)
        usage.seconds += seconds
        usage.sent += sent
        usage.pay(now)

    def _look_at(self, usage: Usage, now: float) -> None:
        """Raises Problem 429 while the account owes more than it has."""
        if self._factors is not None:
            factor = self._factors.factor_of(usage.account_id)
            usage.allow(factor)
            usage.under_way_max = (self.policies.account_requests.quota or math.inf) * factor
        for bucket in (usage.bytes, usage.cpu):
            if bucket.free_at > now:
                raise self._refused(usage.account_id, bucket.policy, bucket.free_at - now)
        usage.is_special = self._factors is not None

    def refused_by_owner(self, limit: str, wait: float) -> Problem:
        """The problem for a limit that a partition's owner keeps: only the owner sees the commands of all processes."""
        policy = self.policies.by_name.get(limit)
        if policy is None or not policy.quota:  # the owner has other settings
            policy = Policy(limit, f"The limit {limit} is reached", 0)
        return refused(policy, wait)

    # --- an address ---------------------------------------------------------------------------------------------------

    def check_unauthenticated(self, scope: Scope, issued: str | None) -> None:
        """Raises Problem 429 if the request's address has used up its requests without a good token.

        ``issued``: the hash of a secret that this deployment has issued. The token may have been revoked, or may name
        another account. Each such secret has a count of its own, so that clients that share an address with an attacker
        are still admitted. An attacker has only as many such secrets as it was given tokens.
        """
        address = self._addresses.of_request(scope.get("client"), scope["headers"])
        key = address if issued is None else (address, issued)
        wait = self._unauthenticated.wait(address) if issued is None else self._issued.wait(key)
        if wait:
            raise self.delayed(self._refused(key, self.policies.address_requests, wait), scope)

    def count_unauthenticated(self, scope: Scope, issued: str | None = None) -> None:
        """Count a request without a good token. Raises Problem 429."""
        address = self._addresses.of_request(scope.get("client"), scope["headers"])
        key = address if issued is None else (address, issued)
        wait = self._unauthenticated.consume(address) if issued is None else self._issued.consume(key)
        if wait:
            raise self.delayed(self._refused(key, self.policies.address_requests, wait), scope)

    def begin_sign_in(self, login: str, scope: Scope) -> None:
        """An attempt to sign in begins, which counts as wrong until :meth:`signed_in`. Raises Problem 429."""
        key, address = login_key(login), self._addresses.of_request(scope.get("client"), scope["headers"])
        reached = self._sign_ins.reached(key, address)
        if reached is not None:
            raise self.delayed(self._refused(address, *reached), scope)
        self._sign_ins.count(key, address)

    def signed_in(self, login: str, scope: Scope) -> None:
        """The attempt was right, or could not be judged."""
        address = self._addresses.of_request(scope.get("client"), scope["headers"])
        self._sign_ins.count(login_key(login), address, -1)

    def address_of(self, scope: Scope) -> str:
        """The address of the client, for people to read."""
        return self._addresses.text_of(scope.get("client"), scope["headers"])

    def count_document(self, scope: Scope) -> None:
        """Count a page or file that is the same for all. It needs no token: many people of one address load the web
        client at the same time, before anything tells them apart. Raises Problem 429."""
        if not self.limits_addresses:
            return
        address = self._addresses.of_request(scope.get("client"), scope["headers"])
        wait = self._documents.consume(address)
        if wait:
            raise self.delayed(self._refused(address, self.policies.address_documents, wait), scope)

    def delayed(self, problem: Problem, scope: Scope) -> Problem:
        """The refusal of a request without a good token. It waits if too many clients are refused at the time."""
        problem.behind_proxy = self._addresses.behind_proxy(scope.get("client"), scope["headers"])
        if problem.delay_seconds:  # its address has its own delay, and takes none of the turns of all
            return problem
        return _delayed(problem, self._refusals_unauthenticated.consume(None))

    # --- refusals -----------------------------------------------------------------------------------------------------

    def _refused(self, client: Hashable, policy: Policy, wait: float = 0.0) -> Problem:
        return _delayed(refused(policy, wait), self._refusals.consume(client))


def _delayed(problem: Problem, seconds: float) -> Problem:
    """``seconds``: until the response has its turn."""
    if seconds > _DELAY_SECONDS_MAX:  # it has none, and must not come together with others that have none
        seconds = random.uniform(_DELAY_SECONDS_MAX / 2, _DELAY_SECONDS_MAX)  # noqa: S311  not a secret
    problem.delay_seconds = max(problem.delay_seconds, seconds)
    return problem


def refused(policy: Policy, wait: float = 0.0) -> Problem:
    """The problem for a limit, which is counted. ``wait``: seconds until there is room, if that is known."""
    metrics.rate_limited.labels(policy.name).inc()
    return policy.problem(wait)
