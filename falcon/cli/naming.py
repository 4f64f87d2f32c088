"""Rooms and people by name, as far as the caller can see them. Text in digits is always an id."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from falcon.cli.calling import Caller
from falcon.cli.faults import Fault
from falcon.cli.listing import all_accounts, all_members, newest_rooms
from falcon.client import FalconClient

_ID_DIGITS_MAX: Final = 16
_ROOMS_MAX: Final = 1_000  # of the caller's, that are looked through for a name


def is_id(text: str) -> bool:
    """No id has more than sixteen digits; longer text may be a name."""
    return text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS_MAX


async def room_id_of(falcon: FalconClient, room: str) -> int:
    """Raises Fault for a name that none of the caller's rooms has, or several have."""
    if is_id(room):
        return int(room)
    rooms, _ = await newest_rooms(falcon, _ROOMS_MAX)
    return _only(room, {each.room_id: each.name for each in rooms}, "room", "`falcon rooms` lists yours")


async def member_ids_of(falcon: FalconClient, room_id: int, people: Sequence[str]) -> list[int]:
    """Ids of members of a room. Raises Fault as :func:`room_id_of` does."""
    if all(is_id(each) for each in people):
        return [int(each) for each in people]
    known = {each.account_id: each.name for each in await all_members(falcon, room_id)}
    what_to_do = f"`falcon room members {room_id}` lists them"
    return [int(each) if is_id(each) else _only(each, known, "member", what_to_do) for each in people]


async def account_ids_of(caller: Caller, falcon: FalconClient, people: Sequence[str]) -> list[int]:
    """Ids of any accounts. Only an admin can list all of them, so an admin's token is used where there is one; without
    it the members of the caller's rooms are looked through. Raises Fault as :func:`room_id_of` does."""
    if all(is_id(each) for each in people):
        return [int(each) for each in people]
    admin = caller.as_admin()
    known = await _met(falcon) if admin is None else await admin.connected(_everybody)
    what_to_do = "an admin's `falcon account list` lists all accounts"
    return [int(each) if is_id(each) else _only(each, known, "account", what_to_do) for each in people]


async def _everybody(falcon: FalconClient) -> dict[int, str]:
    return {account.account_id: account.name for account in await all_accounts(falcon)}


async def _met(falcon: FalconClient) -> dict[int, str]:
    rooms, _ = await newest_rooms(falcon, _ROOMS_MAX)
    return {member.account_id: member.name for room in rooms for member in await all_members(falcon, room.room_id)}


def _only(name: str, known: Mapping[int, str], what: str, what_to_do: str) -> int:
    """The one that is called so; capital letters count only where they tell two apart. Raises Fault."""
    found = _called(name, known.items()) or _called(
        name.casefold(), ((id, each.casefold()) for id, each in known.items())
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise Fault(f"no {what} is called {name!r} ({what_to_do})")
    raise Fault(f"{len(found)} {what}s are called {name!r}: give one of the ids {', '.join(map(str, found))}")


def _called(name: str, known: Iterable[tuple[int, str]]) -> list[int]:
    return sorted(id for id, each in known if each == name)
