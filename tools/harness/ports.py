"""Ports of loopback for servers that tests and tools start."""

import os
import socket
from typing import Final

HOST: Final = "127.0.0.1"

# Below the ones that the kernel gives to clients (32,768 and up). A server that is down for a moment would lose such a
# port to another program's connection, and could not come back. tools/servers takes ports from 20,000 on.
_FIRST: Final = 12_000
_COUNT: Final = 8_000

_taken = 0


def free_port() -> int:
    """A port on which nothing listens, another one each time. Raises OSError if there is none.

    Processes that ask at the same time begin at different ports, since a server takes its port only later.
    """
    global _taken
    begin = os.getpid() * 97  # a process's neighbours have the next numbers: they begin further away
    for _ in range(_COUNT):
        port = _FIRST + (begin + _taken) % _COUNT
        _taken += 1
        if is_free(port):
            return port
    raise OSError("no free ports; end some of what listens on this machine")


def is_free(port: int) -> bool:
    """True if no process listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """True if a process accepts connections there."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
