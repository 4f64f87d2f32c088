"""A transport to a Falcon that damages answers on the way."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import httpx

Forward: TypeAlias = Callable[[httpx.Request], Awaitable[httpx.Response]]
Break: TypeAlias = Callable[[httpx.Request, Forward], Awaitable[httpx.Response]]


class Broken(httpx.AsyncBaseTransport):
    """A transport to a Falcon that damages answers on the way."""

    def __init__(self, breaks: Break) -> None:
        self._breaks = breaks
        self._way = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._breaks(request, self._way.handle_async_request)

    async def aclose(self) -> None:
        await self._way.aclose()


def answering(method: str, ending: str, status: int, headers: Mapping[str, str] | None = None) -> Break:
    """A made-up answer in the place of Falcon's."""
    problem = {"status": status, "code": "internal" if status == 500 else "overloaded", "detail": "something failed"}

    async def breaks(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == method and request.url.path.endswith(ending):
            return httpx.Response(status, json=problem, headers=headers)
        return await forward(request)

    return breaks


def changing(method: str, ending: str, change: Callable[[Any], Any], *, only_from: int = 1) -> Break:
    """Falcon's answer with another body, after a number of requests."""
    seen = 0

    async def breaks(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal seen
        response = await forward(request)
        if request.method != method or not request.url.path.endswith(ending):
            return response
        seen += 1
        if seen < only_from:
            return response
        content = json.loads(await response.aread())
        kept = {k: v for k, v in response.headers.items() if not k.startswith("content-")}
        return httpx.Response(response.status_code, json=change(content), headers=kept)

    return breaks


class Never(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""


class Changed(httpx.AsyncByteStream):
    """Applies ``change`` to each event."""

    def __init__(self, response: httpx.Response, change: Callable[[bytes], bytes]) -> None:
        self._response = response
        self._change = change

    async def __aiter__(self) -> AsyncIterator[bytes]:
        rest = b""
        async for piece in self._response.aiter_raw():
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                yield self._change(event + b"\n\n")

    async def aclose(self) -> None:
        await self._response.aclose()


def streaming(change: Callable[[bytes], bytes] | None) -> Break:
    """None: the stream stays silent."""

    async def breaks(request: httpx.Request, forward: Forward) -> httpx.Response:
        if not request.url.path.endswith("/stream"):
            return await forward(request)
        if change is None:
            return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Never())
        response = await forward(request)
        return httpx.Response(200, headers=response.headers, stream=Changed(response, change))

    return breaks


def without(name: bytes) -> Break:
    return streaming(lambda event: b"" if b"event: " + name in event else event)
