"""``/v1/stream``: Server-Sent Events, or on an upgrade the same over a WebSocket."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta
from starlette.types import Receive, Scope, Send

from falcon.domain.ids import AccountId, RoomId
from falcon.http.authenticator import Authenticator
from falcon.http.problems import Problem, invalid, room_not_found
from falcon.http.requests import decode_query, identity
from falcon.http.stream.opening import PendingStream, Rooms
from falcon.http.stream.sessions import Streams
from falcon.http.stream.sinks import SseSink, WebSocketSink
from falcon.streams.receipts import MEMBERS_MAX
from falcon.streams.signals import SIGNALS, WATCHED_MAX

_ROOMS_MAX: Final = 100  # that a query may name
_EVENT_STREAM: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that buffered the stream would make it useless
]


class StreamQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a stream; without any it sends what happens in all rooms of the account."""

    rooms: Annotated[
        str | None, Meta(description=f"Ids of the rooms to listen to, at most {_ROOMS_MAX}, separated by commas")
    ] = None
    signals: Annotated[
        str | None,
        Meta(
            description="Signals to receive: typing, presence, accounts and receipts, separated by commas. Receipts "
            f"come from rooms that are named, with at most {MEMBERS_MAX} members; hello lists the others"
        ),
    ] = None
    watch: Annotated[
        str | None,
        Meta(description=f"Ids of accounts whose presence and changes to tell: at most {WATCHED_MAX}, by commas"),
    ] = None
    resume: Annotated[str | None, Meta(description="The id of the last event that you processed")] = None
    ticket: Annotated[str | None, Meta(description="Replaces Authorization; from POST /v1/stream/tickets")] = None


class _StreamRequest(msgspec.Struct, frozen=True):
    """A client asks for this. ``only``: it listens to these rooms; None for all of the account. ``watched``: it hears
    of the presence of these accounts. ``token``: it resumes from here."""

    ticket: str | None
    only: Rooms
    signals: frozenset[str]
    watched: frozenset[AccountId]
    token: str | None


def _read(scope: Scope) -> _StreamRequest | Problem:
    """Read the query and the headers of an unknown caller. Returns the Problem of one that breaks a rule."""
    try:
        query = decode_query(scope, StreamQuery, authenticated=False)
        return _StreamRequest(
            query.ticket,
            None if query.rooms is None else _room_ids(query.rooms),
            frozenset() if query.signals is None else _signals(query.signals),
            frozenset() if query.watch is None else _account_ids(query.watch),
            dict(scope["headers"]).get(b"last-event-id", b"").decode("latin-1") or query.resume or None,
        )
    except Problem as problem:
        return problem


class StreamResponse:
    """The stream, over Server-Sent Events or a WebSocket. It lasts until the client is gone, or Falcon ends it. What
    the client sends on a WebSocket is ignored."""

    def __init__(self, streams: Streams, opening: PendingStream, scope: Scope) -> None:
        self._streams = streams
        self._opening = opening
        self._is_websocket = scope["type"] == "websocket"
        self.status = 101 if self._is_websocket else 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._is_websocket:
                await send({"type": "websocket.accept"})
                await self._streams.serve(self._opening, WebSocketSink(send), _until(receive, "websocket.disconnect"))
            else:
                await send({"type": "http.response.start", "status": 200, "headers": _EVENT_STREAM})
                await self._streams.serve(self._opening, SseSink(send), _until(receive, "http.disconnect"))
        finally:
            self._opening.release()


async def open_stream(streams: Streams, authenticator: Authenticator, scope: Scope) -> StreamResponse:
    """Receive events as they happen.

    Server-Sent Events, or JSON messages over a WebSocket if the request is an upgrade. `/asyncapi.json` describes each
    event. To resume, send the last id that you processed.
    """
    asked = _read(scope)
    if isinstance(asked, Problem):
        authenticator.count_public(scope)
        raise asked
    opening = await streams.open(scope, asked.ticket, asked.only, asked.signals, asked.watched, asked.token)
    return StreamResponse(streams, opening, scope)


def _room_ids(text: str) -> frozenset[RoomId]:
    parts = _ids("rooms", "rooms", text, _ROOMS_MAX)
    return frozenset(identity(part, lambda text: room_not_found(text, "rooms")) for part in parts)


def _account_ids(text: str) -> frozenset[AccountId]:
    """Ids of any accounts: the stream shows only those with which its account shares a room."""
    parts = _ids("watch", "accounts", text, WATCHED_MAX)
    return frozenset(identity(part, lambda text: _no_ids("watch", "accounts")) for part in parts)


def _ids(field: str, things: str, text: str, most: int) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise _no_ids(field, things)
    if len(parts) > most:
        raise invalid(field, f"must have at most {most} ids")
    return parts


def _no_ids(field: str, things: str) -> Problem:
    return invalid(field, f"must be ids of {things}, separated by commas")


def _signals(text: str) -> frozenset[str]:
    asked = frozenset(part.strip() for part in text.split(","))
    if not asked <= set(SIGNALS):
        raise invalid("signals", f"must be some of {', '.join(SIGNALS)}, separated by commas")
    return asked


async def _until(receive: Receive, kind: str) -> None:
    while (await receive())["type"] != kind:
        continue
