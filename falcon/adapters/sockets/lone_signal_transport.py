"""Signals (``falcon.streams.signals``) within a single process."""

import asyncio
from collections.abc import Callable


class LocalSignalTransport:
    name = "here"

    def open(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()

    def send(self, data: bytes) -> None:
        self._loop.call_soon(self._receive, data)  # later, as from another process, and not within the sender's call

    def send_to(self, process: str, data: bytes) -> None:
        self.send(data)

    async def close(self) -> None:
        """Does nothing: there is nothing to close."""
