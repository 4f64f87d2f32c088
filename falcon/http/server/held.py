"""Memory that clients hold in a process: bodies until their requests are answered, and answers until they are read."""

import asyncio
from typing import Final

from starlette.types import Scope

from falcon.domain.ids import NOBODY, AccountId
from falcon.http.limits.quotas import BYTES, Policy
from falcon.http.problems import Problem
from falcon.http.responses import SHARE
from falcon.http.server.connection_slots import ConnectionSlot
from falcon.telemetry import metrics

_SMALL: Final = 8 << 10  # bytes of a body; its connection holds more than that


class Held:
    """Counts bytes, one instance for each event loop. All clients without a token together may hold as much as one
    account."""

    def __init__(self, process_bytes_max: int, account_bytes_max: int) -> None:
        self._process_bytes_max = process_bytes_max
        self._account_bytes_max = account_bytes_max
        rule = f"The bodies and unread answers of this account are more than {account_bytes_max} bytes"
        self._account_bytes = Policy("account-bytes", rule, account_bytes_max, unit=BYTES)
        self.size = 0  # in bytes
        self._of: dict[AccountId, int] = {}
        metrics.http_held.set_function(lambda: self.size)
        metrics.http_held_refused.begin(("account",), ("process",))

    def change(self, account_id: AccountId | None, size: int) -> None:
        """``size``: bytes that are added; negative if they are released. Without an account, which may not be known
        yet, they count for the process alone."""
        self.size += size
        if account_id is None:
            return
        now = self._of.get(account_id, 0) + size
        if now:
            self._of[account_id] = now
        else:
            self._of.pop(account_id, None)

    def is_full(self, account_id: AccountId) -> bool:
        """True if the account, or the process, holds as much as it may."""
        return self.size >= self._process_bytes_max or self._of.get(account_id, 0) >= self._account_bytes_max

    def refusal_of(self, account_id: AccountId) -> Problem | None:
        """The response to an account that holds as much as it may; None if it may hold more."""
        if self._of.get(account_id, 0) < self._account_bytes_max:
            return None
        metrics.http_held_refused.labels("account").inc()
        if account_id == NOBODY:
            detail = f"This server holds more than {self._account_bytes_max} bytes for those without a token."
            return Problem(503, "overloaded", detail, retry_after=1)
        return self._account_bytes.problem()

    def refusal_of_process(self) -> Problem | None:
        """The response to every client while the process holds as much as it may; else None."""
        if self.size < self._process_bytes_max:
            return None
        metrics.http_held_refused.labels("process").inc()
        detail = f"The bodies and unread answers on this server are more than {self._process_bytes_max} bytes."
        return Problem(503, "overloaded", detail, retry_after=1)

    def refusal(self, account_id: AccountId) -> Problem | None:
        """The response to this account in place of a large answer; None if there is room."""
        return self.refusal_of_process() or self.refusal_of(account_id)


class Share:
    """The bytes that one connection holds. They count for the account whose request is under way on the connection.

    Bytes of a body may come before their account is known. Until then they count for the process alone: the connection
    may be a proxy's, so that its last request was another account's.
    """

    __slots__ = ("_account_id", "_bodies", "_bodies_of", "_held", "_slot", "_unread", "_waiting")

    def __init__(self, held: Held, slot: ConnectionSlot | None = None) -> None:
        self._held = held
        self._slot = slot
        self._account_id = NOBODY
        self._bodies = 0
        self._bodies_of: AccountId | None = None
        self._unread = 0
        self._waiting: asyncio.Future[None] | None = None

    def begins(self) -> None:
        """A request begins, whose account is not known yet."""
        if self._bodies:
            self._move_bodies(None)
        self._bodies_of = None
        if not self._unread:  # unread bytes still belong to the account of the request before
            self._account_id = NOBODY

    def belongs_to(self, account_id: AccountId) -> Problem | None:
        """A request has a good token of this account. The response if the account holds as much as it may; else
        None."""
        if self._slot is not None and self._slot.account_id != account_id:
            self._slot.belongs_to(account_id)
        if self._bodies:
            self._move_bodies(account_id)
        self._bodies_of = account_id
        if account_id != self._account_id:
            if self._unread:
                self._held.change(self._account_id, -self._unread)
                self._held.change(account_id, self._unread)
            self._account_id = account_id
        return self._held.refusal_of(account_id) if self._held.size else None

    def may_wait(self) -> bool:
        """True if the request of the connection, which is refused, may wait for its response: its body is small, or
        there is room for it. If its account is not known, its body counts from now on for those without a token."""
        if self._bodies_of is None:
            self._move_bodies(NOBODY)
            self._bodies_of = NOBODY
        return self._bodies <= _SMALL or not self._held.is_full(self._bodies_of)

    def _move_bodies(self, account_id: AccountId | None) -> None:
        if account_id != self._bodies_of:
            self._held.change(self._bodies_of, -self._bodies)
            self._held.change(account_id, self._bodies)

    def refusal_of_body(self) -> Problem | None:
        """The response in place of reading more of a body; None if there is room."""
        if self._bodies_of is None:
            return self._held.refusal_of_process()
        return self._held.refusal(self._bodies_of)

    def refusal(self) -> Problem | None:
        return self._held.refusal(self._account_id)

    @property
    def is_full(self) -> bool:
        return self._held.is_full(self._account_id)

    def set_bodies(self, size: int) -> None:
        """``size``: bytes of the bodies of requests that are not answered yet."""
        if size != self._bodies:
            self._held.change(self._bodies_of, size - self._bodies)
            self._bodies = size

    def set_unread(self, size: int) -> None:
        """``size``: bytes that the client has not read yet."""
        if size != self._unread:
            self._held.change(self._account_id, size - self._unread)
            self._unread = size

    async def wait(self, seconds: float) -> None:
        """Let the refusal of the connection's request wait, until :meth:`end_wait` at most."""
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        timer = loop.call_later(seconds, self.end_wait)
        try:
            await self._waiting
        finally:
            timer.cancel()

    def end_wait(self) -> None:
        """The client has left, or the server is about to."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def release(self) -> None:
        """The connection is closed."""
        self.end_wait()
        self.set_bodies(0)
        self.set_unread(0)


def belongs_to(scope: Scope, account_id: AccountId) -> Problem | None:
    """The connection of this request holds its bytes for this account. If that holds as much as it may, the response
    that says so."""
    share: Share | None = scope.get("state", {}).get(SHARE)
    return None if share is None else share.belongs_to(account_id)


def refusal(scope: Scope) -> Problem | None:
    """The response in place of a large answer; None if there is room."""
    share: Share | None = scope.get("state", {}).get(SHARE)
    return None if share is None else share.refusal()
