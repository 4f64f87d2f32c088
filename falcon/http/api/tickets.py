"""Tickets for streams: a browser's WebSocket and EventSource cannot send an Authorization header."""

import msgspec

from falcon.http import bearer_tokens
from falcon.http.edge import Edge
from falcon.http.requests import AuthedRequest
from falcon.http.responses import BytesResponse, json_response


class Ticket(msgspec.Struct, frozen=True):
    """Good for a minute, and once."""

    ticket: str


async def issue_ticket(edge: Edge, request: AuthedRequest) -> BytesResponse:
    await request.no_body()
    token_hash = edge.authenticator.token_hash(request.headers)
    return json_response(201, Ticket(bearer_tokens.ticket(edge.secret, request.account_id, token_hash)))
