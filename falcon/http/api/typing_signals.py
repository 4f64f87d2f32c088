"""Signals that go beside the log: an account is typing."""

from typing import Final

from falcon.http.api import permissions, tickets
from falcon.http.api.operation import ApiOperation, in_group
from falcon.http.edge import Edge
from falcon.http.limits.limiter import refused
from falcon.http.problems import not_joined, read_only, room_not_found
from falcon.http.requests import AuthedRequest
from falcon.http.responses import BytesResponse


async def say_typing(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Send a typing signal.

    Send it every few seconds while the user types. Delivery is best effort.
    """
    room_id = request.path_id("room_id", room_not_found)
    await request.no_body()
    account_id = request.account_id
    access = await edge.reads.access(request, room_id)
    if access.role not in ("admin", "member"):
        newest = await edge.reads.newest(request, room_id, edge.store.access, room_id, account_id)
        if newest is None:
            raise room_not_found(room_id)
        if newest.role == "readonly":
            raise read_only()
        if newest.role is None:
            raise room_not_found(room_id) if request.is_guest else not_joined()
    if not edge.streams.signals.typing(room_id, account_id):
        raise refused(edge.limiter.policies.typing)
    return BytesResponse(204, b"")


# --- operations -------------------------------------------------------------------------------------------------------

OPERATIONS: Final = in_group(
    tickets.GROUP,
    ApiOperation(
        "POST",
        "/v1/rooms/{room_id}/typing",
        say_typing,
        permissions.WRITERS,
        {204: None},
        problems=("not_allowed", "read_only", "room_not_found"),
    ),
)
