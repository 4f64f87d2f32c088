"""The port for other processes of the cluster. Edges have authenticated the senders of the commands.

An Upgrade to ``framing.PROTOCOL``: batches from an edge, for the partitions that this process owns (``connection.py``).
``/internal/alive``: beats for the other owners, as long as the process lives; signed with an internal key.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from falcon.http.internal.connection import Deliver, EdgeConnection
from falcon.write.protocol import CommandEnvelope, Reply
from falcon.write.signing import HEADER, PROCESS_HEADER, UNSIGNED, Keys, Verifier
from falcon.write.transit import Arrivals

ALIVE: Final = "/internal/alive"
_SIGNATURE: Final = HEADER.encode()
_BEAT_SECONDS: Final = 0.2  # as suspicion.py expects them
_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/octet-stream")],
}


class LocalShards(Protocol):
    """The shard of this process."""

    @property
    def deliver(self) -> Deliver: ...


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
        """Serve a connection that is upgraded to framing.PROTOCOL."""
        return EdgeConnection(self._keys, self._deliver, self._arrivals)

    def _deliver(
        self, shard: int, commands: list[CommandEnvelope], replied: Callable[[list[tuple[int, Reply]]], None]
    ) -> None:
        """Raises LookupError."""
        if self._shards is None:
            raise LookupError("starting")
        self._shards.deliver(shard, commands, replied)

    def end_beats(self) -> None:
        """End the beats, because this process ends in order: its watchers need not take action."""
        self._ending.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._beat(receive, send)
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        if (scope["method"], scope["path"]) != ("GET", ALIVE):
            return PlainTextResponse("not found", 404)
        header = next((value for name, value in scope["headers"] if name == _SIGNATURE), b"")
        not_signed = self._verifier.check("GET", ALIVE, header)
        if not_signed is not None:
            headers = {PROCESS_HEADER: not_signed.process} if not_signed.process else {}
            return PlainTextResponse(not_signed.reason, UNSIGNED, headers)
        return PlainTextResponse("starting", 503) if self._shards is None else None

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


async def _gone(receive: Receive) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return True
