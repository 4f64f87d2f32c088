"""Servers that run for as long as a block of code."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tools.harness.machine import Cores
from tools.harness.servers import ServerFailed, Service


@contextmanager
def running(servers: Sequence[Service], cores: Cores) -> Iterator[None]:
    """Start them one after another and stop them all at the end. Raises ServerFailed when one left its core."""
    with ExitStack() as stack:
        for number, server in enumerate(servers):
            stack.callback(server.stop)
            server.start()
            server.tree.claim_strays(other.tree for other in servers[:number])
            if server.tree.cores() != {cores.server}:
                raise ServerFailed(
                    f"{server.name} runs on the cores {sorted(server.tree.cores())}, not on its own alone"
                )
        yield


def wait_until_quiet(server: Service, seconds: float = 3.0) -> None:
    """Let work that was put off be done and counted: wait until the tree uses less than a twentieth of a core."""
    deadline = time.monotonic() + seconds
    before = server.tree.cpu_seconds()
    while time.monotonic() < deadline:
        time.sleep(0.2)
        now = server.tree.cpu_seconds()
        if now - before < 0.01:
            return
        before = now
