"""The AsyncAPI 3 document of the stream, made from the table of events and the types that send them."""

from typing import Any, Final

from falcon import __version__
from falcon.http.api import json_schema, tickets
from falcon.http.stream.endpoints import StreamQuery
from falcon.http.stream.events import STREAM_EVENTS
from falcon.streams.event import StreamEvent

_CHANNEL: Final = "#/channels/stream"
_DESCRIPTION: Final = (
    "GET it for Server-Sent Events: `id:` is the token to resume after the event, `event:` its name, `data:` one line "
    "of JSON. After an upgrade to WebSocket each event is one text message, `{\"id\": …, \"event\": …, \"data\": …}`, "
    "with the same content. Events of a room come in the order of the log. Send the last `id` as `Last-Event-ID` or "
    "`resume` to any server, and you receive everything that you missed, once. Signals have no new `id`. Ignore events "
    "and fields that you do not know."
)  # fmt: skip
_PARAMETERS: Final = {"type": "object", "properties": json_schema.query_parameters(StreamQuery)}


def document() -> dict[str, Any]:
    """A new one each time; it does not change while the process runs."""
    types = list(dict.fromkeys(event.data for event in STREAM_EVENTS))
    payloads, schemas = json_schema.components(types)
    by_type = dict(zip(types, payloads, strict=True))
    names = [event.name for event in STREAM_EVENTS]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Falcon",
            "version": __version__,
            "description": "The events in the rooms of an account, as a stream.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "stream": {
                "address": tickets.STREAM,
                "title": "The stream",
                "description": _DESCRIPTION,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
                "bindings": {"ws": {"method": "GET", "query": _PARAMETERS, "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "listen": {
                "action": "send",
                "channel": {"$ref": _CHANNEL},
                "summary": "Send events to a client",
                "security": [{"$ref": "#/components/securitySchemes/token"}],
                "messages": [{"$ref": f"{_CHANNEL}/messages/{name}"} for name in names],
                "bindings": {"http": {"method": "GET", "query": _PARAMETERS, "bindingVersion": "0.3.0"}},
            }
        },
        "components": {
            "messages": {event.name: _message(event, by_type[event.data]) for event in STREAM_EVENTS},
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "tags": {"signal": {"name": "signal", "description": "Best effort: it may be late or be lost."}},
        },
    }


def _message(event: StreamEvent, payload: dict[str, Any]) -> dict[str, Any]:
    tags = [{"$ref": "#/components/tags/signal"}] if event.signal else []
    return {"name": event.name, "title": event.name, "summary": event.sent, "tags": tags, "payload": payload}
