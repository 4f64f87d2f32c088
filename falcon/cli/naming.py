"""Finds rooms and accounts by name, among the ones that the caller can see. Digits are always an id."""

from collections.abc import Mapping, Sequence
from typing import Final

from falcon.cli.calling import Caller
from falcon.cli.faults import Fault
from falcon.cli.listing import all_accounts, all_members, newest_rooms
from falcon_chat import FalconClient, Problem, RoomSummary

_ID_DIGITS_MAX: Final = 16  # an id is below 2^53
_ROOMS_MAX: Final = 1_000  # of the caller, that are searched for a name


def is_id(text: str) -> bool:
    """No id has more than sixteen digits; longer text may be a name."""
    return text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS_MAX


async def room_id_of(falcon: FalconClient, room: str) -> int:
    """Raises Fault if none or several of the caller's rooms have the name."""
    if is_id(room):
        return int(room)
    rooms = await _all_rooms(falcon)
    return _only(room, {each.room_id: each.name for each in rooms}, "room", "`falcon rooms` lists yours")


async def member_ids_of(falcon: FalconClient, room_id: int, people: Sequence[str]) -> list[int]:
    """Ids of members of a room. Raises Fault as :func:`room_id_of` does."""
    if all(is_id(each) for each in people):
        return [int(each) for each in people]
    known = {each.account_id: each.name for each in await all_members(falcon, room_id)}
    what_to_do = f"`falcon room members {room_id}` lists them"
    return [int(each) if is_id(each) else _only(each, known, "member", what_to_do) for each in people]


async def account_ids_of(caller: Caller, falcon: FalconClient, people: Sequence[str]) -> list[int]:
    """Ids of any accounts. Only an admin can list all accounts, so this uses an admin's token if there is one, and else
    the members of the caller's rooms. Raises Fault as :func:`room_id_of` does."""
    if all(is_id(each) for each in people):
        return [int(each) for each in people]
    known = await _all_accounts(caller) or await _met(falcon)
    what_to_do = "an admin's `falcon account list` lists all accounts"
    return [int(each) if is_id(each) else _only(each, known, "account", what_to_do) for each in people]


async def _all_accounts(caller: Caller) -> dict[int, str]:
    """Empty if there is no valid admin token."""
    admin = caller.as_admin()
    if admin is None:
        return {}
    try:
        return {account.account_id: account.name for account in await admin.connected(all_accounts)}
    except Problem as problem:
        if problem.status not in (401, 403):
            raise
        return {}


async def _met(falcon: FalconClient) -> dict[int, str]:
    rooms = await _all_rooms(falcon)
    return {member.account_id: member.name for room in rooms for member in await all_members(falcon, room.room_id)}


async def _all_rooms(falcon: FalconClient) -> "list[RoomSummary]":
    """All rooms of the caller. Raises Fault if there are too many to search: another one may have the same name."""
    rooms, more = await newest_rooms(falcon, _ROOMS_MAX)
    if more:
        raise Fault(f"you are in more than {_ROOMS_MAX:,} rooms, too many to look through for a name: give the id")
    return rooms


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
