"""The port for other processes of the cluster. Edges have authenticated the senders of the commands.

An Upgrade to ``framing.PROTOCOL``: batches from an edge, for the partitions that this process owns (``connection.py``).
``/internal/alive``: beats for the other owners, as long as the process lives; signed with an internal key.
``/internal/commands/SHARD``: a batch as a signed request, from an edge of the release before this one. Remove it in the
release after this one, from 2027-03 on.
"""

import asyncio
import re
from functools import partial
from typing import Final, Protocol, cast

import msgspec
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from falcon.http.internal.connection import EdgeConnection
from falcon.write.protocol import CommandEnvelope, Reply, encode_reply_frame
from falcon.write.signing import HEADER, PROCESS_HEADER, UNSIGNED, Keys, NotSigned, Signed, Verifier
from falcon.write.transit import Arrivals

PATH: Final = "/internal/commands/"
_SHARD: Final = re.compile("[0-9]{1,9}")
ALIVE: Final = "/internal/alive"
# Edges of the release before close a connection that is idle for 60 s. A request that meets the server's own close
# would have an unknown outcome.
IDLE_SECONDS: Final = 75.0
_SIGNATURE: Final = HEADER.encode()
_BODY_MAX: Final = 8 << 20
_BEAT_SECONDS: Final = 0.2
_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/msgpack")],
}


class LocalShards(Protocol):
    """The shards of this process group."""

    def submit(self, shard: int, envelope: CommandEnvelope) -> "asyncio.Future[Reply]":
        """Raises IndexError if there is no such shard."""


class InternalCommands:
    """An ASGI application. It answers 503 until it is attached to shards."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._verifier = Verifier(keys)
        self._shards: LocalShards | None = None
        self._arrivals = Arrivals()
        self._ending = asyncio.Event()

    def attach(self, shards: LocalShards) -> None:
        self._shards = shards

    def connection(self) -> EdgeConnection:
        """For a connection that is upgraded to framing.PROTOCOL."""
        return EdgeConnection(self._keys, self._submit, self._arrivals)

    def _submit(self, shard: int, command: CommandEnvelope) -> "asyncio.Future[Reply]":
        """Raises LookupError."""
        if self._shards is None:
            raise LookupError("starting")
        return self._shards.submit(shard, command)

    def end_beats(self) -> None:
        """End the beats, because this process ends in order: its watchers need not take action."""
        self._ending.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        signed = self._signed(scope)
        if not isinstance(signed, Signed):
            await signed(scope, receive, send)
            return
        if scope["path"] == ALIVE:
            await self._beat(receive, send)
            return
        shard = int(scope["path"].removeprefix(PATH))
        try:
            body = await _body(receive)
            if not signed.covers(body):
                await PlainTextResponse("the signature is of another body", UNSIGNED)(scope, receive, send)
                return
            commands = self._arrivals.received(body)
            replies = [self._submit(shard, command) for command in commands]
        except (msgspec.DecodeError, ValueError, LookupError) as error:
            await PlainTextResponse(f"no batch of commands for a shard of this process: {error}", 400)(
                scope, receive, send
            )
            return
        await send(_START)
        await _ReplyStream(replies, send).run()

    def _signed(self, scope: Scope) -> Signed | ASGIApp:
        """The signature, or the refusal of the request. The body has not been read yet."""
        if not _is_known(scope):
            return PlainTextResponse("not found", 404)
        header = next((value for name, value in scope["headers"] if name == _SIGNATURE), b"")
        signed = self._verifier.check(scope["method"], scope["path"], header)
        if isinstance(signed, NotSigned):
            headers = {PROCESS_HEADER: signed.process} if signed.process else {}
            return PlainTextResponse(signed.reason, UNSIGNED, headers)
        if self._shards is None:
            return PlainTextResponse("starting", 503)
        return signed

    async def _beat(self, receive: Receive, send: Send) -> None:
        """Runs on the event loop that serves the commands: while that loop hangs, no beats are sent."""
        await send(_START)
        over = [asyncio.create_task(_gone(receive)), asyncio.create_task(self._ending.wait())]
        try:
            while not any(each.done() for each in over):
                await send({"type": "http.response.body", "body": b".", "more_body": True})
                await asyncio.wait(over, timeout=_BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            for each in over:
                each.cancel()


def _is_known(scope: Scope) -> bool:
    path, method = str(scope["path"]), str(scope["method"])
    if path == ALIVE:
        return method == "GET"
    return _SHARD.fullmatch(path.removeprefix(PATH)) is not None and method == "POST"


async def _gone(receive: Receive) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return True


async def _body(receive: Receive) -> bytes:
    """Raises ValueError for a body that is too large, or not complete."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ValueError("the sender has gone")
        body += cast(bytes, message.get("body", b""))
        if len(body) > _BODY_MAX:
            raise ValueError(f"more than {_BODY_MAX} bytes")
        if not message.get("more_body", False):
            return body


class _ReplyStream:
    """Sends replies in frames as they become ready. Mostly there is one frame: commands that were decided together
    become durable together."""

    def __init__(self, replies: "list[asyncio.Future[Reply]]", send: Send) -> None:
        self._send = send
        self._missing = len(replies)
        self._ready: list[tuple[int, Reply]] = []
        self._some = asyncio.Event()
        for index, reply in enumerate(replies):
            reply.add_done_callback(partial(self._replied, index))

    async def run(self) -> None:
        while self._missing:
            await self._some.wait()
            self._some.clear()
            ready, self._ready = self._ready, []
            self._missing -= len(ready)
            await self._send_body(encode_reply_frame(ready), more=True)
        await self._send_body(b"", more=False)

    def _replied(self, index: int, reply: "asyncio.Future[Reply]") -> None:
        self._ready.append((index, reply.result()))
        self._some.set()

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
