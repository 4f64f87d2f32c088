"""The ceiling: uvicorn, Starlette and msgspec, without storing anything.

Sending parses the body and answers a message of the same size; reading answers the same bytes each time.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tools.bench.peers.serve import serve
from tools.bench.peers.shapes import Message, MessagePage, SendBody

POSTED_AT = "2026-11-25T09:30:00.123Z"

_decode_body = msgspec.json.Decoder(SendBody).decode
_encode = msgspec.json.Encoder().encode


def sample_page() -> bytes:
    """A page of 50 messages, used if no real one is given."""
    text = "00000001 " + "x" * 91
    return _encode(MessagePage([Message(12_345, seq, 1_234, text, POSTED_AT) for seq in range(951, 1001)], True, False))


def build_app(page: bytes) -> Starlette:
    async def send(request: Request) -> Response:
        body = _decode_body(await request.body())
        message = Message(request.path_params["room_id"], 1_000, 1_234, body.text, POSTED_AT)
        return Response(_encode(message), 201, media_type="application/json")

    async def latest(request: Request) -> Response:
        return Response(page, media_type="application/json")

    path = "/v1/rooms/{room_id:int}/messages"
    return Starlette(routes=[Route(path, send, methods=["POST"]), Route(path, latest, methods=["GET"])])


if __name__ == "__main__":
    page_file = os.environ.get("PEER_PAGE")
    serve(build_app(Path(page_file).read_bytes() if page_file else sample_page()))
