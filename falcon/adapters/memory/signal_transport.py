"""Signals (``falcon.streams.signals``) within a process that is alone."""

import asyncio
from collections.abc import Callable


class LocalSignalTransport:
    def open(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._loop = asyncio.get_running_loop()

    def send(self, data: bytes) -> None:
        self._loop.call_soon(self._take, data)  # as from elsewhere, not within the call of whoever says it

    async def close(self) -> None:
        """Nothing is held."""
