"""What a process holds for its clients: bodies until their requests are answered, and answers until they are taken."""

from typing import Final

from starlette.types import Scope

from falcon.domain.ids import NOBODY, AccountId
from falcon.http.problems import Problem
from falcon.telemetry import metrics

KEY: Final = "falcon.share"  # in the state of a request's scope


class Held:
    """Of one event loop. Those who have not said who they are share what one account may take."""

    def __init__(self, process_bytes_max: int, account_bytes_max: int) -> None:
        self._process_bytes_max = process_bytes_max
        self._account_bytes_max = account_bytes_max
        self.size = 0  # in bytes
        self._of: dict[AccountId, int] = {}
        metrics.http_held.set_function(lambda: self.size)
        metrics.http_held_refused.begin(("account",), ("process",))

    def change(self, account_id: AccountId, size: int) -> None:
        """By so many bytes; fewer than none are given back."""
        self.size += size
        now = self._of.get(account_id, 0) + size
        if now:
            self._of[account_id] = now
        else:
            self._of.pop(account_id, None)

    def is_full(self, account_id: AccountId) -> bool:
        """Whether more for this account would be too much."""
        return self.size >= self._process_bytes_max or self._of.get(account_id, 0) >= self._account_bytes_max

    def refusal_of(self, account_id: AccountId) -> Problem | None:
        """What to tell an account that has as much as it may."""
        if self._of.get(account_id, 0) < self._account_bytes_max:
            return None
        metrics.http_held_refused.labels("account").inc()
        if account_id == NOBODY:
            detail = f"This server holds more than {self._account_bytes_max} bytes for those without a token."
            return Problem(503, "overloaded", detail, retry_after=1)
        detail = f"The bodies and unread answers of this account are more than {self._account_bytes_max} bytes."
        return Problem(429, "rate_limited", detail, retry_after=1)

    def refusal(self, account_id: AccountId) -> Problem | None:
        """What to tell this account instead of holding something large for it."""
        if self.size < self._process_bytes_max:
            return self.refusal_of(account_id)
        metrics.http_held_refused.labels("process").inc()
        detail = f"The bodies and unread answers on this server are more than {self._process_bytes_max} bytes."
        return Problem(503, "overloaded", detail, retry_after=1)


class Share:
    """One connection's part of it. It counts for the account that asked last on the connection."""

    __slots__ = ("_account_id", "_bodies", "_held", "_unread")

    def __init__(self, held: Held) -> None:
        self._held = held
        self._account_id = NOBODY
        self._bodies = 0
        self._unread = 0

    def belongs_to(self, account_id: AccountId) -> None:
        """Raises Problem 429 where the account has as much as it may."""
        held = self._held
        if account_id != self._account_id:
            size = self._bodies + self._unread
            if size:
                held.change(self._account_id, -size)
                held.change(account_id, size)
            self._account_id = account_id
        problem = held.refusal_of(account_id)
        if problem is not None:
            raise problem

    def refusal(self) -> Problem | None:
        return self._held.refusal(self._account_id)

    @property
    def is_full(self) -> bool:
        return self._held.is_full(self._account_id)

    def set_bodies(self, size: int) -> None:
        """Bytes of the bodies that have come and are not answered yet."""
        self._held.change(self._account_id, size - self._bodies)
        self._bodies = size

    def set_unread(self, size: int) -> None:
        """Bytes that wait for the client."""
        if size != self._unread:
            self._held.change(self._account_id, size - self._unread)
            self._unread = size

    def release(self) -> None:
        """The connection has gone."""
        self.set_bodies(0)
        self.set_unread(0)


def belongs_to(scope: Scope, account_id: AccountId) -> None:
    """What the connection of this request holds, it holds for this account. Raises Problem 429."""
    share: Share | None = scope.get("state", {}).get(KEY)
    if share is not None:
        share.belongs_to(account_id)


def refusal(scope: Scope) -> Problem | None:
    """What to answer instead of something large."""
    share: Share | None = scope.get("state", {}).get(KEY)
    return None if share is None else share.refusal()
