"""New accounts join default rooms: a step after the account has been made. It may be repeated, and may be left out: an
account that is in none of them joins them by itself."""

import asyncio
import logging
from typing import Final

from falcon.domain.ids import AccountId, RoomId
from falcon.features.people.search import default_rooms
from falcon.features.rooms.rules import JoinDefault
from falcon.http.edge import Edge
from falcon.http.problems import Problem
from falcon.http.requests import AuthedRequest
from falcon.read.store import ReadStoreUnavailable

log = logging.getLogger("falcon.http")

_joining: Final = set[asyncio.Task[bytes]]()


async def join_default_rooms(edge: Edge, request: AuthedRequest, account_id: AccountId) -> bytes:
    """Call it for accounts that are neither guests nor bots. It ends even if the client goes away. Returns what to add
    to a Falcon-Position."""
    task = asyncio.create_task(_join_all(edge, request, account_id))
    _joining.add(task)
    task.add_done_callback(_joining.discard)
    return await asyncio.shield(task)


async def _join_all(edge: Edge, request: AuthedRequest, account_id: AccountId) -> bytes:
    try:
        room_ids = await default_rooms(edge.store)
    except ReadStoreUnavailable as error:
        log.warning("account %s has not joined the default rooms: %s", account_id, error)
        return b""
    return b"".join(await asyncio.gather(*(_join(edge, request, room_id, account_id) for room_id in room_ids)))


async def _join(edge: Edge, request: AuthedRequest, room_id: RoomId, account_id: AccountId) -> bytes:
    try:
        joined = await edge.commands.dispatch(request, JoinDefault(room_id, account_id), keyed=False)
    except Problem as problem:
        if problem.status != 403:  # else it is no default room any more
            log.warning("account %s has not joined default room %s: %s", account_id, room_id, problem.detail)
        return b""
    return b",%d:%d" % (joined.partition, joined.offset)
