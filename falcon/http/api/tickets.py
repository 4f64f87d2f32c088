"""Tickets for streams: a browser's WebSocket and EventSource cannot send an Authorization header."""

from typing import Final

import msgspec

from falcon.http import bearer_tokens, shapes
from falcon.http.api import permissions
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.edge import Edge
from falcon.http.requests import AuthedRequest
from falcon.http.responses import BytesResponse, json_response
from falcon.http.stream.endpoints import StreamQuery


class Ticket(msgspec.Struct, frozen=True):
    """Good for a minute, and once."""

    ticket: str


async def issue_ticket(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Issue a ticket for one stream.

    For a client that cannot set `Authorization`, such as a WebSocket in a browser. The ticket is valid for one minute
    and for one stream.
    """
    await request.no_body()
    token_hash = edge.authenticator.token_hash(request.headers)
    return json_response(201, Ticket(bearer_tokens.ticket(edge.secret, request.account_id, token_hash)))


# --- operations -------------------------------------------------------------------------------------------------------

STREAM: Final = "/v1/stream"
GROUP: Final = Group("Stream", "Hear what happens as it happens, and resume after a disconnection.", learned=4)
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "GET",
        STREAM,
        None,
        permissions.EVERYBODY,
        {200: None},
        query=StreamQuery,
        media_type="text/event-stream",
        problems=("room_not_found",),
    ),
    ApiOperation(
        "POST",
        "/v1/stream/tickets",
        issue_ticket,
        permissions.EVERYBODY,
        {201: Ticket("MTMwLjE3NjQwNjMwMDA")},
        shapes.Nothing(),
    ),
)
