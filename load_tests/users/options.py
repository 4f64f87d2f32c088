"""The options of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools.harness.generate import Past


@dataclass(frozen=True, slots=True)
class Options:
    """``urls``: of a Falcon that is there, or none to have one started; ``listen``: where workers from elsewhere join,
    or None to have them started; times in seconds."""

    shape: str
    seconds: float
    people: int
    workers: int
    pace: float
    past: Past
    seed: int
    urls: tuple[str, ...]
    token: str | None
    admin_token: str | None
    thresholds: Path
    out: Path
    folder: Path | None
    listen: str | None
    wait_seconds: float
