"""Connections as many clients have them: to every pod that there is, and in time to the ones that come."""

import itertools
from typing import Final

import httpx

CLIENTS: Final = 8
_FRESH: Final = 10  # requests on a connection before another one is made, which a Service may lead elsewhere
_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=200, keepalive_expiry=2.0)


class Connections(httpx.AsyncBaseTransport):
    """Requests take turns through so many clients' pools."""

    def __init__(self) -> None:
        self._pools = [httpx.AsyncHTTPTransport(limits=_LIMITS) for _ in range(CLIENTS)]
        self._turn = itertools.count()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        turn = next(self._turn)
        if turn // CLIENTS % _FRESH == turn % CLIENTS:  # not all of them at once
            request.headers["Connection"] = "close"
        return await self._pools[turn % CLIENTS].handle_async_request(request)

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()
