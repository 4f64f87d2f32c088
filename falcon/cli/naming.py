"""Finds rooms by name, and accounts by handle or name, among the ones that the caller can see. Digits are an id."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from falcon.cli.calling import Caller
from falcon.cli.faults import Fault
from falcon_chat import Account, FalconClient, Member, Problem, Role, RoomSummary

_ID_DIGITS_MAX: Final = 16  # an id is below 2^53
_ROOMS_MAX: Final = 1_000  # of the caller, that are searched for a name
_PAGE: Final = 200  # the largest page of the API
_SEARCHED: Final = 20  # accounts, as many as a search gives
_QUERY: Final = 100  # characters, as many as a search takes
_HANDLE: Final = re.compile(r"[a-z0-9._-]{1,32}")


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
            self._room = _only(room, _called(room, known), "room", "`falcon rooms` lists yours")
        return self._room

    async def room_if_any(self, room: str | None) -> int | None:
        return None if room is None else await self.room(room)

    async def rooms(self, rooms: Sequence[str]) -> list[int]:
        return [await self.room(each) for each in rooms]

    async def members(self, people: Sequence[str] | None) -> list[int]:
        """Members of the room that was found last."""
        what_to_do = f"`falcon room members {self._room}` lists them"
        known: dict[int, str] = {}
        ids: list[int] = []
        for person in people or ():
            if is_id(person):
                ids.append(int(person))
                continue
            known = known or {each.account_id: each.name for each in await all_members(self._falcon, self._room)}
            found = set() if person.startswith("@") else _called(person, known)
            if _HANDLE.fullmatch(handle := _handle(person)):
                found |= {
                    each.account_id for each in await self._search(person) if each.handle == handle
                } & known.keys()
            ids.append(_only(person, found, "member", what_to_do))
        return ids

    async def account(self, person: str) -> int:
        """Any account. A search finds most; an admin's list has the ones that were deactivated, and many of a name."""
        if is_id(person):
            return int(person)
        searched = await self._search(person)
        found = _named(person, searched)
        if not found or len(searched) == _SEARCHED:
            found |= _named(person, await self._listed())
        return _only(person, found, "account", "`falcon account find` finds people")

    async def accounts(self, people: Sequence[str]) -> list[int]:
        return [await self.account(each) for each in people]

    async def own_or_other(self, person: str | None) -> int | None:
        return None if person is None else await self.account(person)

    async def deactivated(self, person: str) -> int:
        """An account that was deactivated; takes an admin."""
        if is_id(person):
            return int(person)
        found = _named(person, await all_accounts(self._falcon, deactivated=True))
        return _only(person, found, "deactivated account", "`falcon account list` lists all accounts")

    async def with_roles(self, given: Sequence[tuple[str, Role]] | None) -> dict[int, Role]:
        return {await self.account(person): role for person, role in given or ()}

    async def _search(self, person: str) -> Sequence[Account]:
        text = person.strip()[:_QUERY]
        return await self._falcon.search_accounts(text, limit=_SEARCHED) if text else ()

    async def _listed(self) -> Sequence[Account]:
        """All accounts, if an admin's token is at hand."""
        admin = self._caller.as_admin()
        try:
            return await admin.connected(all_accounts) if admin else ()
        except Problem as problem:
            if problem.status not in (401, 403):
                raise
            return ()

    async def _all_rooms(self) -> list[RoomSummary]:
        """All rooms of the caller. Raises Fault if there are too many to search: another one may have the same name."""
        rooms, more = await newest_rooms(self._falcon, _ROOMS_MAX)
        if more:
            raise Fault(f"you are in more than {_ROOMS_MAX:,} rooms, too many to look through for a name: give the id")
        return rooms


async def all_accounts(falcon: FalconClient, deactivated: bool | None = None) -> list[Account]:
    """Takes an admin. ``deactivated``: only these, or only active ones."""
    read = partial(falcon.accounts, deactivated=deactivated)
    return [account async for page in _pages(read) for account in page.accounts]


async def namesakes(falcon: FalconClient, name: str) -> list[Account]:
    """Active accounts with the name."""
    found = await falcon.search_accounts(name[:_QUERY], limit=_SEARCHED) if name.strip() else ()
    return [each for each in found if each.name.casefold() == name.casefold()]


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


def _handle(person: str) -> str:
    """The handle that may be meant. Handles have no capital letters."""
    return person[1:].lower() if person.startswith("@") else person


def _named(person: str, accounts: Iterable[Account]) -> set[int]:
    """The ones with this handle, or with this name. Text that begins with @ is always a handle."""
    among = list(accounts)
    by_handle = {each.account_id for each in among if each.handle == _handle(person)}
    known = {} if person.startswith("@") else {each.account_id: each.name for each in among}
    return by_handle | _called(person, known)


def _called(name: str, known: Mapping[int, str]) -> set[int]:
    """The ones with this name, ignoring case."""
    return {id for id, each in known.items() if each.casefold() == name.casefold()}


def _only(name: str, found: Collection[int], what: str, what_to_do: str) -> int:
    """The one that was found. Raises Fault.

    An exact match does not win over one that differs in case: other accounts can create a room with any name.
    """
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise Fault(f"no {what} is called {name!r} ({what_to_do})")
    ids = ", ".join(map(str, sorted(found)))
    raise Fault(f"{len(found)} {what}s are called {name!r}: give one of the ids {ids}")
