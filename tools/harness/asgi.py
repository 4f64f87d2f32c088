"""An ASGI application without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Message


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start an ASGI application and shut it down, by the protocol. Raises RuntimeError for one that fails to."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}

    async def live() -> None:
        await app(scope, to_app.get, from_app.put)

    living = asyncio.create_task(live())
    for stage in ("startup", "shutdown"):
        await to_app.put({"type": f"lifespan.{stage}"})
        message = await from_app.get()
        if message["type"] != f"lifespan.{stage}.complete":
            raise RuntimeError(f"the application did not get through its {stage}: {message.get('message')}")
        if stage == "startup":
            yield
    await living
