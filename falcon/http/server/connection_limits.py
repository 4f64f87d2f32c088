"""Limits of what one connection may send and hold, and for how long."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Sizes in bytes. A head is the request line and the fields. A body may take ``body_seconds``, and one second more
    for each ``body_bytes_a_second`` that have come. A client that leaves part of an answer unread has
    ``stalled_seconds``, and one second more for each ``read_bytes_a_second`` that it reads, but never more than
    ``stalled_seconds`` ahead. ``held_bytes`` and ``holder_bytes``: see Held."""

    head_bytes: int = 32 << 10
    target_bytes: int = 8 << 10
    fields: int = 100
    idle_seconds: float = 10.0
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    body_bytes_a_second: int = 64 << 10
    stalled_seconds: float = 20.0
    read_bytes_a_second: int = 64 << 10
    linger_seconds: float = 2.0
    sweep_seconds: float = 1.0
    held_bytes: int = 64 << 20
    holder_bytes: int = 8 << 20
    kernel_bytes: int = 256 << 10  # of an answer in the kernel, which is not counted; the kernel may take twice that
