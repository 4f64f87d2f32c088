"""Memory that clients hold in a process: heads and bodies until their requests are answered, and answers until they are
read."""

import asyncio
from typing import Final, TypeAlias

from starlette.types import Scope

from falcon.domain.ids import AccountId
from falcon.http.limits.addresses import UNKNOWN, AddressKey
from falcon.http.limits.quotas import BYTES, Policy
from falcon.http.problems import Problem
from falcon.http.responses import BUDGET
from falcon.http.server.connection_slots import ConnectionSlot
from falcon.telemetry import metrics

_SMALL: Final = 8 << 10  # bytes of a body; its connection holds more than that

# An account holds bytes; without a good token, an address does.
Holder: TypeAlias = AccountId | AddressKey


class MemoryBudget:
    """Counts bytes, one instance for each event loop.

    A holder may have a fixed part of the bytes that are still free, so there is room for one more however many hold
    bytes already. A holder that is alone may have ``holder_bytes_max``; nine that take all they can get have half of
    that each, and leave 28 MiB of 64 free.
    """

    def __init__(self, process_bytes_max: int, holder_bytes_max: int) -> None:
        self._process_bytes_max = process_bytes_max
        self._holder_bytes_max = holder_bytes_max
        self._part = holder_bytes_max / max(1, process_bytes_max - holder_bytes_max)  # of the free bytes
        rule = "The bodies and unread answers of this {} are more than its share of the memory for them"
        self._account_bytes = Policy("account-bytes", rule.format("account"), holder_bytes_max, unit=BYTES)
        self._address_bytes = Policy("address-bytes", rule.format("address"), holder_bytes_max, unit=BYTES)
        self.size = 0  # in bytes
        self._of: dict[Holder, int] = {}
        metrics.http_held.set_function(lambda: self.size)
        metrics.http_held_refused.begin(("account",), ("address",), ("process",))

    def change(self, holder: Holder | None, size: int) -> None:
        """``size``: bytes that are added; negative if they are released. Without a holder, which may not be known yet,
        they count for the process alone."""
        self.size += size
        if holder is None:
            return
        now = self._of.get(holder, 0) + size
        if now:
            self._of[holder] = now
        else:
            self._of.pop(holder, None)

    def is_full(self, holder: Holder) -> bool:
        """True if the holder has as much as it may."""
        held = self._of.get(holder, 0)
        return held > 0 and held >= min(self._holder_bytes_max, self._part * (self._process_bytes_max - self.size))

    def refusal_of(self, holder: Holder) -> Problem | None:
        """The response to a holder that has as much as it may; None if it may have more."""
        if not self.is_full(holder):
            return None
        of = "account" if isinstance(holder, int) else "address"
        metrics.http_held_refused.labels(of).inc()
        return (self._account_bytes if of == "account" else self._address_bytes).problem()

    def refusal_of_process(self) -> Problem | None:
        """The response to clients of whom nothing is known yet, while the process holds as much as it may; else
        None."""
        if self.size < self._process_bytes_max:
            return None
        metrics.http_held_refused.labels("process").inc()
        detail = f"The bodies and unread answers on this server are more than {self._process_bytes_max} bytes."
        return Problem(503, "overloaded", detail, retry_after=1)


