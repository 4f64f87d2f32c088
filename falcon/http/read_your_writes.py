"""Reads that show what their client was told is done: Falcon-Position, and refusals that rest on the newest state."""

import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final, ParamSpec, TypeVar

from falcon.domain.ids import AccountId, Partition, RoomId, partition_of
from falcon.features.read_marks.table import Access, Newest
from falcon.http.freshness import Freshness
from falcon.http.problems import Problem, broken, invalid, room_not_found
from falcon.http.requests import AuthedRequest, Headers
from falcon.read.catalogue import ReadStore
from falcon.read.names import AccountNames

WAIT_SECONDS: Final = 2  # the tables are milliseconds behind; 2 s outlast a projector that another replaces
WAIT_SECONDS_MAX: Final = 10  # a request that waits holds its connection and its place among the requests
_POSITION: Final = re.compile(rb"([0-9]{1,5}):([0-9]{1,18})")
_POSITIONS_MAX: Final = 4_096  # as many partitions as there can be

P = ParamSpec("P")
T = TypeVar("T")


class ReadYourWrites:
    """A request waits for the read tables for ``WAIT_SECONDS``, unless its Falcon-Wait names another time."""

    def __init__(self, store: ReadStore, names: AccountNames, freshness: Freshness, partitions: int) -> None:
        self._store = store
        self._names = names
        self.freshness = freshness
        self.partitions = partitions

    # --- positions ----------------------------------------------------------------------------------------------------

    def parse_positions(self, falcon_position: bytes) -> tuple[tuple[Partition, int], ...]:
        """Partitions and offsets of a Falcon-Position. Of several offsets in one partition the largest is enough, since
        the read tables follow the log's order. Raises Problem 400."""
        items = falcon_position.split(b",")
        largest: dict[Partition, int] = {}
        for item in items[:_POSITIONS_MAX]:
            match = _POSITION.fullmatch(item.strip())
            if match is None or int(match[1]) >= self.partitions:
                raise _malformed_position()
            partition, offset = int(match[1]), int(match[2])
            largest[partition] = max(offset, largest.get(partition, 0))
        if len(items) > _POSITIONS_MAX:
            raise _malformed_position()
        return tuple(largest.items())

    async def reach_positions(self, request: AuthedRequest) -> None:
        """Wait for the request's Falcon-Position. Raises Problem 422, 503, ReadStoreUnavailable."""
        if request.positions:
            await self.reach_all(request.positions, time.monotonic() + self.seconds_left(request))
            request.positions = ()

    async def reach_all(self, positions: Collection[tuple[Partition, int]], until: float) -> None:
        """Wait until reads show the events at these offsets. Raises Problem 503 at ``until``, on CLOCK_MONOTONIC,
        ReadStoreUnavailable."""
        if len(positions) > 1:  # one query finds the ones that the tables have not reached yet
            applied = await self._store.applied_in([partition for partition, _ in positions])
            positions = [each for each in positions if applied[each[0]] <= each[1]]
        for partition, offset in positions:
            await self.freshness.reach(partition, offset, max(0.0, until - time.monotonic()))

    # --- the newest state, where the tables say no --------------------------------------------------------------------

    async def access(self, request: AuthedRequest, room_id: RoomId, newest: Newest | None = None) -> Access:
        """The caller's rights in the room. ``newest``: see MembershipQueries.

        Raises Problem 404 if the caller may not read it, 503.
        """
        account_id = request.account_id
        access = await self._store.access(room_id, account_id, newest)
        if access is None or (access.role is None and request.is_guest):
            access = await self.newest(request, room_id, self._store.access, room_id, account_id, newest)
        if access is None or (access.role is None and request.is_guest):
            raise room_not_found(room_id)
        return access

    async def names(self, request: AuthedRequest, account_ids: Collection[AccountId]) -> Mapping[AccountId, str]:
        """The names of the accounts that exist among these. Raises Problem 503, ReadStoreUnavailable."""
        names = await self._names.look_up(account_ids)
        missing = set(account_ids) - names.keys()
        if not missing:
            return names
        for partition in {partition_of(account_id, self.partitions) for account_id in missing}:
            await self.freshness.catch_up(partition, self.seconds_left(request))
        return {**names, **await self._names.look_up(missing)}

    async def first_missing(self, request: AuthedRequest, account_ids: Iterable[AccountId]) -> AccountId | None:
        """The first of these accounts that does not exist; None if all of them exist. Each round catches up for the
        first account that the tables do not show, so a hundred invented ids cost no more than one. Raises Problem 503,
        ReadStoreUnavailable."""
        unknown = await self._unknown(account_ids)
        while unknown:
            first = unknown[0]
            await self.catch_up(first, self.seconds_left(request))
            unknown = await self._unknown(unknown)
            if unknown and unknown[0] == first:
                return first
        return None

    async def _unknown(self, account_ids: Iterable[AccountId]) -> list[AccountId]:
        """The accounts among these that the tables do not show, in the same order."""
        ordered = list(account_ids)
        names = await self._names.look_up(ordered)
        return [account_id for account_id in ordered if account_id not in names]

    async def name(self, request: AuthedRequest, account_id: AccountId) -> str | None:
        """The account's name. None only if there is no such account. Raises Problem 503, ReadStoreUnavailable."""
        return (await self.names(request, [account_id])).get(account_id)

    async def first_inactive(self, request: AuthedRequest, account_ids: Collection[AccountId]) -> AccountId | None:
        """The first deactivated account among these, or None. Raises Problem 503, ReadStoreUnavailable."""
        rows = await self._store.accounts_of(account_ids)
        for account_id in account_ids:
            row = rows.get(account_id)
            if row is not None and row.deactivated:
                row = (await self.newest(request, account_id, self._store.accounts_of, [account_id])).get(account_id)
            if row is not None and row.deactivated:
                return account_id
        return None

    async def newest(
        self, request: AuthedRequest, identity: int, query: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Ask the tables again once they show everything that had been acknowledged before this call in the partition
        of the room or account ``identity``.

        Every refusal must rest on this, on :meth:`names` or on :meth:`first_missing`: older tables may deny what the
        caller was told is done.
        Raises Problem 503 where the tables do not get there within the request's wait, or the log cannot be asked.
        """
        await self.catch_up(identity, self.seconds_left(request))
        return await query(*args, **kwargs)

    async def catch_up(self, identity: int, seconds: float) -> None:
        """Wait until the tables show everything that has been acknowledged in the partition of the room or account
        ``identity``. Raises Problem 503, ReadStoreUnavailable."""
        await self.freshness.catch_up(partition_of(identity, self.partitions), seconds)

    # --- how long -----------------------------------------------------------------------------------------------------

    def wait_seconds(self, headers: Headers) -> float:
        """Raises Problem 422 for a Falcon-Wait that is out of range."""
        text = headers.get(b"falcon-wait")
        if text is None:
            return WAIT_SECONDS
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= WAIT_SECONDS_MAX:
            raise invalid("Falcon-Wait", f"must be 0 to {WAIT_SECONDS_MAX:g} seconds")
        return seconds

    def seconds_left(self, request: AuthedRequest) -> float:
        """A request's waits share one time limit, which starts with the first of them. Raises Problem 422."""
        now = time.monotonic()
        if not request.wait_until:
            request.wait_until = now + self.wait_seconds(request.headers)
        return max(0.0, request.wait_until - now)


def _malformed_position() -> Problem:
    return Problem(
        400,
        "malformed",
        "Falcon-Position is PARTITION:OFFSET[,PARTITION:OFFSET...], as a command's answer gave it.",
        broken("Falcon-Position", "must be as a command's answer gave it"),
    )
