"""Whole lists, read page by page."""

from typing import Final

from falcon_chat import Account, FalconClient, Member, RoomSummary

_PAGE: Final = 200  # the largest page of the API


async def all_accounts(falcon: FalconClient) -> list[Account]:
    """Takes an admin."""
    found: list[Account] = []
    cursor: str | None = None
    while True:
        page = await falcon.accounts(limit=_PAGE, cursor=cursor)
        found.extend(page.accounts)
        cursor = page.next_cursor
        if cursor is None:
            return found


async def all_members(falcon: FalconClient, room_id: int) -> list[Member]:
    found: list[Member] = []
    cursor: str | None = None
    while True:
        page = await falcon.members(room_id, limit=_PAGE, cursor=cursor)
        found.extend(page.members)
        cursor = page.next_cursor
        if cursor is None:
            return found


async def newest_rooms(falcon: FalconClient, count: int) -> tuple[list[RoomSummary], bool]:
    """Returns at most ``count`` rooms, and True if there are more."""
    found: list[RoomSummary] = []
    cursor: str | None = None
    while True:
        page = await falcon.rooms(limit=min(_PAGE, count - len(found)), cursor=cursor)
        found.extend(page.rooms)
        cursor = page.next_cursor
        if cursor is None or len(found) >= count:
            return found[:count], cursor is not None
