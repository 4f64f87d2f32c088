"""A consumer group at its coordinator: who has joined, which generation it is, and who has fallen silent."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from aiokafka.errors import (
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

_NO_MEMBER: Final = ""


class Joined(NamedTuple):
    """``members``: what each said of itself, for the leader alone, who assigns; empty for all others."""

    member: str
    generation: int
    protocol: str
    leader: str
    members: dict[str, Any]


@dataclass(eq=False)
class _Member:
    """``joining``, ``syncing``: the answer that it waits for."""

    name: str
    client: str
    session_seconds: float
    rebalance_seconds: float
    protocols: dict[str, Any]
    joining: asyncio.Future[Joined] | None = None
    syncing: asyncio.Future[Any] | None = None
    expiry: asyncio.TimerHandle | None = None


@dataclass
class Group:
    """Eager rebalances, as aiokafka has them: all join, one assigns, all hear.

    ``delay_seconds``: how long a group that was empty waits for more members before its first assignment.
    """

    loop: asyncio.AbstractEventLoop
    delay_seconds: float = 0.0
    generation: int = 0
    _members: dict[str, _Member] = field(default_factory=dict)
    _assigned: dict[str, Any] = field(default_factory=dict)
    _leader: str = _NO_MEMBER
    _protocol: str = ""
    _rebalancing: bool = False  # joins are being waited for
    _waits_for_more: bool = False  # though all known members have joined
    _closing: asyncio.TimerHandle | None = None
    _names: int = 0

    async def join(
        self, member: str, client: str, session_seconds: float, rebalance_seconds: float, protocols: Mapping[str, Any]
    ) -> Joined:
        """Waits until all have joined or are given up. ``protocols``: what the member says, by assignor.

        Raises UnknownMemberIdError, InconsistentGroupProtocolError.
        """
        if member and member not in self._members:
            raise UnknownMemberIdError(member)
        if self._members and not set(protocols) & self._common(without=member):
            raise InconsistentGroupProtocolError(sorted(protocols))
        was_empty = not self._members
        if not member:
            self._names += 1
            member = f"{client}-{self._names}"
            self._members[member] = _Member(member, client, session_seconds, rebalance_seconds, dict(protocols))
        joining = self._members[member]
        joining.protocols = dict(protocols)
        joining.session_seconds, joining.rebalance_seconds = session_seconds, rebalance_seconds
        joining.joining = self.loop.create_future()
        self._stop_expiry(joining)  # who waits for an answer of the coordinator's is alive
        answer = joining.joining
        if not self._rebalancing:
            self._rebalance(self.delay_seconds if was_empty else None)
        self._close_when_all_are_here()
        return await answer

    async def sync(self, member: str, generation: int, assignments: Mapping[str, Any]) -> Any:
        """The member's assignment.

        Raises UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError.
        """
        known = self._known(member, generation)
        if self._rebalancing:
            raise RebalanceInProgressError(member)
        self._expire_later(known)
        if member in self._assigned:
            return self._assigned[member]
        if member == self._leader:
            self._assigned = {name: assignments.get(name) for name in self._members}
            for each in self._members.values():
                if each.syncing is not None and not each.syncing.done():
                    each.syncing.set_result(self._assigned[each.name])
                each.syncing = None
            return self._assigned[member]
        known.syncing = self.loop.create_future()
        return await known.syncing

    def heartbeat(self, member: str, generation: int) -> None:
        """Raises UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError."""
        self._expire_later(self._known(member, generation))
        if self._rebalancing:
            raise RebalanceInProgressError(member)

    def leave(self, member: str) -> None:
        """Raises UnknownMemberIdError."""
        if member not in self._members:
            raise UnknownMemberIdError(member)
        self._remove(self._members[member])

    def clients(self) -> dict[str, str]:
        """The client name of each member."""
        return {name: member.client for name, member in self._members.items()}

    def coordinator_moved(self) -> None:
        """Another node coordinates. It knows what was stored, and all sessions begin again."""
        for member in self._members.values():
            self._expire_later(member)

    # --- rebalances ---------------------------------------------------------------------------------------------------

    def _known(self, member: str, generation: int) -> _Member:
        if member not in self._members:
            raise UnknownMemberIdError(member)
        if generation != self.generation:
            raise IllegalGenerationError(generation)
        return self._members[member]

    def _common(self, without: str = _NO_MEMBER) -> set[str]:
        """The assignors that all others know; any will do where there are no others."""
        sets = [set(each.protocols) for name, each in self._members.items() if name != without]
        return set.intersection(*sets) if sets else {name for each in self._members.values() for name in each.protocols}

    def _rebalance(self, delay: float | None) -> None:
        self._rebalancing = True
        self._assigned = {}
        for member in self._members.values():
            if member.syncing is not None and not member.syncing.done():
                member.syncing.set_exception(RebalanceInProgressError(member.name))
            member.syncing = None
        seconds = max(each.rebalance_seconds for each in self._members.values()) if delay is None else delay
        self._closing = self.loop.call_later(seconds, self._close)
        self._waits_for_more = bool(delay)

    def _close_when_all_are_here(self) -> None:
        if self._rebalancing and not self._waits_for_more and all(each.joining for each in self._members.values()):
            self._close()

    def _close(self) -> None:
        """Members that have not joined by now are out."""
        if self._closing is not None:
            self._closing.cancel()
        for member in [each for each in self._members.values() if each.joining is None]:
            self._stop_expiry(member)
            del self._members[member.name]
        self._rebalancing = False
        self.generation += 1
        if not self._members:
            return
        first = next(iter(self._members.values()))
        self._leader = self._leader if self._leader in self._members else first.name
        common = self._common()
        self._protocol = next(name for name in self._members[self._leader].protocols if name in common)
        said = {name: each.protocols[self._protocol] for name, each in self._members.items()}
        for member in self._members.values():
            answer, member.joining = member.joining, None
            assert answer is not None
            if not answer.done():
                is_leader = member.name == self._leader
                answer.set_result(
                    Joined(member.name, self.generation, self._protocol, self._leader, said if is_leader else {})
                )
            self._expire_later(member)

    # --- sessions -----------------------------------------------------------------------------------------------------

    def _expire_later(self, member: _Member) -> None:
        self._stop_expiry(member)
        member.expiry = self.loop.call_later(member.session_seconds, self._expire, member)

    def _stop_expiry(self, member: _Member) -> None:
        if member.expiry is not None:
            member.expiry.cancel()
            member.expiry = None

    def _expire(self, member: _Member) -> None:
        if member.joining is None and self._members.get(member.name) is member:
            self._remove(member)

    def _remove(self, member: _Member) -> None:
        self._stop_expiry(member)
        del self._members[member.name]
        for waiting in (member.joining, member.syncing):
            if waiting is not None and not waiting.done():
                waiting.set_exception(UnknownMemberIdError(member.name))
        if not self._members:
            if self._closing is not None:
                self._closing.cancel()
            self._rebalancing = False
            self._assigned = {}
        elif self._rebalancing:
            self._close_when_all_are_here()
        else:
            self._rebalance(None)
