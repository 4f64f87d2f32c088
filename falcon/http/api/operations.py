"""The table of the API's operations. It routes requests, and the OpenAPI document is made from it."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import msgspec
from starlette.types import ASGIApp

from falcon.http import shapes
from falcon.http.api import accounts, exporting, importing, messages, reactions, rooms, tickets, typing_signals
from falcon.http.edge import Edge
from falcon.http.requests import AuthedRequest
from falcon.http.stream.endpoints import StreamQuery

Handler: TypeAlias = Callable[[Edge, AuthedRequest], Awaitable[ASGIApp]]


class ApiOperation(msgspec.Struct, frozen=True):
    """``handler``: None for the stream, which ``app`` routes.

    ``answers``: the type of the body by status; None for no body. ``command``: it takes an Idempotency-Key."""

    method: str
    path: str
    handler: Handler | None
    summary: str
    answers: dict[int, Any]
    body: Any = None
    query: Any = None
    command: bool = False
    problems: tuple[int, ...] = ()
    media_type: str = "application/json"


STREAM: Final = "/v1/stream"

# Routes are tried in order, so the most frequent operations come first.
OPERATIONS: Final = (
    ApiOperation(
        "POST",
        "/v1/rooms/{room_id}/messages",
        messages.post_message,
        "Send a message",
        {201: shapes.MessageShape},
        shapes.NewMessage,
        command=True,
        problems=(403, 404),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/messages",
        messages.read_page,
        "Read a page of messages: the newest, or before, after or around a seq",
        {200: shapes.Messages},
        query=shapes.PageQuery,
        problems=(404,),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/messages/{seq}",
        messages.read_message,
        "Read one message",
        {200: shapes.ShownMessage},
        problems=(404,),
    ),
    ApiOperation(
        "PATCH",
        "/v1/rooms/{room_id}/messages/{seq}",
        messages.edit_message,
        "Edit one's own message",
        {200: shapes.MessageShape},
        shapes.MessageChange,
        command=True,
        problems=(403, 404, 409),
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/messages/{seq}",
        messages.delete_message,
        "Delete a message: one's own, or any as the room's admin. Its seq stays",
        {204: None},
        command=True,
        problems=(403, 404),
    ),
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/messages/{seq}/reactions/{emoji}",
        reactions.add_reaction,
        "React to a message with an emoji; again it is the same",
        {200: shapes.ReactionCount},
        command=True,
        problems=(403, 404, 409),
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/messages/{seq}/reactions/{emoji}",
        reactions.remove_reaction,
        "Remove one's own reaction, if there is one",
        {204: None},
        command=True,
        problems=(403, 404, 409),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/messages/{seq}/reactions",
        reactions.list_reactions,
        "Who has reacted to a message, and with which emoji",
        {200: shapes.Reactions},
        query=shapes.ReactionsQuery,
        problems=(404,),
    ),
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/read",
        rooms.move_read,
        "Move one's own read mark on, or with force also back",
        {200: shapes.ReadState},
        shapes.ReadMarkShape,
        command=True,
        problems=(404,),
    ),
    ApiOperation(
        "GET",
        STREAM,
        None,
        "What happens, as Server-Sent Events, or on an upgrade the same over a WebSocket",
        {200: None},
        query=StreamQuery,
        problems=(404,),
        media_type="text/event-stream",
    ),
    ApiOperation(
        "POST",
        "/v1/stream/tickets",
        tickets.issue_ticket,
        "A ticket for one stream, good for a minute, where no Authorization can be set",
        {201: tickets.Ticket},
        shapes.Nothing,
    ),
    ApiOperation(
        "POST",
        "/v1/rooms/{room_id}/typing",
        typing_signals.say_typing,
        "Say that one is typing, every few seconds while it is so; nobody is promised to hear of it",
        {204: None},
        problems=(403, 404, 429),
    ),
    ApiOperation("GET", "/v1/me", accounts.me, "Whose token this is", {200: shapes.Me}),
    ApiOperation(
        "DELETE",
        "/v1/me/token",
        accounts.sign_out,
        "Sign out: revoke the token of this request, so that a retry is answered with 401",
        {204: None},
        command=True,
        problems=(409,),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms",
        rooms.list_rooms,
        "One's own rooms, the newest activity first",
        {200: shapes.Rooms},
        query=shapes.ListQuery,
    ),
    ApiOperation(
        "POST",
        "/v1/rooms",
        rooms.create_room,
        "Make a group room; the caller becomes its admin",
        {201: shapes.RoomShape},
        shapes.NewRoom,
        command=True,
    ),
    ApiOperation(
        "PUT",
        "/v1/direct/{account_id}",
        rooms.open_direct,
        "The one direct room with another account",
        {200: shapes.RoomShape, 201: shapes.RoomShape},
        command=True,
        problems=(404,),
    ),
    ApiOperation(
        "GET", "/v1/rooms/{room_id}", rooms.read_room, "Read a room", {200: shapes.RoomShape}, problems=(404,)
    ),
    ApiOperation(
        "PATCH",
        "/v1/rooms/{room_id}",
        rooms.change_room,
        "Change a room's name or description, as its admin",
        {200: shapes.RoomShape},
        shapes.RoomChange,
        command=True,
        problems=(403, 404),
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}",
        rooms.delete_room,
        "Delete a room, as its admin",
        {204: None},
        command=True,
        problems=(403, 404),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/members",
        rooms.list_members,
        "A room's members",
        {200: shapes.Members},
        query=shapes.ListQuery,
        problems=(404,),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/authors",
        rooms.list_authors,
        "Names of accounts by id, also of those who have left the room",
        {200: shapes.Authors},
        query=shapes.AuthorsQuery,
        problems=(404,),
    ),
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/members/{account_id}",
        rooms.put_member,
        "Bring an account in, or change its role, as the room's admin",
        {200: shapes.MemberShape},
        shapes.MemberRole,
        command=True,
        problems=(403, 404, 409),
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/members/{account_id}",
        rooms.remove_member,
        "Remove a member, as the room's admin; or leave",
        {204: None},
        command=True,
        problems=(403, 404, 409),
    ),
    ApiOperation(
        "POST",
        "/v1/accounts",
        accounts.create_account,
        "Make an account with a first token (admins)",
        {201: shapes.CreatedAccount},
        shapes.NewAccount,
        command=True,
        problems=(403,),
    ),
    ApiOperation(
        "GET",
        "/v1/accounts",
        accounts.list_accounts,
        "All accounts (admins)",
        {200: shapes.Accounts},
        query=shapes.ListQuery,
        problems=(403,),
    ),
    ApiOperation(
        "POST",
        "/v1/accounts/{account_id}/tokens",
        accounts.issue_token,
        "Another token for an account (its own, or admins)",
        {201: shapes.IssuedToken},
        shapes.Nothing,
        command=True,
        problems=(403, 404),
    ),
    ApiOperation(
        "GET",
        "/v1/accounts/{account_id}/tokens",
        accounts.list_tokens,
        "The tokens of an account (its own, or admins)",
        {200: shapes.Tokens},
        problems=(403, 404),
    ),
    ApiOperation(
        "DELETE",
        "/v1/accounts/{account_id}/tokens/{token_id}",
        accounts.revoke_token,
        "Revoke a token (its account's own, or admins)",
        {204: None},
        command=True,
        problems=(403, 404, 409),
    ),
    ApiOperation(
        "POST",
        "/v1/import",
        importing.import_lines,
        "Import accounts, rooms and messages, one JSON object a line (admins)",
        {200: shapes.Imported},
        shapes.ImportLine,
        problems=(403, 404),
        media_type="application/x-ndjson",
    ),
    ApiOperation(
        "GET",
        "/v1/export",
        exporting.export_lines,
        "Export everything, one JSON object a line (admins)",
        {200: None},
        query=shapes.ExportQuery,
        problems=(403,),
    ),
)
