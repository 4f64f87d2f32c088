"""Finds rooms and accounts by name, among the ones that the caller can see. Digits are always an id."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from falcon.cli.calling import Caller
from falcon.cli.faults import Fault
from falcon_chat import Account, FalconClient, Member, Problem, Role, RoomSummary

_ID_DIGITS_MAX: Final = 16  # an id is below 2^53
_ROOMS_MAX: Final = 1_000  # of the caller, that are searched for a name
_PAGE: Final = 200  # the largest page of the API


class _Page(Protocol):
    @property
    def next_cursor(self) -> str | None: ...


P = TypeVar("P", bound=_Page)


class Naming:
    """The methods return ids. They raise Fault if none or several rooms or accounts have a name."""

    def __init__(self, caller: Caller, falcon: FalconClient) -> None:
        self._caller = caller
        self._falcon = falcon
        self._room = 0  # the last one that was found

    async def room(self, room: str) -> int:
        if is_id(room):
            self._room = int(room)
        else:
            known = {each.room_id: each.name for each in await self._all_rooms()}
            self._room = _only(room, known, "room", "`falcon rooms` lists yours")
        return self._room

    async def members(self, people: Sequence[str] | None) -> list[int]:
        """Members of the room that was found last."""
        what_to_do = f"`falcon room members {self._room}` lists them"
        return await self._ids(people or (), "member", what_to_do, partial(self._members, self._room))

    async def account(self, person: str) -> int:
        return (await self.accounts([person]))[0]

    async def own_or_other(self, person: str | None) -> int | None:
        return None if person is None else await self.account(person)

    async def rooms(self, rooms: Sequence[str]) -> list[int]:
        return [await self.room(each) for each in rooms]

    async def accounts(self, people: Sequence[str]) -> list[int]:
        """Any accounts. Only an admin can list all accounts, so this uses an admin's token if there is one, and else
        the members of the caller's rooms."""
        return await self._ids(people, "account", "an admin's `falcon account list` lists all accounts", self._accounts)

    async def with_roles(self, given: Sequence[tuple[str, Role]] | None) -> dict[int, Role]:
        people = given or ()
        ids = await self.accounts([person for person, _ in people])
        return {account_id: role for account_id, (_, role) in zip(ids, people, strict=True)}

    async def _ids(
        self, people: Sequence[str], what: str, what_to_do: str, look_up: Callable[[], Awaitable[dict[int, str]]]
    ) -> list[int]:
        known = {} if all(map(is_id, people)) else await look_up()
        return [int(each) if is_id(each) else _only(each, known, what, what_to_do) for each in people]

    async def _accounts(self) -> dict[int, str]:
        admin = self._caller.as_admin()
        try:
            accounts = await admin.connected(all_accounts) if admin else []
        except Problem as problem:
            if problem.status not in (401, 403):
                raise
            accounts = []
        if accounts:
            return {account.account_id: account.name for account in accounts}
        return dict([each for room in await self._all_rooms() for each in (await self._members(room.room_id)).items()])

    async def _members(self, room_id: int) -> dict[int, str]:
        return {member.account_id: member.name for member in await all_members(self._falcon, room_id)}

    async def _all_rooms(self) -> list[RoomSummary]:
        """All rooms of the caller. Raises Fault if there are too many to search: another one may have the same name."""
        rooms, more = await newest_rooms(self._falcon, _ROOMS_MAX)
        if more:
            raise Fault(f"you are in more than {_ROOMS_MAX:,} rooms, too many to look through for a name: give the id")
        return rooms


async def all_accounts(falcon: FalconClient) -> list[Account]:
    """Takes an admin."""
    return [account async for page in _pages(falcon.accounts) for account in page.accounts]


async def all_members(falcon: FalconClient, room_id: int) -> list[Member]:
    return [member async for page in _pages(partial(falcon.members, room_id)) for member in page.members]


async def newest_rooms(falcon: FalconClient, count: int) -> tuple[list[RoomSummary], bool]:
    """Returns at most ``count`` rooms, and True if there are more."""
    found: list[RoomSummary] = []
    async for page in _pages(falcon.rooms, min(_PAGE, count)):
        found.extend(page.rooms)
        if len(found) >= count:
            return found[:count], len(found) > count or page.next_cursor is not None
    return found, False


async def _pages(read: Callable[..., Awaitable[P]], limit: int = _PAGE) -> AsyncIterator[P]:
    page = await read(limit=limit)
    yield page
    while page.next_cursor is not None:
        page = await read(limit=limit, cursor=page.next_cursor)
        yield page


def is_id(text: str) -> bool:
    """No id has more than sixteen digits; longer text may be a name."""
    return text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS_MAX


def _only(name: str, known: Mapping[int, str], what: str, what_to_do: str) -> int:
    """The one with this name, ignoring case. Raises Fault.

    An exact match does not win over one that differs in case: other accounts can create a room with any name.
    """
    found = sorted(id for id, each in known.items() if each.casefold() == name.casefold())
    if len(found) == 1:
        return found[0]
    if not found:
        raise Fault(f"no {what} is called {name!r} ({what_to_do})")
    raise Fault(f"{len(found)} {what}s are called {name!r}: give one of the ids {', '.join(map(str, found))}")
