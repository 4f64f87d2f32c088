"""The operations that a chat must offer to be compared with Falcon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tools.bench.peers.clients import Kind, Seat
from tools.harness.servers import Service


class Peer(Service, Protocol):
    kind: Kind
    version: str
    started_at: float  # time.perf_counter() just before its own process was started

    def seats(self, count: int) -> Sequence[Seat]:
        """So many accounts, each with a room of its own. The server must run. Raises ServerFailed."""