class ConnectionBudget:
    """The bytes that one connection holds. They count for the account whose request is under way on the connection, and
    without a good token for its address.

    Bytes of a body may come before their holder is known. Until then they count for the process alone: the connection
    may be a proxy's, so that its last request was another client's.

    ``account_id``: of the request, once it is known. ``address``: the client's. ``held``: bytes of all connections.
    """

    __slots__ = (
        "_bodies",
        "_bodies_of",
        "_head",
        "_holder",
        "_slot",
        "_unread",
        "_waiting",
        "account_id",
        "address",
        "held",
        "shares_answer",
    )

    def __init__(self, held: MemoryBudget, slot: ConnectionSlot | None = None, address: AddressKey = UNKNOWN) -> None:
        self.held = held
        self._slot = slot
        self.address = address
        self._holder: Holder = address
        self.account_id: AccountId | None = None
        self._head = 0
        self._bodies = 0
        self._bodies_of: Holder | None = None
        self._unread = 0
        self._waiting: asyncio.Future[None] | None = None
        self.shares_answer = False  # all clients that have not read the answer wait for the same bytes

    def start_request(self, address: AddressKey) -> None:
        """A request of this address begins, whose account is not known yet."""
        if self._bodies:
            self._move_bodies(None)
        self._bodies_of = None
        if self._head:
            self.set_head(0)
        if self._unread:
            self.set_unread(0)
        self.shares_answer = False
        self.account_id = None
        self.address = self._holder = address

    def charge_to(self, account_id: AccountId) -> Problem | None:
        """A request has a good token of this account. The response if the account holds as much as it may; else
        None."""
        if self._slot is not None and self._slot.charge_to(account_id):
            self._slot = None
        if self._bodies:
            self._move_bodies(account_id)
        self._bodies_of = account_id
        if self._unread and account_id != self._holder:
            self.held.change(self._holder, -self._unread)
            self.held.change(account_id, self._unread)
        self.account_id = self._holder = account_id
        return self.held.refusal_of(account_id) if self.held.size else None  # mostly nothing is held

    def may_wait(self) -> bool:
        """True if the request of the connection, which is refused, may wait for its response: its body is small, or
        there is room for it. If its account is not known, its body counts from now on for its address."""
        if self._bodies_of is None:
            self._move_bodies(self.address)
            self._bodies_of = self.address
        return self._bodies <= _SMALL or not self.held.is_full(self._bodies_of)

    def _move_bodies(self, holder: Holder | None) -> None:
        if holder != self._bodies_of:
            self.held.change(self._bodies_of, -self._bodies)
            self.held.change(holder, self._bodies)

    def refusal_of_head(self) -> Problem | None:
        """The response in place of reading more of a head; None if there is room."""
        return self.held.refusal_of(self.address)

    def refusal_of_body(self) -> Problem | None:
        """The response in place of reading more of a body; None if there is room."""
        if self._bodies_of is None:
            return self.held.refusal_of_process()
        return self.held.refusal_of(self._bodies_of)

    def refusal(self) -> Problem | None:
        """The response in place of a large answer; None if there is room."""
        return self.held.refusal_of(self._holder)

    def must_be_cut(self) -> bool:
        """True if its client holds unread bytes, and as much as it may."""
        return self._unread > 0 and self.held.is_full(self._holder)

    def set_head(self, size: int) -> None:
        """``size``: bytes of a head that is not complete. They count for the address."""
        if size != self._head:
            self.held.change(self.address, size - self._head)
            self._head = size

    def set_bodies(self, size: int) -> None:
        """``size``: bytes of the bodies of requests that are not answered yet."""
        if size != self._bodies:
            self.held.change(self._bodies_of, size - self._bodies)
            self._bodies = size

    def set_unread(self, size: int) -> None:
        """``size``: bytes that the client has not read yet. Memory is freed when it has read all of them."""
        if size:
            size = 0 if self.shares_answer else max(size, self._unread)
        if size != self._unread:
            self.held.change(self._holder, size - self._unread)
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
        self.set_head(0)
        self.set_bodies(0)
        self.set_unread(0)


def charge_to(scope: Scope, account_id: AccountId) -> Problem | None:
    """The connection of this request holds its bytes for this account. If that holds as much as it may, the response
    that says so."""
    budget: ConnectionBudget | None = scope.get("state", {}).get(BUDGET)
    return None if budget is None else budget.charge_to(account_id)


def share_answer(scope: Scope) -> None:
    """The answer to this request is in memory once, so its unread bytes cost nothing. Under TLS each client has a copy
    of its own."""
    budget: ConnectionBudget | None = scope.get("state", {}).get(BUDGET)
    if budget is not None:
        budget.shares_answer = scope["scheme"] == "http"


def refusal(scope: Scope) -> Problem | None:
    """The response in place of a large answer; None if there is room."""
    budget: ConnectionBudget | None = scope.get("state", {}).get(BUDGET)
    return None if budget is None else budget.refusal()
