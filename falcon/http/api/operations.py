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
    """``handler``: None for the stream, which ``app`` routes. ``description``: Markdown.

    ``answers``: the type of the body by status; None for no body. ``command``: it takes an Idempotency-Key.
    """

    method: str
    path: str
    handler: Handler | None
    summary: str
    description: str
    answers: dict[int, Any]
    body: Any = None
    query: Any = None
    command: bool = False
    media_type: str = "application/json"


STREAM: Final = "/v1/stream"

# Routes are tried in order, so the most frequent operations come first.
OPERATIONS: Final = (
    ApiOperation(
        "POST",
        "/v1/rooms/{room_id}/messages",
        messages.post_message,
        "Send a message",
        "The message gets the next `seq` of its room. Everybody in the room receives it as `message.posted`. Mention "
        "members with their account ids; the text itself is never parsed.",
        {201: shapes.MessageShape},
        shapes.NewMessage,
        command=True,
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/messages",
        messages.read_page,
        "Read a page of messages",
        "Without a parameter you get the newest messages. `before`, `after` and `around` take a `seq`; send at most "
        "one of them. Messages are in ascending order.",
        {200: shapes.Messages},
        query=shapes.PageQuery,
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/messages/{seq}",
        messages.read_message,
        "Read one message",
        "A deleted message keeps its `seq` and has no text.",
        {200: shapes.ShownMessage},
    ),
    ApiOperation(
        "PATCH",
        "/v1/rooms/{room_id}/messages/{seq}",
        messages.edit_message,
        "Edit a message of your own",
        "The text replaces the old one. Without `mentions` the message keeps the mentions that it has.",
        {200: shapes.MessageShape},
        shapes.MessageChange,
        command=True,
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/messages/{seq}",
        messages.delete_message,
        "Delete a message",
        "You can delete your own messages. An admin of the room can delete any. The `seq` stays, without text.",
        {204: None},
        command=True,
    ),
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/messages/{seq}/reactions/{emoji}",
        reactions.add_reaction,
        "React to a message",
        "The same request again changes nothing. `emoji` is one emoji of Unicode's list.",
        {200: shapes.ReactionCount},
        command=True,
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/messages/{seq}/reactions/{emoji}",
        reactions.remove_reaction,
        "Remove your reaction",
        "Without a reaction of yours nothing changes.",
        {204: None},
        command=True,
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/messages/{seq}/reactions",
        reactions.list_reactions,
        "List the reactions to a message",
        "The oldest reaction comes first. `emoji` asks for the reactions with this emoji.",
        {200: shapes.Reactions},
        query=shapes.ReactionsQuery,
    ),
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/read",
        rooms.move_read,
        "Move your read mark",
        "The mark moves forward to `seq`. With `force` it also moves back.",
        {200: shapes.ReadState},
        shapes.ReadMarkShape,
        command=True,
    ),
    ApiOperation(
        "GET",
        STREAM,
        None,
        "Receive events as they happen",
        "Server-Sent Events, or JSON messages over a WebSocket if the request is an upgrade. `/asyncapi.json` "
        "describes each event. To resume, send the last id that you processed.",
        {200: None},
        query=StreamQuery,
        media_type="text/event-stream",
    ),
    ApiOperation(
        "POST",
        "/v1/stream/tickets",
        tickets.issue_ticket,
        "Issue a ticket for one stream",
        "For a client that cannot set `Authorization`, such as a WebSocket in a browser. The ticket is valid for one "
        "minute and for one stream.",
        {201: tickets.Ticket},
        shapes.Nothing,
    ),
    ApiOperation(
        "POST",
        "/v1/rooms/{room_id}/typing",
        typing_signals.say_typing,
        "Send a typing signal",
        "Send it every few seconds while the user types. Delivery is best effort.",
        {204: None},
    ),
    ApiOperation(
        "GET",
        "/v1/me",
        accounts.me,
        "Get the account of the token",
        "Use it to check a token, and to find out whether the account is an administrator.",
        {200: shapes.Me},
    ),
    ApiOperation(
        "DELETE",
        "/v1/me/token",
        accounts.sign_out,
        "Revoke the token of this request",
        "The token stops working at once. A retry of this request gets 401.",
        {204: None},
        command=True,
    ),
    ApiOperation(
        "GET",
        "/v1/rooms",
        rooms.list_rooms,
        "List the caller's rooms",
        "The room with the newest activity comes first. Each room has its unread counts and its last message.",
        {200: shapes.Rooms},
        query=shapes.ListQuery,
    ),
    ApiOperation(
        "POST",
        "/v1/rooms",
        rooms.create_room,
        "Create a group room",
        "The caller becomes an admin of the room. `members` join it at once.",
        {201: shapes.RoomShape},
        shapes.NewRoom,
        command=True,
    ),
    ApiOperation(
        "PUT",
        "/v1/direct/{account_id}",
        rooms.open_direct,
        "Open the direct room with an account",
        "Two accounts share one direct room. The answer is 201 if this request creates it, and 200 if it exists.",
        {200: shapes.RoomShape, 201: shapes.RoomShape},
        command=True,
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}",
        rooms.read_room,
        "Get a room",
        "`role` is the caller's own role in the room. A direct room has the name of the other account.",
        {200: shapes.RoomShape},
    ),
    ApiOperation(
        "PATCH",
        "/v1/rooms/{room_id}",
        rooms.change_room,
        "Change the name or the description of a room",
        "This takes an admin of the room. Send only the fields that change.",
        {200: shapes.RoomShape},
        shapes.RoomChange,
        command=True,
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}",
        rooms.delete_room,
        "Delete a room",
        "This takes an admin of the room. The room and its messages are no longer readable for anybody.",
        {204: None},
        command=True,
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/members",
        rooms.list_members,
        "List the members of a room",
        "In the order of their account ids, with role and read mark.",
        {200: shapes.Members},
        query=shapes.ListQuery,
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/authors",
        rooms.list_authors,
        "Look up names by account id",
        "Also finds accounts that have left the room, so that a client can show the names in its history.",
        {200: shapes.Authors},
        query=shapes.AuthorsQuery,
    ),
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/members/{account_id}",
        rooms.put_member,
        "Add a member, or change a member's role",
        "This takes an admin of the room. A group room keeps at least one admin.",
        {200: shapes.MemberShape},
        shapes.MemberRole,
        command=True,
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/members/{account_id}",
        rooms.remove_member,
        "Remove a member, or leave a room",
        "An admin of the room can remove any member. Everybody can leave a group room with their own account id, "
        "except its last admin.",
        {204: None},
        command=True,
    ),
    ApiOperation(
        "POST",
        "/v1/accounts",
        accounts.create_account,
        "Create an account",
        "This takes an administrator. The answer has the first token of the account, which is shown only once.",
        {201: shapes.CreatedAccount},
        shapes.NewAccount,
        command=True,
    ),
    ApiOperation(
        "GET",
        "/v1/accounts",
        accounts.list_accounts,
        "List all accounts",
        "This takes an administrator.",
        {200: shapes.Accounts},
        query=shapes.ListQuery,
    ),
    ApiOperation(
        "POST",
        "/v1/accounts/{account_id}/tokens",
        accounts.issue_token,
        "Issue a token",
        "For your own account. An administrator can issue tokens for any account. The token is shown only once.",
        {201: shapes.IssuedToken},
        shapes.Nothing,
        command=True,
    ),
    ApiOperation(
        "GET",
        "/v1/accounts/{account_id}/tokens",
        accounts.list_tokens,
        "List the tokens of an account",
        "Shows ids and times, never the tokens. For your own account; an administrator can list those of any account.",
        {200: shapes.Tokens},
    ),
    ApiOperation(
        "DELETE",
        "/v1/accounts/{account_id}/tokens/{token_id}",
        accounts.revoke_token,
        "Revoke a token",
        "For your own account. An administrator can revoke tokens of any account. An administrator keeps at least one "
        "token.",
        {204: None},
        command=True,
    ),
    ApiOperation(
        "POST",
        "/v1/import",
        importing.import_lines,
        "Import accounts, rooms and messages",
        "This takes an administrator. The body is newline-delimited JSON: one account, room or message per line. Lines"
        " that were imported before are skipped, so the request can be sent again.",
        {200: shapes.Imported},
        shapes.ImportLine,
        media_type="application/x-ndjson",
    ),
    ApiOperation(
        "GET",
        "/v1/export",
        exporting.export_lines,
        "Export all accounts, rooms and messages",
        "This takes an administrator. The answer is newline-delimited JSON, as `falcon export` writes it.",
        {200: None},
        query=shapes.ExportQuery,
    ),
)
