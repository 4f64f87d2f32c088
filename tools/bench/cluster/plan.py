"""How much to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds``: of a run. ``warm_seconds``: the most that the servers are given to warm up. ``rooms``: that sends
    are spread over. ``history_rooms``: with ``history_messages`` each. ``folder``: for our own files.
    """

    runs: int
    seconds: int
    warm_seconds: int
    rooms: int
    history_rooms: int
    history_messages: int
    folder: Path
