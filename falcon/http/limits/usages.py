"""The use that each account has made of its limits lately, in one place: a request looks it up once."""

import math
from typing import Final

from falcon.domain.ids import AccountId
from falcon.features.accounts.rules import AccountRole
from falcon.http.limits.quotas import Policies, Policy

# An account is in debt for so long at most, however much one request has cost.
_DEBT_SECONDS_MAX: Final = 10.0
_ACCOUNTS_MAX: Final = 50_000  # of each half, of some 800 bytes
_ROUNDING_SECONDS: Final = 1e-6  # the error of adding up times


class Bucket:
    """One rate of one account, as in ``falcon.base.buckets``: ``policy.quota`` uses at once.

    ``free_at``: when it may be used next. Each use moves that by ``each`` seconds, from ``slack`` seconds ago at the
    earliest. 0 seconds where there is no limit.
    """

    __slots__ = ("each", "free_at", "policy", "slack")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.free_at = self.slack = 0.0
        self.allow(1.0)

    def allow(self, factor: float) -> None:
        """So many times as many uses as the policy says. It stays as full as it is."""
        seconds, quota = self.policy.seconds, self.policy.quota
        self.each = seconds / quota / factor if quota else 0.0
        slack = seconds + _ROUNDING_SECONDS - self.each
        self.free_at += self.slack - slack
        self.slack = slack

    def charge(self, uses: float, now: float) -> bool:
        """Count uses that have happened. Returns True if it may not be used now."""
        free_at = max(self.free_at, now - self.slack) + self.each * uses
        self.free_at = min(free_at, now + self.each + _DEBT_SECONDS_MAX)
        return self.free_at > now


class Usage:
    """The use that one account makes of its limits. ``under_way``: its requests that wait for something, at most
    ``under_way_max``.

    ``role``: of the account when it was last asked for. ``seconds`` of the processor, and bytes ``sent``: for these it
    has not paid yet. ``is_special``: each of its requests is looked at, since it may owe, or has limits of its own.
    ``reads_ahead``: reads that count already and may begin, while fewer than ``under_way_max`` are under way.
    """

    __slots__ = (
        "account_id",
        "bytes",
        "commands",
        "cpu",
        "is_special",
        "reads",
        "reads_ahead",
        "role",
        "seconds",
        "sent",
        "under_way",
        "under_way_max",
    )

    def __init__(self, account_id: AccountId, policies: Policies, *, is_special: bool) -> None:
        self.account_id = account_id
        self.commands = Bucket(policies.account_commands)
        self.reads = Bucket(policies.account_reads)
        self.bytes = Bucket(policies.account_bytes_sent)
        self.cpu = Bucket(policies.account_cpu)
        self.reads_ahead = 0
        self.under_way = 0
        self.under_way_max = policies.account_requests.quota or math.inf
        self.role: AccountRole = "guest"
        self.seconds = 0.0
        self.sent = 0
        self.is_special = is_special

    def allow(self, factor: float) -> None:
        """So many times as much as the policies say."""
        for bucket in (self.commands, self.reads, self.bytes, self.cpu):
            bucket.allow(factor)

    def is_used(self, now: float) -> bool:
        """True if it must be kept."""
        buckets = (self.commands, self.reads, self.bytes, self.cpu)
        return self.under_way > 0 or any(bucket.free_at + bucket.slack > now for bucket in buckets)

    def pay(self, now: float) -> None:
        """Pay for what has been used since it last paid. If that is more than it has, its next request is refused."""
        owes = self.cpu.charge(self.seconds * 1_000, now)
        owes |= self.bytes.charge(self.sent, now)
        self.seconds, self.sent = 0.0, 0
        if owes:
            self.is_special, self.reads_ahead = True, 0


class Usages:
    """Usages by account, in two halves. An account that comes ``seconds`` after the last turn, or finds a half full,
    turns them: the older half keeps only what is still used. Nothing else is ever searched."""

    def __init__(self, policies: Policies, *, are_special: bool) -> None:
        """``are_special``: any account may have limits of its own."""
        self._policies = policies
        self._are_special = are_special
        rates = (policies.account_commands, policies.account_reads, policies.account_bytes_sent, policies.account_cpu)
        self._seconds = max(policy.seconds for policy in rates)
        self.lately: dict[AccountId, Usage] = {}  # in which callers may look first
        self._older: dict[AccountId, Usage] = {}
        self._turn_at = 0.0

    def __len__(self) -> int:
        return len(self.lately) + len(self._older)

    def of(self, account_id: AccountId, now: float) -> Usage:
        usage = self.lately.get(account_id)
        if usage is None:
            if now >= self._turn_at or len(self.lately) >= _ACCOUNTS_MAX:
                self._older = self.lately | {key: used for key, used in self._older.items() if used.is_used(now)}
                self.lately = {}
                self._turn_at = now + self._seconds
            usage = self._older.pop(account_id, None)
            usage = usage or Usage(account_id, self._policies, is_special=self._are_special)
            self.lately[account_id] = usage
        return usage
