"""``/v1/stream``: Server-Sent Events, or on an upgrade the same over a WebSocket."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta
from starlette.types import Message, Receive, Scope, Send

from falcon.domain.ids import AccountId, RoomId
from falcon.http.problems import Problem, invalid, room_not_found, tables_away
from falcon.http.requests import decode_query, identity
from falcon.http.responses import problem_response
from falcon.http.stream.opening import Opening
from falcon.http.stream.sessions import Streams
from falcon.http.stream.sinks import SseSink, WebSocketSink
from falcon.read.store import ReadStoreUnavailable
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
    signals: Annotated[str | None, Meta(description="Signals to receive: typing, presence, or typing,presence")] = None
    watch: Annotated[
        str | None,
        Meta(description=f"Ids of the accounts whose presence to tell, at most {WATCHED_MAX}, separated by commas"),
    ] = None
    resume: Annotated[str | None, Meta(description="The id of the last event that you processed")] = None
    ticket: Annotated[str | None, Meta(description="Replaces Authorization; from POST /v1/stream/tickets")] = None


class SseResponse:
    """The answer lasts as long as the stream."""

    status = 200

    def __init__(self, streams: Streams, opening: Opening) -> None:
        self._streams = streams
        self._opening = opening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _EVENT_STREAM})
            await self._streams.serve(self._opening, SseSink(send), _until(receive, "http.disconnect"))
        finally:
            self._opening.release()


async def stream_sse(streams: Streams, scope: Scope) -> SseResponse:
    """Raises Problem, ReadStoreUnavailable."""
    return SseResponse(streams, await _open(streams, scope))


async def stream_websocket(streams: Streams, scope: Scope, receive: Receive, send: Send) -> None:
    """A refusal is an HTTP response before the upgrade. What the client sends after it is ignored."""
    try:
        opening = await _open(streams, scope)
    except Problem as problem:
        await _refuse(problem, scope, receive, send)
        return
    except ReadStoreUnavailable as error:
        await _refuse(tables_away(error), scope, receive, send)
        return
    try:
        await send({"type": "websocket.accept"})
        await streams.serve(opening, WebSocketSink(send), _until(receive, "websocket.disconnect"))
    finally:
        opening.release()


async def _open(streams: Streams, scope: Scope) -> Opening:
    query = decode_query(scope, StreamQuery, authenticated=False)
    only = None if query.rooms is None else _room_ids(query.rooms)
    signals = frozenset[str]() if query.signals is None else _signals(query.signals)
    headers = dict(scope["headers"])
    token = headers.get(b"last-event-id", b"").decode("latin-1") or query.resume or None
    watched = frozenset[AccountId]() if query.watch is None else _account_ids(query.watch)
    return await streams.open(scope, query.ticket, only, signals, watched, token)


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
        raise invalid("signals", f"must be {' or '.join(SIGNALS)}, or both separated by a comma")
    return asked


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    async def send_before_upgrade(message: Message) -> None:
        await send({**message, "type": message["type"].replace("http.", "websocket.http.", 1)})

    await problem_response(problem)(scope, receive, send_before_upgrade)


async def _until(receive: Receive, kind: str) -> None:
    while (await receive())["type"] != kind:
        continue
